// model/vm: how an operation is written as a step machine.
//
// A machine is a plain struct with a program counter `pc` and bounded locals. Its function reads
// like the kernel's, with MMU_STEP where an atomic action ends: there the machine may return to
// its driver and go on later. `w` (the World) decides whether it pauses: exploration at every
// step, replay where an event became visible, a scripted sequence never.
// A label `n` is unique within its function; locals that live across a label are in the struct.
#pragma once

#include <cstdint>

namespace mmucheck::model {

enum class Run : uint8_t { kRan, kBlocked, kDone };

#define MMU_BEGIN(m) \
  switch ((m).pc) {  \
    default:         \
    case 0:;

#define MMU_STEP(m, n)                  \
  do {                                  \
    (m).pc = (n);                       \
    if (w.pause()) return Run::kRan;    \
    [[fallthrough]];                    \
    case (n):;                          \
  } while (0)

// Runs a sub-machine to its end.
#define MMU_CALL(m, n, call)            \
  do {                                  \
    (m).pc = (n);                       \
    [[fallthrough]];                    \
    case (n): {                         \
      const Run r_ = (call);            \
      if (r_ != Run::kDone) return r_;  \
    }                                   \
  } while (0)

// Makes an event visible and ends the step.
#define MMU_EMIT(m, n, ...)   \
  do {                        \
    w.emit(__VA_ARGS__);      \
    MMU_STEP(m, n);           \
  } while (0)

#define MMU_END(m) \
  }                \
  (m).pc = 0;      \
  return Run::kDone

}  // namespace mmucheck::model
