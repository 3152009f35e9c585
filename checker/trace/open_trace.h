// Layer: checker/trace. Contract: opens any trace by its content. This layer knows its own two
// encodings (binary and text packets); other formats are registered by the programs that link their
// importers, so that nothing here knows them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"

namespace mmucheck::trace {

struct OpenOptions {
  const std::atomic<bool>* stop = nullptr;  // set by a signal handler: give up waiting for input
  bool keep_unknown = false;    // return packets of unknown kind (EventKind::kNone) to copy them
  std::string forced_format{};  // name of a Format; empty: by content
};

// One format. `sniff` sees the first kSniffBytes bytes (or all, of a shorter file) after
// decompression. `open` gets the stream at its start; it may call make_rewindable().
struct Format {
  std::string name;
  std::function<bool(std::string_view prefix)> sniff;
  std::function<std::unique_ptr<EventSource>(std::unique_ptr<ByteStream>, const OpenOptions&)> open;
};

inline constexpr size_t kSniffBytes = 64 * 1024;

// The formats of this layer ("pb", "txtpb"); importers are appended by the program.
std::vector<Format> own_formats();

// `path` "-" is standard input. The first format that recognises the content opens it. Throws
// TraceError: unreadable, an empty file, or kUnknownFormat.
std::unique_ptr<EventSource> open_trace(const std::string& path, const std::vector<Format>& formats,
                                        const OpenOptions& options = {});
std::unique_ptr<EventSource> open_trace(std::unique_ptr<ByteStream> stream,
                                        const std::vector<Format>& formats,
                                        const OpenOptions& options = {});

// Creates an output by the end of its name: .pb, .txtpb, each also with .zst; "-" is text on
// standard output. `encoding` ("pb" or "txtpb") overrides the name. Throws TraceError.
std::unique_ptr<EventSink> create_trace(const std::string& path, const TraceInfo& info,
                                        std::string_view encoding = {});

}  // namespace mmucheck::trace
