#include "checker/replay/seamcall_busy.h"

namespace mmucheck::replay {

namespace {

using Leaf = model::tdx::Leaf;
using Operand = model::tdx::Operand;
using Group = BusyRule::Group;

Group group_of(Leaf leaf) {
  switch (leaf) {
    case Leaf::kMemSeptAdd:
    case Leaf::kMemPageAdd:
    case Leaf::kMemPageAug: return Group::kMap;
    case Leaf::kMemRangeBlock:
    case Leaf::kMemTrack:
    case Leaf::kMemPageRemove: return Group::kZap;
    default: return Group::kOther;
  }
}

Operand injected_operand(Leaf leaf) {
  if (leaf == Leaf::kMemPageAdd) return Operand::kTdr;
  return leaf == Leaf::kMemTrack ? Operand::kTdEpoch : Operand::kSeptTree;
}

using model::tdx::LockMode;

// The tree lock as the emulated module takes it: where its table differs from leaf.h, by guests.
LockMode tree_mode(Leaf leaf) {
  if (leaf == Leaf::kVpEnter) return LockMode::kExclusive;  // zero-step
  if (leaf == Leaf::kPageAccept) return LockMode::kShared;
  return model::tdx::leaf_info(leaf).tree;
}

bool exclude(LockMode a, LockMode b) {
  return a != LockMode::kNone && b != LockMode::kNone &&
         (a == LockMode::kExclusive || b == LockMode::kExclusive);
}

}  // namespace

void BusyRule::meet(Call& a, Call& b) {
  a.met = b.met = true;
  if (exclude(tree_mode(a.leaf), tree_mode(b.leaf))) a.met_tree = b.met_tree = true;
  if (exclude(model::tdx::leaf_info(a.leaf).tdr, model::tdx::leaf_info(b.leaf).tdr)) {
    a.met_tdr = b.met_tdr = true;
  }
  if (a.level == 0 || b.level == 0) return;
  const int level = a.level > b.level ? a.level : b.level;
  if ((a.gpa ^ b.gpa) >> (12 + 9 * (level - 1)) == 0) a.met_entry = b.met_entry = true;
}

bool BusyRule::can_meet(const Call& call, Operand operand) {
  switch (operand) {
    case Operand::kTdr:
    case Operand::kOpState: return call.met_tdr;
    case Operand::kSeptTree: return call.met_tree;
    case Operand::kTdEpoch: return call.met && call.leaf == Leaf::kMemTrack;
    case Operand::kRcx: return call.met_entry;
    default: return false;
  }
}

void BusyRule::set_every(Group group, std::optional<uint64_t> n) {
  if (group == Group::kOther) return;
  Count& count = counts_[static_cast<size_t>(group)];
  count.every = n;
  count.refused.reset();
}

void BusyRule::entered(uint64_t thread, uint32_t vm, Leaf leaf, uint64_t gpa,
                       int level) {
  Call& call = calls_[thread];
  const bool repeats = call.refused && call.leaf == leaf && call.vm == vm;
  call = {};
  call.vm = vm;
  call.leaf = leaf;
  call.gpa = gpa;
  call.level = level >= 1 && level <= 5 ? level : 0;
  call.open = true;
  const Group group = group_of(leaf);
  call.repeats = repeats && group == Group::kZap;
  for (auto& [other_thread, other] : calls_) {
    if (!other.open || other_thread == thread) continue;
    if (other.vm == vm) meet(call, other);
    if (group != Group::kOther && group_of(other.leaf) == group) {
      call.overlaps++;
      other.overlaps++;
    }
  }
  if (group != Group::kOther && !call.repeats) {
    call.number = ++counts_[static_cast<size_t>(group)].calls;
  }
}

BusyRule::Due BusyRule::due(const Count& count, const Call& call, bool alone) const {
  if (!count.every) return Due::kMaybe;
  const uint64_t every = *count.every;
  if (every == 0 || call.repeats) return Due::kNo;
  if (!alone || !count.refused || call.overlaps * 2 >= every) return Due::kMaybe;
  const uint64_t past = (call.number - *count.refused) % every;
  const uint64_t apart = past < every - past ? past : every - past;
  if (call.overlaps == 0) return apart == 0 ? Due::kYes : Due::kNo;
  return apart <= call.overlaps ? Due::kMaybe : Due::kNo;
}

std::string BusyRule::returned(uint64_t thread, model::tdx::Status status, bool alone) {
  const auto it = calls_.find(thread);
  if (it == calls_.end() || !it->second.open) return {};
  Call& call = it->second;
  call.open = false;
  const bool busy = status.code() == model::tdx::StatusCode::kOperandBusy;
  call.refused = busy;
  const Group group = group_of(call.leaf);
  const auto operand = static_cast<Operand>(status.detail());
  Count* count = group == Group::kOther ? nullptr : &counts_[static_cast<size_t>(group)];
  if (count != nullptr && !alone) count->refused.reset();
  const Due is_due = count == nullptr ? Due::kNo : due(*count, call, alone);
  if (!busy) {
    return is_due == Due::kYes ? "TDX_OPERAND_BUSY, as at every " + std::to_string(*count->every) +
                                     "th call of its kind"
                               : std::string();
  }
  if (is_due != Due::kNo && operand == injected_operand(call.leaf)) {
    if (alone && count->every && call.overlaps == 0 && !call.met) count->refused = call.number;
    return {};
  }
  if (can_meet(call, operand)) return {};
  return is_due != Due::kNo
             ? "TDX_OPERAND_BUSY with the operand of a refused call"
             : "no TDX_OPERAND_BUSY: no other call held that lock, and none is refused now";
}

}  // namespace mmucheck::replay
