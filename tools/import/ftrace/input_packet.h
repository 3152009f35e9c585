// tools/import/ftrace: how an added packet takes its place, time, thread and VM from the recorded
// event beside which it stands.
//
// Contract: make_packet() answers a packet of `kind` without fields, of the kind's default class.
// can_be() tells whether an added packet says what can be: a kernel that shows a level of 9 or a
// frame beyond all memory is not predicted with it, but goes another way than the model.
#pragma once

#include "checker/trace/event_kinds.h"

namespace mmucheck::import {

inline trace::Event make_packet(const trace::Event& at, trace::EventKind kind) {
  trace::Event e;
  e.ts_ns = at.ts_ns;
  e.cpu = at.cpu;
  e.thread = at.thread;
  e.vm = at.vm;
  e.context = at.context;
  e.source_line = at.source_line;
  e.source_offset = at.source_offset;
  trace::start_event(e, kind);
  return e;
}

inline bool is_level(uint64_t level) { return level >= 1 && level <= 5; }

inline bool can_be(const trace::Event& e) {
  namespace f = trace::f;
  constexpr uint64_t kFrames = uint64_t{1} << 40;  // of 4K: 52 bits of address
  constexpr uint64_t kVcpus = 256, kAddressSpaces = 2;
  const auto level = [&e](size_t i) { return !e.has(i) || is_level(e.get(i)); };
  const auto frame = [&e](size_t i) { return e.get(i) < kFrames; };
  switch (e.kind) {
    case trace::EventKind::kHostLevel: return level(f::host_level::level);
    case trace::EventKind::kFaultPfn:
      return frame(f::fault_pfn::pfn) && level(f::fault_pfn::max_level);
    case trace::EventKind::kHwAd:
      return frame(f::hw_ad::gfn) && (e.get(f::hw_ad::level) == 0 || level(f::hw_ad::level));
    case trace::EventKind::kCollapseHostLevel:
      return level(f::collapse_host_level::level) && frame(f::collapse_host_level::gfn);
    case trace::EventKind::kNewTable: return frame(f::new_table::pfn);
    case trace::EventKind::kYieldHere: return frame(f::yield_here::next_gfn);
    case trace::EventKind::kVcpuRole: return e.get(f::vcpu_role::vcpu_id) < kVcpus;
    case trace::EventKind::kGmemSlot: return e.get(f::gmem_slot::as_id) < kAddressSpaces;
    case trace::EventKind::kFaultAddress:
      return e.get(f::fault_address::vcpu_id) < kVcpus &&
             e.get(f::fault_address::gpa) >> 12 < kFrames;
    case trace::EventKind::kPrefault:
      return e.get(f::prefault::vcpu_id) < kVcpus && e.get(f::prefault::gpa) >> 12 < kFrames;
    case trace::EventKind::kDirtyLogClear:
      return e.get(f::dirty_log_clear::as_id) < kAddressSpaces;
    default: return true;
  }
}

}  // namespace mmucheck::import
