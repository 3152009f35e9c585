// tools/fuzz: damages bytes in ways that readers get wrong.
//
// Contract: a deterministic function of the seed and of what it was given before; the result has at
// most kMaxBytes bytes. Knows no format: what is worth inserting comes from the seeds themselves
// (pieces of them) and from a list of numbers and words at the edges of types.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::fuzz {

inline constexpr size_t kMaxBytes = 256 * 1024;

class Mutator {
 public:
  Mutator(uint64_t seed, std::vector<std::string> seeds);

  // A piece of one of the seeds (whole lines where `lines`), damaged 0 to 8 times.
  std::string next(bool lines);

 private:
  uint64_t below(uint64_t n) { return random_() % n; }
  void damage(std::string& bytes);

  std::mt19937_64 random_;
  std::vector<std::string> seeds_;
};

}  // namespace mmucheck::fuzz
