#include "tools/import/ftrace/normalizer.h"

#include "checker/trace/event_kinds.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

constexpr size_t kMaxTables = 1u << 20;
constexpr uint64_t kMaxPhysical = uint64_t{1} << 52;

// Fault-path events that name no VM: they belong to the vCPU that the thread runs.
bool of_vcpu(EventKind kind) {
  switch (kind) {
    case EventKind::kPageFault:
    case EventKind::kFastPageFault:
    case EventKind::kFaultinRet:
    case EventKind::kFaultStaleRet:
    case EventKind::kTdpMapRet:
    case EventKind::kAllocRootRet:
    case EventKind::kSpteRequested:
    case EventKind::kSetSpte:
    case EventKind::kMarkMmioSpte:
    case EventKind::kCheckMmioSpte:
    case EventKind::kHandleMmioPageFault:
    case EventKind::kMmio:
    case EventKind::kUserspaceExit:
    case EventKind::kEntry:
    case EventKind::kExit:
    case EventKind::kFpu:
    case EventKind::kPagetableWalk:
    case EventKind::kPagingElement:
    case EventKind::kWalkerError:
    case EventKind::kSoftExitRet: return true;
    default: return false;
  }
}

}  // namespace

bool Normalizer::to_physical(uint64_t va, uint64_t& pa) const {
  if (!profile_.direct_map_base || va < *profile_.direct_map_base) return false;
  pa = va - *profile_.direct_map_base;
  return pa < kMaxPhysical;
}

const MirrorFacts* Normalizer::mirror_facts(uint64_t kvm) const {
  const auto it = profile_.mirrors.find({kvm, vms_.generation(kvm)});
  return it == profile_.mirrors.end() ? nullptr : &it->second;
}

Normalizer::Result Normalizer::resolve(RawEvent& raw) {
  Event& e = raw.event;
  Result result;
  for (uint32_t bits = raw.va_pfn | raw.va; bits != 0; bits &= bits - 1) {
    const size_t i = static_cast<size_t>(__builtin_ctz(bits));
    uint64_t pa = 0;
    if (to_physical(e.get(i), pa)) {
      e.set(i, (raw.va_pfn >> i & 1) != 0 ? pa >> 12 : pa);
    } else {
      ++outside_;
      e.f[i] = 0;
      e.present &= ~(1u << i);
    }
  }

  Thread& thread = threads_.of(e);
  if (raw.kvm != 0) {
    e.vm = vms_.see(raw.kvm, e.kind);
    thread.vm = e.vm;
    result.vm_certain = true;
    if (raw.vcpu != 0 && e.kind != EventKind::kCreateVcpu && e.kind != EventKind::kMmuDestroy) {
      thread.vcpu_vm = e.vm;
    }
  } else if (raw.mn != 0) {
    e.vm = vms_.by_notifier(raw.mn, profile_.notifier_offset);
    if (e.vm != 0) thread.vm = e.vm;
    result.vm_certain = e.vm != 0;
  } else {
    const auto table = [this](uint64_t pfn) {
      const auto it = table_vm_.find(pfn);
      return it == table_vm_.end() ? 0 : it->second;
    };
    switch (e.kind) {
      case EventKind::kIterStart:
        e.vm = table(e.get(f::iter_start::spt_pfn));
        if (e.vm != 0) thread.vm = e.vm;
        result.vm_certain = e.vm != 0;
        break;
      case EventKind::kRcuFreeSp:
        e.vm = table(e.get(f::rcu_free_sp::spt_pfn));
        result.vm_certain = e.vm != 0;
        break;
      default: break;
    }
    if (e.vm == 0 && of_vcpu(e.kind)) {
      // A thread that is taken for the next VM has run no vCPU of it yet.
      e.vm = vms_.lives(thread.vcpu_vm) ? thread.vcpu_vm : 0;
      result.vm_contested = vms_.several_alive() && e.kind == EventKind::kPageFault;
    }
  }

  // guest_memfd: pointers become numbers; a punched inode's VM is that of its last invalidation.
  if (raw.inode != 0) {
    const uint32_t inode = inodes_.see(raw.inode);
    const auto index = trace::kind_info(e.kind).field("inode");
    if (index) e.set(*index, inode);
    if (e.kind == EventKind::kGmemPunchHole) punching_inode_ = inode;
    if (e.vm == 0) {
      const auto it = inode_vm_.find(inode);
      if (it != inode_vm_.end() && vms_.lives(it->second)) e.vm = it->second;
    }
  }
  if (raw.gmem != 0) {
    const auto index = trace::kind_info(e.kind).field("gmem");
    if (index) e.set(*index, gmems_.see(raw.gmem));
    if (e.kind == EventKind::kGmemInvalidate && punching_inode_ != 0 &&
        inode_vm_.size() < kMaxTracked) {
      inode_vm_[punching_inode_] = e.vm;
    }
  }

  if (e.kind == EventKind::kMnInvStart) thread.in_notifier = true;
  if (e.kind == EventKind::kMnInvEnd) thread.in_notifier = false;
  const bool vm_from_thread = e.kind != EventKind::kRcuFreeSp && e.kind != EventKind::kAgeHva &&
                              e.kind != EventKind::kTestAgeHva &&
                              e.kind != EventKind::kGmemPunchHole && !of_vcpu(e.kind) &&
                              (e.kind != EventKind::kUnmapHvaRange || thread.in_notifier);
  if (e.vm == 0 && vm_from_thread) e.vm = thread.vm;
  if (e.vm == 0) e.vm = vms_.sole();

  if (e.kind == EventKind::kInitSp && e.has(f::init_sp::spt_pfn)) {
    if (table_vm_.size() >= kMaxTables) table_vm_.clear();
    table_vm_[e.get(f::init_sp::spt_pfn)] = e.vm;
  } else if (e.kind == EventKind::kRcuFreeSp) {
    table_vm_.erase(e.get(f::rcu_free_sp::spt_pfn));
  }
  return result;
}

}  // namespace mmucheck::import
