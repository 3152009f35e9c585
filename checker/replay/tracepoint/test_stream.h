// checker/replay/tracepoint, tests only: a hand-made stream of tracepoints in the NPT format: a
// root, faults that map pages, a walk that zaps them, the removal of the tables.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

inline constexpr uint64_t kEmpty = model::kNonpresent;
inline constexpr uint64_t kTableBits = 0x827, kLeafBits = 0xe67, kHugeBits = 0xee7;

class TestStream {
 public:
  using K = trace::EventKind;

  explicit TestStream(bool kernel_612) : kernel_612_(kernel_612) {
    frozen_ = kEmpty | (kernel_612 ? 0x5a0 : 0x1a0);
    trace::Event e;
    trace::start_event(e, K::kMmuFormat);
    e.set(trace::f::mmu_format::format, static_cast<uint64_t>(trace::SpteFormat::kNpt));
    e.set(trace::f::mmu_format::ad_bits, 1);
    events.push_back(e);
    trace::start_event(e, K::kModuleParams);
    e.set(trace::f::module_params::nx_huge_pages, 0);
    e.set(trace::f::module_params::pml_size, 0);
    events.push_back(e);
  }

  // Fields in the order of event_kinds.def. Returns the index in `events`.
  size_t add(K kind, std::initializer_list<uint64_t> fields, uint32_t thread = 1) {
    trace::Event e;
    trace::start_event(e, kind);
    e.thread = thread;
    size_t i = 0;
    for (const uint64_t v : fields) e.set(i++, v);
    events.push_back(e);
    return events.size() - 1;
  }
  size_t change(uint64_t gfn, uint64_t level, uint64_t old_spte, uint64_t new_spte,
                uint32_t thread = 1) {
    return add(K::kSpteChanged, {0, gfn, level, old_spte, new_spte}, thread);
  }
  void get_page(uint64_t gfn, uint64_t level, uint32_t thread = 1) {
    add(K::kGetPage, {0, gfn, level}, thread);
  }
  void prepare_zap(uint64_t gfn, uint64_t level) { add(K::kPrepareZapPage, {0, gfn, level}); }

  // A root with tables 0x101 to 0x103 down to gfn 0 and the page `pfn` at gfn 1.
  void first_fault(uint64_t pfn = 0x500) {
    get_page(0, 4);
    fault(1);
    request(1, pfn);
    for (uint64_t level = 3; level >= 1; level--) {
      get_page(0, level);
      change(0, level + 1, kEmpty, (0x104 - level) << 12 | kTableBits);
    }
    leaf(1, pfn);
  }
  void fault(uint64_t gfn, uint32_t thread = 1) {
    add(K::kPageFault, {0, 0, gfn << 12, 6}, thread);
  }
  void request(uint64_t gfn, uint64_t pfn, uint64_t level = 1, uint32_t thread = 1) {
    add(K::kSpteRequested, {gfn, pfn, level}, thread);
  }
  void leaf(uint64_t gfn, uint64_t pfn, uint32_t thread = 1) {
    change(gfn, 1, kEmpty, pfn << 12 | kLeafBits, thread);
    set_spte(gfn, pfn << 12 | kLeafBits, thread);
  }
  void set_spte(uint64_t gfn, uint64_t spte, uint32_t thread = 1) {
    add(K::kSetSpte, {gfn, spte, 1, 0x103000 + (gfn & 511) * 8}, thread);
  }
  void map(uint64_t gfn, uint64_t pfn, uint32_t thread = 1) {
    fault(gfn, thread);
    request(gfn, pfn, 1, thread);
    leaf(gfn, pfn, thread);
  }
  size_t zap(uint64_t gfn, uint64_t pfn, uint32_t thread = 1) {
    return change(gfn, 1, pfn << 12 | kLeafBits, kEmpty, thread);
  }
  // The removal of an empty table: all entries change, or none.
  void remove(uint64_t gfn, uint64_t level, uint64_t pfn, bool shared,
              uint64_t new_parent = kEmpty) {
    const uint64_t parent = pfn << 12 | kTableBits;
    if (kernel_612_) change(gfn, level + 1, parent, new_parent);
    prepare_zap(gfn, level);
    const uint64_t pages = uint64_t{1} << (9 * (level - 1));
    if (shared) {
      for (uint64_t i = 0; i < 512; i++) change(gfn + i * pages, level, kEmpty, frozen_);
    }
    if (!kernel_612_) change(gfn, level + 1, parent, new_parent);
  }
  void remove_all(bool shared) {
    remove(0, 1, 0x103, shared);
    remove(0, 2, 0x102, shared);
    remove(0, 3, 0x101, shared);
  }

  uint64_t frozen() const { return frozen_; }

  report::Verdict run() {
    trace::TraceInfo info;
    info.kernel = kernel_612_ ? trace::KernelVersion::k6_12 : trace::KernelVersion::k7_2;
    return run(info);
  }
  report::Verdict run(const trace::TraceInfo& info) {
    TracepointReplayer replayer(info, true);
    for (size_t i = 0; i < events.size(); i++) {
      events[i].seq = events[i].source_line = i;
      replayer.event(events[i]);
    }
    replayer.finish(info);
    return replayer.verdict();
  }

  std::vector<trace::Event> events;

 private:
  bool kernel_612_;
  uint64_t frozen_ = 0;
};

}  // namespace mmucheck::replay
