// tools/bench: the populate/zap race of explore-vs-peers/README.md as step machines, to measure the
// engine of `explore` against other checkers on one and the same transition system and to test it.
// It is no model of KVM or of the TDX module and is used for nothing else.
//
// Each row of the table of actions there is one step here; names are those of the table. Cells are
// numbered; every local of a thread is one. Properties: 1 to 4 for I1 to I4.
#pragma once

#include <bit>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::bench {

using explore::CellNumber;
using explore::Stepped;

struct SeptRace {
  // --- parameters, as in the table ---
  unsigned v = 2, k = 2, z = 1, r = 1;
  bool lockw = true, shared = false, naive = false, rmp = true;
  bool kick = true;   // false: TRACK forgets the kick and the flush
  bool check = true;  // false: nothing is a property, not even deadlock

  enum Mirror : unsigned { kNone, kFrozen, kPresent };
  enum Sept : unsigned { kFree, kMapped, kBlocked, kNonleaf = 1 };
  enum Error : unsigned {
    kOk,
    kWalkFailed,
    kStateIncorrect,
    kNotBlocked,
    kTlbNotTracked,
    kPageNotFree
  };
  enum VcpuPc : unsigned {
    kFault,
    kReadLock,
    kWalkP,
    kSeptAdd,
    kSeptAddEnd,
    kRestoreP,
    kUnfreezeP,
    kWalkL,
    kPageAug,
    kPageAugEnd,
    kRestoreL,
    kUnfreezeL,
    kRetry,
    kReadUnlock,
    kEnter,
    kAccess,
    kExit,
    kVcpuDone,
    kVcpuBug
  };
  enum ZapPc : unsigned {
    kLock,
    kScan,
    kBlock,
    kBlockEnd,
    kTrack,
    kRemove,
    kRemoveEnd,
    kClearL,
    kSeptRemove,
    kSeptRemoveEnd,
    kClearP,
    kUnlock,
    kZapDone,
    kZapBug
  };

  // --- cells ---
  static constexpr CellNumber kP = 0, kSp = 1, kWriter = 2, kReaders = 3, kTreeLock = 4, kError = 5;
  CellNumber leaf(unsigned i) const { return 6 + i; }
  CellNumber sept(unsigned i) const { return 6 + k + i; }
  CellNumber flight(unsigned i) const { return 6 + 2 * k + i; }
  CellNumber tlb(unsigned i, unsigned vcpu) const { return 6 + 3 * k + i * v + vcpu; }
  CellNumber in_guest(unsigned vcpu) const { return 6 + 3 * k + k * v + vcpu; }
  CellNumber vcpu_cell(unsigned vcpu) const { return 6 + 3 * k + k * v + v + 3 * vcpu; }
  CellNumber zap_cell(unsigned zap) const { return vcpu_cell(v) + 3 * zap; }

  static unsigned places() { return 19; }
  template <class Store>
  unsigned place(const Store& s, unsigned thread) const {
    return s.get(thread < v ? vcpu_cell(thread) : zap_cell(thread - v));
  }
  // vCPUs, and zap threads; leaves are not alike: a scan has an order.
  std::vector<std::vector<std::vector<CellNumber>>> symmetric() const {
    std::vector<std::vector<std::vector<CellNumber>>> groups(2);
    for (unsigned vcpu = 0; vcpu < v; vcpu++) {
      const CellNumber c = vcpu_cell(vcpu);
      groups[0].push_back({c, c + 1, c + 2, in_guest(vcpu)});
      for (unsigned i = 0; i < k; i++) groups[0].back().push_back(tlb(i, vcpu));
    }
    for (unsigned zap = 0; zap < z; zap++) {
      groups[1].push_back({zap_cell(zap), zap_cell(zap) + 1, zap_cell(zap) + 2});
    }
    return groups;
  }

  unsigned threads() const { return v + z; }
  std::vector<unsigned> cells() const {
    const auto width = [](unsigned largest) {
      return std::max(1u, static_cast<unsigned>(std::bit_width(largest)));
    };
    std::vector<unsigned> bits = {2, 1, 1, width(v + z), 1, 3};
    bits.insert(bits.end(), 2 * k, 2);
    bits.insert(bits.end(), k, width(v + z));
    bits.insert(bits.end(), k * v + v, 1);
    for (unsigned i = 0; i < v; i++) bits.insert(bits.end(), {5, width(k - 1), width(r)});
    for (unsigned i = 0; i < z; i++) bits.insert(bits.end(), {4, width(k), width(r)});
    return bits;
  }

  template <class Store>
  Stepped step(Store& s, unsigned thread, unsigned choice) const {
    return thread < v ? step_vcpu(s, thread, choice) : step_zap(s, thread - v, choice);
  }

  template <class Store>
  bool over(const Store& s) const {
    if (!check) return true;
    bool all = true;
    for (unsigned i = 0; i < v; i++) all &= s.get(vcpu_cell(i)) == kVcpuDone;
    for (unsigned i = 0; i < z; i++) all &= s.get(zap_cell(i)) == kZapDone;
    return all;
  }

