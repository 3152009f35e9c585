#include "checker/trace/open_trace.h"

#include <fmt/format.h>

#include <utility>

#include "checker/trace/envelope.h"
#include "checker/trace/output_file.h"
#include "checker/trace/pb_reader.h"
#include "checker/trace/pb_writer.h"
#include "checker/trace/txtpb_reader.h"
#include "checker/trace/txtpb_writer.h"

namespace mmucheck::trace {

std::vector<Format> own_formats() {
  const auto pb = [](std::unique_ptr<ByteStream> stream,
                     const OpenOptions& options) -> std::unique_ptr<EventSource> {
    return std::make_unique<PbReader>(std::move(stream), options);
  };
  const auto txtpb = [](std::unique_ptr<ByteStream> stream,
                        const OpenOptions& options) -> std::unique_ptr<EventSource> {
    return std::make_unique<TxtpbReader>(std::move(stream), options);
  };
  // Cut within the magic, a file is still one of ours, and the reader says what is wrong with it.
  const auto is_pb = [](std::string_view prefix) {
    return prefix.size() >= 4 && prefix.starts_with(kMagic.substr(0, prefix.size()));
  };
  return {{"pb", is_pb, pb}, {"txtpb", &TxtpbReader::sniff, txtpb}};
}

std::unique_ptr<EventSource> open_trace(const std::string& path, const std::vector<Format>& formats,
                                        const OpenOptions& options) {
  return open_trace(std::make_unique<ByteStream>(path, options.stop), formats, options);
}

std::unique_ptr<EventSource> open_trace(std::unique_ptr<ByteStream> stream,
                                        const std::vector<Format>& formats,
                                        const OpenOptions& options) {
  std::string known;
  for (const Format& format : formats) known += (known.empty() ? "" : ", ") + format.name;
  if (!options.forced_format.empty()) {
    for (const Format& format : formats) {
      if (format.name == options.forced_format) return format.open(std::move(stream), options);
    }
    throw TraceError(
        TraceErrorKind::kUnknownFormat, {.file = stream->name()},
        fmt::format("there is no format \"{}\"; known: {}", options.forced_format, known));
  }
  const std::string_view prefix = stream->peek(kSniffBytes).substr(0, kSniffBytes);
  if (prefix.empty()) {
    throw TraceError(TraceErrorKind::kCorrupt, {.file = stream->name()}, "the file is empty");
  }
  for (const Format& format : formats) {
    if (format.sniff(prefix)) return format.open(std::move(stream), options);
  }
  throw TraceError(TraceErrorKind::kUnknownFormat, {.file = stream->name()},
                   fmt::format("not a trace in a format that is known ({})", known));
}

std::unique_ptr<EventSink> create_trace(const std::string& path, const TraceInfo& info,
                                        std::string_view encoding) {
  const std::string_view name = path;
  const bool is_text = name.ends_with(".txtpb") || name.ends_with(".txtpb.zst");
  const bool is_pb = name.ends_with(".pb") || name.ends_with(".pb.zst");
  if (encoding.empty() && is_text) encoding = "txtpb";
  if (encoding.empty() && (is_pb || name == "-")) encoding = is_pb ? "pb" : "txtpb";
  if (encoding != "pb" && encoding != "txtpb") {
    throw TraceError(TraceErrorKind::kUnknownFormat, {.file = path},
                     "the name should end in .pb, .pb.zst, .txtpb or .txtpb.zst, or the encoding "
                     "be given");
  }
  auto out = std::make_unique<OutputFile>(path);
  if (encoding == "pb") return std::make_unique<PbWriter>(std::move(out), info);
  return std::make_unique<TxtpbWriter>(std::move(out), info);
}

}  // namespace mmucheck::trace
