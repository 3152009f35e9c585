#include "checker/replay/synthetic/stepped_state.h"

#include <stdexcept>

#include "checker/replay/synthetic/stepped_bytes.h"

namespace mmucheck::replay {
namespace {

// What stands first in a part: parts of two kinds are never equal.
enum PartKind : uint64_t { kOfCells, kOfNothing, kOfThread };

// The parts of the store, in order: begin(i) when part i begins, then its cells.
template <class Begin, class CellF>
void for_cells(const model::RadixStore& store, const Begin& begin, const CellF& cell) {
  size_t part = 0;
  const auto group = [](model::Cell c) {
    return c.kind <= model::kLastScalar ? 0 : c.kind < model::kFirstModuleCell ? 1 : 2;
  };
  int at = -1;  // the group that is begun; -1: a table
  store.for_each(
      [&](uint32_t table) {
        begin(part++);
        if (table == model::kNoTable) at = 0;
      },
      [&](model::Cell c, uint64_t v) {
        for (; at >= 0 && at < group(c); at++) begin(part++);
        cell(c, v);
      });
  for (; at < 2; at++) begin(part++);
}

}  // namespace

SteppedState::SteppedState(const SyntheticReplayer& r) : threads_(r.threads_) {
  if (r.vms_.size() != 1) throw std::logic_error("stepped threads belong to one VM");
  const SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  store_ = vm.model->store;
  hooks_ = vm.model->env.hooks_;
  roles_ = vm.model->env.roles;
  next_frame_ = vm.model->env.next_provisional_;
  numbers_ = vm.model->env.numbers_;
  monitor_ = std::make_shared<const invariant::Monitor>(*vm.monitor);
}

void SteppedState::restore(SyntheticReplayer& r) const {
  SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  vm.model->store = store_;
  vm.model->env.hooks_ = hooks_;
  vm.model->env.roles = roles_;
  vm.model->env.next_provisional_ = next_frame_;
  vm.model->env.numbers_ = numbers_;
  vm.monitor = std::make_unique<invariant::Monitor>(*monitor_);
  vm.model->env.monitor = vm.monitor.get();
  r.threads_ = threads_;
}

std::vector<std::string> SteppedState::parts(const SyntheticReplayer& r) {
  std::vector<std::string> all;
  const SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  StateBytes b;
  for_cells(
      vm.model->store,
      [&](size_t part) {
        if (part != 0) all.push_back(b.take());
        b.number(kOfCells);
      },
      [&](model::Cell c, uint64_t v) {
        b.number(static_cast<uint64_t>(c.kind) << 32 | c.object);
        b.number(c.index);
        b.number(v);
      });
  all.push_back(b.take());
  b.number(kOfNothing);
  all.push_back(b.take() + content(r, kMonitorSlot) + content(r, kFramesSlot));
  for (const auto& [tid, t] : r.threads_) {
    if (t.stack.empty()) continue;
    b.number(kOfThread);
    b.number(tid);
    all.push_back(b.take() + content_of_thread(r, tid));
  }
  return all;
}

bool SteppedState::running(const SyntheticReplayer& r, uint32_t thread) {
  const auto t = r.threads_.find(thread);
  return t != r.threads_.end() && !t->second.stack.empty();
}

bool SteppedState::may_be_busy(const SyntheticReplayer& r, uint32_t thread) {
  const auto& hooks = r.vms_.begin()->second.model->env.hooks_;
  const auto at = hooks.find(thread);
  if (at == hooks.end()) return false;
  constexpr uint8_t kCalled = 1;     // seamcall(): the call is shown, its answer comes next
  constexpr uint8_t kSecondTry = 3;  // tdh_do_no_vcpus()
  const model::NoVcpus& tdh = at->second.tdh;
  if (at->second.pc == 0 || tdh.call.pc != kCalled || tdh.pc == kSecondTry) return false;
  using model::tdx::Leaf;
  switch (tdh.call.call.leaf) {
    case Leaf::kMemPageAdd:
    case Leaf::kMemPageAug:
    case Leaf::kMemSeptAdd:
    case Leaf::kMemRangeBlock:
    case Leaf::kMemTrack:
    case Leaf::kMemPageRemove:
    case Leaf::kMemPageDemote: return true;
    default: return false;
  }
}

bool SteppedState::walks(const SyntheticReplayer& r, uint32_t thread) {
  const auto t = r.threads_.find(thread);
  if (t == r.threads_.end() || t->second.stack.empty()) return false;
  const SyntheticReplayer::Task& task = t->second.stack.back();
  if (task.primitive) return true;
  const Machine& m = task.op.machine;
  return std::holds_alternative<model::InvalidateRange>(m) ||
         std::holds_alternative<model::SetMemoryRegion>(m) ||
         std::holds_alternative<model::SetMemAttributes>(m) ||
         std::holds_alternative<model::GmemInvalidate>(m) ||
         std::holds_alternative<model::GmemRelease>(m) ||
         std::holds_alternative<model::ZapGfnRange>(m) ||
         std::holds_alternative<model::FlushShadowAll>(m) ||
         std::holds_alternative<model::RecoverNxHugePages>(m) ||
         std::holds_alternative<model::ZapAllFast>(m);
}

bool SteppedState::yield_is_due(const SyntheticReplayer& r, uint32_t thread) {
  const auto t = r.threads_.find(thread);
  return t != r.threads_.end() && t->second.in.yield;
}

const std::vector<Predicted>& SteppedState::shown(const SyntheticReplayer& r, uint32_t thread) {
  static const std::vector<Predicted> kNothing;
  const auto t = r.threads_.find(thread);
  return t == r.threads_.end() ? kNothing : t->second.queue;
}

void SteppedState::forget_what_is_over(SyntheticReplayer& r, uint32_t thread) {
  if (!running(r, thread)) r.vms_.begin()->second.model->env.hooks_.erase(thread);
}

std::pair<uint64_t, uint64_t> SteppedState::lock(const SyntheticReplayer& r) {
  const model::RadixStore& store = r.vms_.begin()->second.model->store;
  return {store.get(model::cell::of(model::CellKind::kLockReaders)),
          store.get(model::cell::of(model::CellKind::kLockWriter))};
}

}  // namespace mmucheck::replay
