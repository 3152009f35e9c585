// checker/replay: plain values as bytes that are equal when the values are. Included by
// stepped_state.cc and stepped_slots.cc only.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "checker/replay/replay_env.h"

namespace mmucheck::replay {

class StateBytes {
 public:
  void number(uint64_t v) { plain(v); }
  // A machine, as its bytes without those between its fields. In a union, because GCC 12 loses
  // count of the offset behind an array of structs otherwise, and clears fields.
  template <class T>
  void plain(const T& v) {
    static_assert(std::is_trivially_copyable_v<T>);
    union Only {
      T v;
    };
    Only copy{v};
    __builtin_clear_padding(&copy);
    out_.append(reinterpret_cast<const char*>(&copy), sizeof copy);
  }
  template <class T>
  void maybe(const std::optional<T>& v) {
    number(v.has_value());
    if (v) plain(*v);
  }
  template <class... T>
  void one_of(const std::variant<T...>& v) {
    number(v.index());
    std::visit([this](const auto& m) { plain(m); }, v);
  }
  std::string take() { return std::exchange(out_, {}); }
  // Without the words that are 0: which are not, a bit each, then those.
  std::string take_packed() {
    const std::string size = std::to_string(out_.size());
    out_.resize((out_.size() + 7) / 8 * 8);
    std::string bits((out_.size() / 8 + 7) / 8, 0), words;
    for (size_t i = 0; i < out_.size(); i += 8) {
      uint64_t word;
      std::memcpy(&word, &out_[i], 8);
      if (word == 0) continue;
      bits[i / 64] = static_cast<char>(bits[i / 64] | 1 << i / 8 % 8);
      words.append(out_, i, 8);
    }
    out_.clear();
    return size + ":" + bits + words;
  }

 private:
  std::string out_;
};

// The bytes that StateBytes::take_packed() told.
inline std::string unpacked(const std::string& packed) {
  const size_t colon = packed.find(':');
  const size_t size = std::stoull(packed);
  std::string out((size + 7) / 8 * 8, 0);
  const char* const bits = packed.data() + colon + 1;
  const char* word = bits + (out.size() / 8 + 7) / 8;
  for (size_t i = 0; i < out.size(); i += 8) {
    if ((bits[i / 64] >> i / 8 % 8 & 1) == 0) continue;
    std::memcpy(&out[i], word, 8);
    word += 8;
  }
  out.resize(size);
  return out;
}

inline void add(StateBytes& b, const PendingInputs& in) {
  b.number(in.hw_ad.size());
  for (const PendingInputs::HwAd& ad : in.hw_ad) b.plain(ad);
  b.maybe(in.fault_pfn);
  b.maybe(in.host_level);
  b.maybe(in.new_table);
  b.maybe(in.faultin);
  b.maybe(in.collapse);
  b.maybe(in.yield_gfn);
  b.maybe(in.lost_sptep);
  b.maybe(in.external_page);
  for (const bool flag : {in.yield, in.cmpxchg_lost, in.alloc_failed, in.topup_failed,
                          in.flush_here, in.others_froze, in.others_first}) {
    b.number(flag);
  }
  b.plain(in.external_result);
  b.number(in.seamcall_status.v);
  b.number(in.nx_pages);
}

}  // namespace mmucheck::replay
