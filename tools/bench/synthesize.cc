#include "tools/bench/synthesize.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "checker/trace/open_trace.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::bench {

uint64_t synthesize(const std::string& recording, uint64_t events, const std::string& out) {
  const std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source = trace::open_trace(recording, formats);
  std::vector<trace::Event> once;
  std::deque<std::string> texts;  // what Event::text of the copies points to
  uint32_t vms = 0;
  uint64_t first_ns = UINT64_MAX, last_ns = 0, last_line = 0;
  trace::Event event;
  while (source->next(event)) {
    if (!event.text.empty()) event.text = texts.emplace_back(event.text);
    event.unknown = event.unknown_outer = {};
    once.push_back(event);
    vms = std::max(vms, event.vm);
    last_line = std::max(last_line, event.source_line);
    if (event.ts_ns == 0) continue;
    first_ns = std::min(first_ns, event.ts_ns);
    last_ns = std::max(last_ns, event.ts_ns);
  }
  constexpr uint64_t kPauseNs = 1'000'000;
  const uint64_t span = last_ns >= first_ns ? last_ns - first_ns + kPauseNs : kPauseNs;
  const auto sink = trace::create_trace(out, source->info());
  uint64_t written = 0;
  for (uint32_t round = 0; written < events && !once.empty(); ++round) {
    for (const trace::Event& original : once) {
      if (round > 0 && original.cls == trace::PacketClass::kConfig && original.vm == 0) continue;
      event = original;
      if (event.vm != 0) event.vm += round * vms;
      if (event.ts_ns != 0) event.ts_ns += round * span;
      if (event.source_line != 0) event.source_line += round * last_line;
      sink->put(event);
      ++written;
    }
  }
  sink->close();
  return written;
}

}  // namespace mmucheck::bench
