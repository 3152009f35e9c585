// Layer: checker/explore. Contract: states as lanes, a number each of what a slot holds, and how a
// StateSet stores them: each lane in as many bits as its numbers have by now, those that have one
// number only in none. A lane that gets more numbers is given room between two blocks (widened());
// states that are stored already are then stored anew.
//
// The hash of a state is the sum of what each lane adds to it for the content that it names. So
// that of a successor is the state's and what the changes make of it; and it does not depend on
// numbers, which are by who came first.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

template <unsigned N>
struct LaneState {
  uint64_t hash = 0;
  std::array<uint32_t, N> lanes{};
  auto operator<=>(const LaneState&) const = default;
};

// What a step makes of a state: other contents in some slots, each the lane of its number.
struct LaneChange {
  uint32_t slot, to;
};

// What a content of this hash adds to that of a state.
constexpr uint64_t hash_in_lane(unsigned lane, uint64_t hash_of_content) {
  uint64_t h = (hash_of_content + lane * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
  return h ^ h >> 32;
}

template <unsigned N>
class LaneCodec {
 public:
  using State = LaneState<N>;
  using Change = LaneChange;
  static constexpr size_t kWords = (size_t{N} * 32 + 63) / 64 + 1;
  struct Packed {
    std::array<uint64_t, kWords> words;  // the first words() of them
    unsigned n;
    bool operator==(const Packed& o) const {
      uint64_t differ = 0;
      for (unsigned i = 0; i < n; i++) differ |= words[i] ^ o.words[i];
      return differ == 0;
    }
  };

  LaneCodec() { lay_out(); }

  unsigned bytes() const { return bytes_; }
  unsigned words() const { return words_; }
  Packed from_words(const uint64_t* from) const {
    Packed p;
    p.n = words_;
    for (unsigned i = 0; i < words_; i++) p.words[i] = from[i];
    return p;
  }
  bool fits(const State& s) const {
    for (unsigned i = 0; i < N; i++) {
      if (uint64_t{s.lanes[i]} >> width_[i] != 0) return false;
    }
    return true;
  }
  Packed pack(const State& s) const {
    Packed p;
    clear(p);
    for (const Field& f : fields_) p.words[f.word] |= uint64_t{s.lanes[f.lane]} << f.shift;
    return p;
  }
  // Of a state what the changes make of it; there is room for their contents.
  Packed changed(Packed p, std::span<const Change> changes) const {
    for (const Change& c : changes) {
      const Field& f = of_lane_[c.slot];
      uint64_t& word = p.words[f.word];
      word = (word & ~(uint64_t{f.mask} << f.shift)) | uint64_t{c.to} << f.shift;
    }
    return p;
  }
  static void changes(const State& from, const State& to, std::vector<Change>& all) {
    for (unsigned i = 0; i < N; i++) {
      if (from.lanes[i] != to.lanes[i]) all.push_back({i, to.lanes[i]});
    }
  }
  State unpack(const Packed& p) const {
    State s;
    s.hash = base_;
    for (const Field& f : fields_) {
      const uint32_t v = static_cast<uint32_t>(p.words[f.word] >> f.shift) & f.mask;
      s.lanes[f.lane] = v;
      s.hash += adds_[f.lane][v];
    }
    return s;
  }
  uint64_t hash(const Packed& p) const {
    uint64_t h = base_;
    for (const Field& f : fields_) {
      h += adds_[f.lane][static_cast<uint32_t>(p.words[f.word] >> f.shift) & f.mask];
    }
    return h;
  }
  // What was packed by `o`, which knows no more contents.
  Packed repack(const Packed& p, const LaneCodec& o) const {
    Packed mine;
    clear(mine);
    size_t i = 0;
    for (const Field& f : o.fields_) {
      while (fields_[i].lane != f.lane) i++;
      const uint64_t v = p.words[f.word] >> f.shift & f.mask;
      mine.words[fields_[i].word] |= v << fields_[i].shift;
    }
    return mine;
  }
  // Whole words, of which the last may be another's.
  Packed load(const uint8_t* from) const {
    Packed p;
    p.n = words_;
    for (unsigned i = 0; i < words_; i++) std::memcpy(&p.words[i], from + 8 * size_t{i}, 8);
    p.words[words_ - 1] &= last_mask_;
    return p;
  }
  void store(uint8_t* to, const Packed& p) const {
    for (unsigned i = 0; i < words_; i++) std::memcpy(to + 8 * size_t{i}, &p.words[i], 8);
  }

  // --- contents ---
  // How many of a lane it knows, and the next one's share of the hash.
  uint32_t known(unsigned lane) const { return static_cast<uint32_t>(adds_[lane].size()); }
  void add(unsigned lane, uint64_t hash_of_content) {
    const uint64_t h = hash_in_lane(lane, hash_of_content);
    if (adds_[lane].empty()) base_ += h;
    // What it adds besides the first one's.
    first_[lane] = adds_[lane].empty() ? h : first_[lane];
    adds_[lane].push_back(h - first_[lane]);
    outgrown_ = outgrown_ || (adds_[lane].size() - 1) >> width_[lane] != 0;
  }
  // Some contents have numbers that it has no room for.
  bool outgrown() const { return outgrown_; }
  LaneCodec widened() const {
    LaneCodec wider = *this;
    wider.lay_out();
    return wider;
  }

 private:
  // Few widths of a state: each new one makes other chunks of all that is stored.
  static constexpr unsigned kUnit = 4;
  struct Field {
    uint8_t lane, word, shift;
    uint32_t mask;
  };

  void clear(Packed& p) const {
    p.n = words_;
    for (unsigned i = 0; i < words_; i++) p.words[i] = 0;
  }
  void lay_out() {
    std::vector<unsigned> bits;
    fields_.clear();
    for (unsigned i = 0; i < N; i++) {
      if (adds_[i].size() < 2) {
        width_[i] = 0;
        continue;
      }
      // Half as many again without another layout: each takes all that is stored once more.
      const size_t most = adds_[i].size() + adds_[i].size() / 2;
      width_[i] = static_cast<uint8_t>(std::bit_width(std::min<size_t>(most, ~uint32_t{0}) - 1));
      bits.push_back(width_[i]);
      fields_.push_back({.lane = static_cast<uint8_t>(i), .word = 0, .shift = 0, .mask = 0});
    }
    use_spare(bits);
    const CellLayout layout(bits);
    for (size_t i = 0; i < fields_.size(); i++) {
      const CellLayout::Field f = layout.fields()[i];
      fields_[i].word = f.word;
      fields_[i].shift = f.shift;
      fields_[i].mask = f.mask;
    }
    for (const Field& f : fields_) of_lane_[f.lane] = f;
    bytes_ = rounded(layout);
    words_ = (bytes_ + 7) / 8;
    last_mask_ = bytes_ % 8 == 0 ? ~uint64_t{0} : (uint64_t{1} << (8 * (bytes_ % 8))) - 1;
    outgrown_ = false;
  }

  // Bits that the last unit leaves go to those lanes that need one more the soonest.
  void use_spare(std::vector<unsigned>& bits) {
    const unsigned bytes = rounded(CellLayout(bits));
    std::vector<size_t> order(bits.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto filled = [&](size_t i) {
      return static_cast<double>(adds_[fields_[i].lane].size()) /
             static_cast<double>(uint64_t{1} << bits[i]);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return filled(a) > filled(b); });
    for (const size_t i : order) {
      if (bits[i] == 32) continue;
      bits[i]++;
      if (rounded(CellLayout(bits)) > bytes) {
        bits[i]--;
      } else {
        width_[fields_[i].lane]++;
      }
    }
  }
  static unsigned rounded(const CellLayout& layout) {
    return (layout.bytes() + kUnit - 1) / kUnit * kUnit;
  }

  std::vector<Field> fields_;
  std::array<Field, N> of_lane_{};
  std::array<uint8_t, N> width_{};
  std::array<std::vector<uint64_t>, N> adds_;
  std::array<uint64_t, N> first_{};
  uint64_t base_ = 0;
  unsigned bytes_ = 0, words_ = 0;
  uint64_t last_mask_ = 0;
  bool outgrown_ = false;
};

}  // namespace mmucheck::explore
