// checker/replay: a model event as the events that a recording shows for it. Included by
// replay_env.cc and the engine only.
//
// Which probe shows what: kvm-facts "tracepoints and probes"; a range flush calls the full flush,
// since no vendor code of these machines flushes ranges.
#pragma once

#include <type_traits>

#include "checker/replay/replay_env.h"
#include "checker/trace/event_kinds.h"
#include "model/vm/memslot.h"

namespace mmucheck::replay {

struct Flatten {
  ReplayEnv& env;
  using K = trace::EventKind;

  uint64_t field(model::CellKind kind, uint32_t table) const {
    return env.store_.get(model::cell::of(kind, table));
  }
  uint64_t role(uint32_t table) const { return field(model::CellKind::kSpRole, table); }
  uint64_t slot_field(uint64_t slot, model::SlotField f) const {
    return env.store_.get(model::cell::of(model::CellKind::kSlotField,
                                          static_cast<uint32_t>(slot), static_cast<uint64_t>(f)));
  }

  void operator()(const model::ev::Store& e);
  void operator()(const model::ev::CasFail&) {}
  void operator()(const model::ev::AllocTable&) {}
  void operator()(const model::ev::AllocFailed&) {}
  void operator()(const model::ev::AllocExternal&) {}
  void operator()(const model::ev::FreedExternal&) {}
  void operator()(const model::ev::RcuQueued&) {}
  void operator()(const model::ev::RcuFree&) {}
  void operator()(const model::ev::Freed& e);
  void operator()(const model::ev::PfnHint&) {}
  void operator()(const model::ev::Lock&) {}
  void operator()(const model::ev::Unlock&) {}
  void operator()(const model::ev::MarkDirty&) {}
  void operator()(const model::ev::RetryWait&) {}
  void operator()(const model::ev::PamtRefs&) {}
  void operator()(const model::ev::LostBehindHook&) {}
  void operator()(const model::ev::AttributesSet&) {}
  void operator()(const model::ev::PutPage&) {}
  void operator()(const model::ev::CmpxchgSpte& e);
  void operator()(const model::ev::CmpxchgSpteRet& e);
  void operator()(const model::ev::ChangedSpte& e);
  void operator()(const model::ev::SpteChanged& e);
  void operator()(const model::ev::SpteRequested& e);
  void operator()(const model::ev::SetSpte& e);
  void operator()(const model::ev::MarkMmioSpte& e);
  void operator()(const model::ev::SplitHugePage& e);
  void operator()(const model::ev::FastPageFault& e);
  void operator()(const model::ev::InitSp& e);
  void operator()(const model::ev::GetPage& e);
  void operator()(const model::ev::RemovedPt& e);
  void operator()(const model::ev::PrepareZapPage& e);
  void operator()(const model::ev::IterStart& e);
  void operator()(const model::ev::IterRestart& e);
  void operator()(const model::ev::PutRoot& e);
  void operator()(const model::ev::Yield& e);
  void operator()(const model::ev::Flush& e);
  void operator()(const model::ev::ExternalSet& e);
  void operator()(const model::ev::ExternalSetRet& e);
  void operator()(const model::ev::ExternalFree& e);
  void operator()(const model::ev::Seamcall& e);
  void operator()(const model::ev::SeamcallRet& e);
  void operator()(const model::ev::SeptState& e);
  void operator()(const model::ev::TdDestroy& e);
  void operator()(const model::ev::Enter& e);
  void operator()(const model::ev::Return& e);
  void operator()(const model::ev::Warn& e);

 private:
  Predicted root_event(K kind, uint32_t root, bool with_refs) const;
  Predicted slot_event(K kind, uint64_t slot) const;
  Predicted range_event(K kind, const uint64_t* a) const;
  Predicted invalidation(K kind, const uint64_t* a) const;
  void enter_fault(const model::ev::Enter& e);
  void flush_memslot(uint64_t slot);
};

template <class E>
void ReplayEnv::emit(const E& e) {
  if (monitor != nullptr) {
    monitor->on(e);
    if (!monitor->broken().empty()) [[unlikely]] take_broken();
  }
  if constexpr (std::is_same_v<E, model::ev::Flush>) flush_tlbs(e);
  if constexpr (std::is_same_v<E, model::ev::Enter>) {
    if (e.fn == model::ev::Fn::kFlushMemslot) {
      flush_tlbs({model::ev::FlushKind::kMemslot, 0, 0, static_cast<uint32_t>(e.a[0])});
    }
  }
  Flatten{*this}(e);
}

}  // namespace mmucheck::replay
