// tools/import/ftrace: an EventSource over ftrace text.
//
// Contract: two passes over the text (a pipe is spooled by the stream), then events in file order
// in constant memory; see inputs.h for what is added between them. Configuration packets come
// first: kernel, mmu_format, module_params, clock, event_loss, those fields only that are known.
// Bad lines are counted, never fatal. Throws TraceError when the stream cannot be read, and
// kUnknownFormat when it holds no line of a trace at all.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "checker/trace/open_trace.h"
#include "tools/import/ftrace/import_report.h"

namespace mmucheck::import {

// What the user may lay down instead of what is found.
struct FtraceOptions {
  std::optional<trace::KernelVersion> kernel;
  std::optional<trace::SpteFormat> format;
  std::optional<bool> ad_bits;
  std::optional<uint32_t> levels;
  std::optional<uint64_t> direct_map_base;
  std::optional<bool> nx_huge_pages;
  std::optional<bool> eager_page_split;
  bool side_files = true;  // read what is beside the trace, see meta.h
  bool probe_list = true;  // kprobe_events among it
};

class FtraceSource : public trace::EventSource {
 public:
  virtual const ImportReport& report() const = 0;
};

std::unique_ptr<FtraceSource> open_ftrace(std::unique_ptr<trace::ByteStream> stream,
                                          const FtraceOptions& options = {});

// Whether the beginning of a stream looks like ftrace text in any of its forms.
bool sniff_ftrace(std::string_view prefix);

// For trace::open_trace().
trace::Format ftrace_format(const FtraceOptions& options = {});

}  // namespace mmucheck::import
