// checker/replay/tracepoint: what one change of one entry was taken for.
#pragma once

#include <cstdint>

namespace mmucheck::replay {

enum class Step : uint8_t {
  kNone,        // nothing that the rules know
  kFault,       // a leaf that a request asked for
  kMmio,        // the same without a memslot
  kLink,        // a table, below a request
  kSplit,       // a table in the place of a leaf
  kRecover,     // a leaf in the place of a table, not asked for
  kZap,         // a leaf goes
  kUnlink,      // a table goes
  kProtect,     // W (and MMU-writable) cleared
  kClearDirty,  // D cleared
  kAge,         // A cleared, or made access-tracked
  kFreeze,      // an entry of a removed table
};

// Whether the recording itself says why.
constexpr bool has_cause(Step s) {
  return s == Step::kFault || s == Step::kMmio || s == Step::kLink || s == Step::kSplit ||
         s == Step::kRecover;
}

}  // namespace mmucheck::replay