  template <class Store>
  unsigned broken(const Store& s) const {
    if (!check) return explore::kNothing;
    bool i1 = true, i2 = true, i3 = true;
    const unsigned parent = s.get(kSp), writer = s.get(kWriter);
    for (unsigned i = 0; i < k; i++) {
      const unsigned entry = s.get(sept(i));
      const bool exempt = (s.get(flight(i)) > 0) & (naive | (writer != 0));
      i1 &= (s.get(leaf(i)) != kPresent) | exempt | (entry != kFree);
      i2 &= (entry == kFree) | (parent == kNonleaf);
      i3 &= (entry != kFree) | !any_tlb(s, i);
    }
    if (!i1) return 1;
    if (!i2) return 2;
    if (!i3) return 3;
    return s.get(kError) != kOk ? 4 : explore::kNothing;
  }

 private:
  template <class Store>
  bool any_tlb(const Store& s, unsigned i) const {
    unsigned any = 0;
    for (unsigned vcpu = 0; vcpu < v; vcpu++) any |= s.get(tlb(i, vcpu));
    return any != 0;
  }
  template <class Store>
  static void add(Store& s, CellNumber c, int delta) {
    s.set(c, s.get(c) + static_cast<unsigned>(delta));
  }
  // OPERAND_BUSY: the tree lock is held.
  template <class Store>
  static bool take_tree_lock(Store& s) {
    if (s.get(kTreeLock) != 0) return false;
    s.set(kTreeLock, 1);
    return true;
  }
  // The end of a SEAMCALL.
  template <class Store>
  void drop_tree_lock(Store& s) const {
    if (lockw) s.set(kTreeLock, 0);
  }
  template <class Store>
  static unsigned fail(Store& s, Error error, unsigned bug) {
    s.set(kError, error);
    return bug;
  }

  template <class Store>
  Stepped step_vcpu(Store& s, unsigned self, unsigned choice) const {
    const CellNumber pc_cell = vcpu_cell(self), k_cell = pc_cell + 1, r_cell = pc_cell + 2;
    const auto go = [&](unsigned pc) {
      s.set(pc_cell, pc);
      return Stepped::kRan;
    };
    const unsigned claim = naive ? kPresent : kFrozen;
    switch (s.get(pc_cell)) {
      case kFault:
        s.set(k_cell, choice);
        go(kReadLock);
        return choice + 1 < k ? Stepped::kRanOne : Stepped::kRan;
      case kReadLock:
        if (s.get(kWriter) != 0) return Stepped::kBlocked;
        add(s, kReaders, 1);
        return go(kWalkP);
      case kWalkP: {
        const unsigned parent = s.get(kP);
        if (parent == kFrozen) return go(kRetry);
        if (parent == kPresent) return go(kWalkL);
        s.set(kP, claim);
        return go(kSeptAdd);
      }
      case kSeptAdd:
        if (lockw) return go(take_tree_lock(s) ? kSeptAddEnd : kRestoreP);
        [[fallthrough]];
      case kSeptAddEnd:
        drop_tree_lock(s);
        if (s.get(kSp) != kFree) return go(fail(s, kStateIncorrect, kVcpuBug));
        s.set(kSp, kNonleaf);
        return go(naive ? kWalkL : kUnfreezeP);
      case kRestoreP: s.set(kP, kNone); return go(kRetry);
      case kUnfreezeP: s.set(kP, kPresent); return go(kWalkL);
      case kWalkL: {
        const unsigned i = s.get(k_cell), entry = s.get(leaf(i));
        if (entry == kFrozen) return go(kRetry);
        if (entry == kPresent) return go(kReadUnlock);
        s.set(leaf(i), claim);
        add(s, flight(i), 1);
        return go(kPageAug);
      }
      case kPageAug:
        if (lockw) return go(take_tree_lock(s) ? kPageAugEnd : kRestoreL);
        [[fallthrough]];
      case kPageAugEnd: {
        const unsigned i = s.get(k_cell);
        drop_tree_lock(s);
        if (s.get(kSp) == kFree) return go(fail(s, kWalkFailed, kVcpuBug));
        if (s.get(sept(i)) != kFree) return go(fail(s, kStateIncorrect, kVcpuBug));
        s.set(sept(i), kMapped);
        if (!naive) return go(kUnfreezeL);
        add(s, flight(i), -1);
        return go(kReadUnlock);
      }
      case kRestoreL:
      case kUnfreezeL: {
        const unsigned i = s.get(k_cell);
        const bool mapped = s.get(pc_cell) == kUnfreezeL;
        s.set(leaf(i), mapped ? kPresent : kNone);
        add(s, flight(i), -1);
        return go(mapped ? kReadUnlock : kRetry);
      }
      case kRetry: add(s, kReaders, -1); return go(kReadLock);
      case kReadUnlock: add(s, kReaders, -1); return go(kEnter);
      case kEnter: s.set(in_guest(self), 1); return go(kAccess);
      case kAccess: {
        if (s.get(in_guest(self)) == 0) return go(kEnter);
        const unsigned i = s.get(k_cell);
        if (s.get(sept(i)) == kMapped) {
          s.set(tlb(i, self), 1);
          return go(kExit);
        }
        s.set(in_guest(self), 0);
        return go(kReadLock);
      }
      case kExit:
        s.set(in_guest(self), 0);
        s.set(k_cell, 0);
        add(s, r_cell, 1);
        return go(s.get(r_cell) < r ? kFault : kVcpuDone);
      default: return Stepped::kBlocked;
    }
  }

