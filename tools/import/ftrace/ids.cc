#include "tools/import/ftrace/ids.h"

namespace mmucheck::import {

using trace::EventKind;

VmTable::Entry* VmTable::insert(uint64_t kvm) {
  if (by_pointer_.size() >= kMaxTracked) {
    // A scan must pay: with few dead VMs among them each new one would look at all again.
    if (by_pointer_.size() - alive_ < kMaxTracked / 4) {
      ++overflow_;
      return nullptr;
    }
    std::erase_if(by_pointer_, [](const auto& item) { return item.second.destroyed; });
  }
  return &by_pointer_[kvm];
}

uint32_t VmTable::see(uint64_t kvm, EventKind kind) {
  if (kvm == 0) return 0;
  const bool life_changes =
      kind == EventKind::kInitVm || kind == EventKind::kDestroyVm || kind == EventKind::kCreateVcpu;
  if (cached_ != nullptr && kvm == cached_pointer_ && !life_changes) return cached_->id;
  cached_ = nullptr;
  auto it = by_pointer_.find(kvm);
  Entry* entry = it != by_pointer_.end() ? &it->second : nullptr;
  // create_vcpu on a destroyed VM: its init_vm was not recorded.
  const bool born = entry == nullptr || kind == EventKind::kInitVm ||
                    (kind == EventKind::kCreateVcpu && entry->destroyed);
  if (born) {
    if (entry != nullptr && !entry->destroyed) {  // its end was not recorded
      --alive_;
      living_.erase(entry->id);
    }
    if (entry == nullptr) entry = insert(kvm);
    if (entry == nullptr) return 0;
    entry->id = next_++;
    entry->destroyed = false;
    ++entry->generation;
    ++alive_;
    living_.insert(entry->id);
  }
  if (kind == EventKind::kDestroyVm && !entry->destroyed) {
    entry->destroyed = true;
    --alive_;
    living_.erase(entry->id);
    last_destroyed_ = entry->id;
  }
  cached_pointer_ = kvm;
  cached_ = entry;
  return entry->id;
}

uint32_t VmTable::by_notifier(uint64_t mn, std::optional<uint64_t> offset) const {
  if (offset) {
    const auto it = by_pointer_.find(mn - *offset);
    if (it != by_pointer_.end()) return it->second.id;
  }
  auto it = by_pointer_.upper_bound(mn);
  if (it == by_pointer_.begin()) return 0;
  --it;
  return mn - it->first < 65536 ? it->second.id : 0;
}

uint32_t VmTable::sole() const {
  if (alive_ == 0) return last_destroyed_;
  if (alive_ > 1) return 0;
  if (cached_ != nullptr && !cached_->destroyed) return cached_->id;
  for (const auto& [pointer, entry] : by_pointer_) {
    if (!entry.destroyed) return entry.id;
  }
  return 0;
}

uint32_t VmTable::generation(uint64_t kvm) const {
  const auto it = by_pointer_.find(kvm);
  return it == by_pointer_.end() ? 0 : it->second.generation;
}

uint32_t SmallIds::see(uint64_t pointer) {
  if (pointer == 0) return 0;
  const auto it = ids_.find(pointer);
  if (it != ids_.end()) return it->second;
  if (ids_.size() >= kMaxTracked) return 0;
  const uint32_t id = static_cast<uint32_t>(ids_.size()) + 1;
  ids_.emplace(pointer, id);
  return id;
}

}  // namespace mmucheck::import
