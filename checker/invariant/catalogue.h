// Layer: checker/invariant. Contract: the catalogue: each invariant by its stable id, with what it
// says, where the rule comes from and what evaluates it. The table is sorted by no means: its order
// is that of catalogue.def; lookup is by id.
//
// Sources are functions of Linux's arch/x86/kvm/mmu and virt/kvm. Ids without kElsewhere are those
// that model/ itself reports (ev::Warn) at the point where the kernel has its own WARN or BUG; the
// others need a view over more than one step, which an engine has.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace mmucheck::invariant {

enum class Kind : uint8_t {
  kState,  // holds in every state
  kStep,   // of one change, old to new
  kPoint,  // at a place: a lock release, a return, the end of a VM
};

// What it is written for one instance of.
enum class Scope : uint8_t { kEntry, kTable, kRoot, kWalk, kFault, kTlb, kLock, kSlot, kVm };

enum Status : uint8_t {
  kRecorded = 1,   // recordings or scripted sequences of real kernels come by it; else: unrecorded
  kElsewhere = 2,  // evaluated by an engine, not by a step of the model
  kNoTrace = 4,    // no pair of traces yet that violates it and nearly violates it
};

struct Invariant {
  std::string_view id;
  Kind kind;
  Scope scope;
  std::string_view statement;
  std::string_view source;
  uint8_t status;  // of Status

  bool recorded() const { return status & kRecorded; }
  bool in_model() const { return !(status & kElsewhere); }
};

std::span<const Invariant> catalogue();

// Why no exploration of traces/scenarios breaks it (unreached.def); empty: one does.
std::string_view why_unreached(std::string_view id);

// nullptr when there is no such id.
const Invariant* find(std::string_view id);

std::string_view name_of(Kind kind);
std::string_view name_of(Scope scope);

}  // namespace mmucheck::invariant
