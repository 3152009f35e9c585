// model/domain: the value domain of machine integers.
//
// A domain D offers D::U64 (one 64-bit unsigned sort), D::Bool, D::ite(cond, a, b),
// D::branch(cond) -> bool and D::lookup(table, i). Rules in model/ are templates over D that
// default to Concrete; replay and exploration use this one at no cost, the prover uses Term.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mmucheck::model {

struct Concrete {
  using U64 = uint64_t;
  using Bool = bool;

  static constexpr U64 ite(Bool c, U64 a, U64 b) { return c ? a : b; }
  static constexpr bool branch(Bool c) { return c; }

  // `i` must be below N: a rule that cannot promise this bounds it first.
  template <size_t N>
  static constexpr U64 lookup(const std::array<uint64_t, N>& table, U64 i) {
    return table[i];
  }
};

template <class D>
using U64Of = typename D::U64;
template <class D>
using BoolOf = typename D::Bool;

}  // namespace mmucheck::model
