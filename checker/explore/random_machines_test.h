// Layer: checker/explore, for tests. Contract: small random programs as step machines: threads that
// read, write, count, exchange, lock, choose and loop over a few shared cells of a few bits, and
// two properties, or given ones. The same seed gives the same program everywhere. Threads that run
// the same program are told so, for symmetry.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

struct RandomMachines {
  enum class Op : uint8_t {
    kSet,     // cell = value
    kAdd,     // cell += value
    kLoad,    // r = cell
    kStore,   // cell = r
    kCas,     // if cell == value: cell = other; else go to target
    kJump,    // if cell == value: go to target
    kJumpR,   // if r == value: go to target
    kLock,    // waits for cell == 0; cell = 1
    kUnlock,  // cell = 0
    kChoose,  // r = any number up to value
    kBug,     // the bug cell = 1
  };
  struct Instruction {
    Op op = Op::kSet;
    unsigned cell = 0, value = 0, other = 0, target = 0;
  };
  static constexpr unsigned kBits = 2, kMax = 3;

  unsigned shared = 2;  // cells; behind them the bug cell, then pc and r of each thread
  std::vector<std::vector<Instruction>> programs;                 // of each thread
  unsigned watched = 0, forbidden = 3, with = 1, with_value = 3;  // property 1

  // These programs; property 1 is out of reach.
  explicit RandomMachines(std::vector<std::vector<Instruction>> given)
      : programs(std::move(given)), with(0), with_value(0) {}

  explicit RandomMachines(uint32_t seed) {
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    shared = 2 + below(3);
    programs.resize(2 + below(2));
    for (size_t t = 0; t < programs.size(); t++) {
      if (t > 0 && below(3) == 0) {  // a twin of the thread before
        programs[t] = programs[t - 1];
        continue;
      }
      programs[t].resize(1 + below(programs.size() == 2 ? 6 : 4));
      for (Instruction& i : programs[t]) {
        i.op = static_cast<Op>(below(11));
        if (i.op == Op::kBug && below(2) == 0) i.op = Op::kLoad;
        i.cell = below(shared);
        i.value = 1 + below(kMax);
        if (i.op == Op::kJump || i.op == Op::kJumpR || i.op == Op::kCas) i.value = below(kMax);
        i.other = below(kMax + 1);
        i.target = below(static_cast<unsigned>(programs[t].size()) + 1);
      }
    }
    watched = below(shared);
    with = below(shared);
    forbidden = 1 + below(kMax);
    with_value = below(kMax + 1);
  }

  CellNumber bug() const { return shared; }
  CellNumber pc(unsigned thread) const { return shared + 1 + 2 * thread; }

  static unsigned places() { return 8; }
  template <class Store>
  unsigned place(const Store& s, unsigned thread) const {
    return s.get(pc(thread));
  }
  // Threads that run the same program.
  std::vector<std::vector<std::vector<CellNumber>>> symmetric() const {
    std::map<std::string, std::vector<std::vector<CellNumber>>> alike;
    for (unsigned t = 0; t < threads(); t++) alike[text(t)].push_back({pc(t), pc(t) + 1});
    std::vector<std::vector<std::vector<CellNumber>>> groups;
    for (const auto& [program, blocks] : alike) groups.push_back(blocks);
    return groups;
  }
  std::string text(unsigned thread) const {
    std::string all;
    for (const Instruction& i : programs[thread]) {
      for (const unsigned v : {static_cast<unsigned>(i.op), i.cell, i.value, i.other, i.target}) {
        all += std::to_string(v) + ",";
      }
    }
    return all;
  }

  unsigned threads() const { return static_cast<unsigned>(programs.size()); }
  std::vector<unsigned> cells() const {
    std::vector<unsigned> bits(shared, kBits);
    bits.push_back(1);
    for (size_t t = 0; t < programs.size(); t++) bits.insert(bits.end(), {3, kBits});
    return bits;
  }

  template <class Store>
  Stepped step(Store& s, unsigned thread, unsigned choice) const {
    const unsigned at = s.get(pc(thread));
    if (at >= programs[thread].size()) return Stepped::kBlocked;
    const Instruction& i = programs[thread][at];
    const CellNumber r = pc(thread) + 1;
    unsigned next = at + 1;
    Stepped how = Stepped::kRan;
    switch (i.op) {
      case Op::kSet: s.set(i.cell, i.value); break;
      case Op::kAdd: s.set(i.cell, (s.get(i.cell) + i.value) & kMax); break;
      case Op::kLoad: s.set(r, s.get(i.cell)); break;
      case Op::kStore: s.set(i.cell, s.get(r)); break;
      case Op::kCas:
        if (s.get(i.cell) == i.value) {
          s.set(i.cell, i.other);
        } else {
          next = i.target;
        }
        break;
      case Op::kJump:
        if (s.get(i.cell) == i.value) next = i.target;
        break;
      case Op::kJumpR:
        if (s.get(r) == i.value) next = i.target;
        break;
      case Op::kLock:
        if (s.get(i.cell) != 0) return Stepped::kBlocked;
        s.set(i.cell, 1);
        break;
      case Op::kUnlock: s.set(i.cell, 0); break;
      case Op::kChoose:
        s.set(r, choice);
        if (choice < i.value) how = Stepped::kRanOne;
        break;
      case Op::kBug: s.set(bug(), 1); break;
    }
    s.set(pc(thread), next);
    return how;
  }

  template <class Store>
  unsigned broken(const Store& s) const {
    const bool bad =
        (s.get(watched) == forbidden) & (s.get(with) == with_value) & (watched != with);
    if (s.get(bug()) != 0) return 2;
    return bad ? 1 : kNothing;
  }

  template <class Store>
  bool over(const Store& s) const {
    bool all = true;
    for (unsigned t = 0; t < threads(); t++) all &= s.get(pc(t)) >= programs[t].size();
    return all;
  }
};

}  // namespace mmucheck::explore