  template <class Store>
  Stepped step_zap(Store& s, unsigned self, unsigned choice) const {
    const CellNumber pc_cell = zap_cell(self), j_cell = pc_cell + 1, r_cell = pc_cell + 2;
    const auto go = [&](unsigned pc) {
      s.set(pc_cell, pc);
      return Stepped::kRan;
    };
    switch (s.get(pc_cell)) {
      case kLock:
        if (s.get(kWriter) != 0 || (!shared && s.get(kReaders) != 0)) return Stepped::kBlocked;
        shared ? add(s, kReaders, 1) : s.set(kWriter, 1);
        return go(kScan);
      case kScan: return scan(s, self, choice);
      case kBlock:
        if (lockw) return take_tree_lock(s) ? go(kBlockEnd) : Stepped::kBlocked;
        [[fallthrough]];
      case kBlockEnd: {
        const CellNumber entry = sept(s.get(j_cell));
        drop_tree_lock(s);
        if (s.get(kSp) == kFree) return go(fail(s, kWalkFailed, kZapBug));
        if (s.get(entry) != kMapped) return go(fail(s, kStateIncorrect, kZapBug));
        s.set(entry, kBlocked);
        return go(kTrack);
      }
      case kTrack:
        for (unsigned vcpu = 0; vcpu < v && kick; vcpu++) {
          s.set(in_guest(vcpu), 0);
          for (unsigned i = 0; i < k; i++) s.set(tlb(i, vcpu), 0);
        }
        return go(kRemove);
      case kRemove:
        if (lockw) return take_tree_lock(s) ? go(kRemoveEnd) : Stepped::kBlocked;
        [[fallthrough]];
      case kRemoveEnd: {
        const unsigned j = s.get(j_cell);
        drop_tree_lock(s);
        if (s.get(kSp) == kFree) return go(fail(s, kWalkFailed, kZapBug));
        if (s.get(sept(j)) != kBlocked) return go(fail(s, kNotBlocked, kZapBug));
        if (any_tlb(s, j)) return go(fail(s, kTlbNotTracked, kZapBug));
        s.set(sept(j), kFree);
        return go(kClearL);
      }
      case kClearL: {
        const unsigned j = s.get(j_cell);
        s.set(leaf(j), kNone);
        add(s, flight(j), -1);
        s.set(j_cell, j + 1);
        return go(kScan);
      }
      case kSeptRemove:
        if (lockw) return take_tree_lock(s) ? go(kSeptRemoveEnd) : Stepped::kBlocked;
        [[fallthrough]];
      case kSeptRemoveEnd: {
        drop_tree_lock(s);
        if (s.get(kSp) != kNonleaf) return go(fail(s, kStateIncorrect, kZapBug));
        bool free = true;
        for (unsigned i = 0; i < k; i++) free &= s.get(sept(i)) == kFree;
        if (!free) return go(fail(s, kPageNotFree, kZapBug));
        s.set(kSp, kFree);
        return go(kClearP);
      }
      case kClearP: s.set(kP, kNone); return go(kUnlock);
      case kUnlock:
        shared ? add(s, kReaders, -1) : s.set(kWriter, 0);
        add(s, r_cell, 1);
        return go(s.get(r_cell) < r ? kLock : kZapDone);
      default: return Stepped::kBlocked;
    }
  }

  template <class Store>
  Stepped scan(Store& s, unsigned self, unsigned choice) const {
    const CellNumber pc_cell = zap_cell(self), j_cell = pc_cell + 1;
    const unsigned j = s.get(j_cell);
    if (j < k) {
      if (s.get(leaf(j)) != kPresent) {
        s.set(j_cell, j + 1);
        return Stepped::kRan;
      }
      add(s, flight(j), 1);
      if (shared) s.set(leaf(j), kFrozen);
      s.set(pc_cell, kBlock);
      return Stepped::kRan;
    }
    bool removable = rmp && s.get(kP) == kPresent;
    for (unsigned i = 0; i < k && removable; i++) removable = s.get(leaf(i)) == kNone;
    s.set(j_cell, 0);
    if (choice == 0) {
      s.set(pc_cell, kUnlock);
      return removable ? Stepped::kRanOne : Stepped::kRan;
    }
    if (shared) s.set(kP, kFrozen);
    s.set(pc_cell, kSeptRemove);
    return Stepped::kRan;
  }
};

}  // namespace mmucheck::bench
