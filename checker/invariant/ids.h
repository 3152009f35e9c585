// Layer: checker/invariant. Contract: an invariant as a number (its place in the catalogue), found
// at compile time, and how often each was evaluated and violated. Counting costs one addition.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mmucheck::invariant {

using Id = uint16_t;

inline constexpr std::string_view kIds[] = {
#define INVARIANT(id, kind, scope, statement, source, status) id,
#include "checker/invariant/catalogue.def"
#undef INVARIANT
};
inline constexpr size_t kIdCount = std::size(kIds);
inline constexpr Id kNoId = kIdCount;

// kNoId when there is no such invariant.
constexpr Id find_id(std::string_view name) {
  for (size_t i = 0; i < kIdCount; i++) {
    if (kIds[i] == name) return static_cast<Id>(i);
  }
  return kNoId;
}

// An id that does not exist does not compile.
consteval Id id(std::string_view name) {
  const Id i = find_id(name);
  if (i == kNoId) throw "no such invariant";
  return i;
}

struct Tally {
  std::array<uint64_t, kIdCount> evaluated{};
  std::array<uint64_t, kIdCount> violated{};
};

}  // namespace mmucheck::invariant
