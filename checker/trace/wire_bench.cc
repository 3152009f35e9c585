// Reading packets: the hand-written decoder against the generated classes on the same bytes.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "checker/trace/event_kinds.h"
#include "checker/trace/wire.h"
#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {
namespace {

// A mixture like that of a recording with kprobes: mostly changes of entries and faults.
std::vector<std::string> packets() {
  std::vector<std::string> out;
  Event e;
  for (uint64_t i = 0; i < 4096; ++i) {
    e.ts_ns = 32'000'000'000 + i * 5137;
    e.cpu = static_cast<uint32_t>(i & 3);
    e.thread = 63;
    e.vm = 1;
    e.source_line = i + 20;
    switch (i % 4) {
      case 0:
        start_event(e, EventKind::kPageFault);
        e.set(f::page_fault::vcpu_id, i & 1);
        e.set(f::page_fault::rip, 0x1040);
        e.set(f::page_fault::address, 0x40000000 + (i << 12));
        e.set(f::page_fault::error_code, 0x100000006);
        break;
      case 1:
        start_event(e, EventKind::kTdpMap);
        for (size_t k = 0; k < f::tdp_map::kCount; ++k) e.set(k, k < 8 ? 0x5dd1000 + i * k : k & 1);
        break;
      default:
        start_event(e, i % 4 == 2 ? EventKind::kSpteChanged : EventKind::kChangedSpte);
        e.set(0, 0);
        e.set(1, 0x40000 + i);
        e.set(2, i % 4 == 2 ? 1 : uint64_t{1} << 63);
        e.set(3, i % 4 == 2 ? uint64_t{1} << 63 : 0x600000001c98e67);
        e.set(4, i % 4 == 2 ? 0x600000001c98e67 : 1);
        break;
    }
    wire::encode(e, out.emplace_back());
  }
  return out;
}

void own_decoder(benchmark::State& state) {
  const auto input = packets();
  wire::Decoder decoder;
  Event event;
  for (auto _ : state) {
    for (const std::string& p : input) benchmark::DoNotOptimize(decoder.decode(p, event));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(input.size()));
}
BENCHMARK(own_decoder);

void parse_from_array(benchmark::State& state) {
  const auto input = packets();
  v1::Packet packet;
  for (auto _ : state) {
    for (const std::string& p : input) {
      benchmark::DoNotOptimize(packet.ParseFromArray(p.data(), static_cast<int>(p.size())));
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(input.size()));
}
BENCHMARK(parse_from_array);

}  // namespace
}  // namespace mmucheck::trace

BENCHMARK_MAIN();
