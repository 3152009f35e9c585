// checker/replay: may a SEAMCALL have been answered TDX_OPERAND_BUSY?
//
// Contract: the recordings' module answers BUSY for one of two reasons. Either another thread was
// inside a call of the same TD at some time between this call's entry and its return, and holds the
// lock that the answer names in a mode that excludes this call's; or every Nth call is refused (mock_busy_every for SEPT.ADD, PAGE.ADD and PAGE.AUG; mock_busy_zap_every for
// BLOCK, TRACK and REMOVE, but for the call that repeats a refused one), with the operand of its
// kind. Where in the N calls the count stands shows at the first refusal; calls that overlap may
// have been counted in either order. Unknown parameters allow a refusal at any time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "checker/trace/event_kinds.h"
#include "model/tdx/leaf.h"
#include "model/tdx/status.h"

namespace mmucheck::replay {

class BusyRule {
 public:
  enum class Group : uint8_t { kMap, kZap, kOther };

  // nullopt: unknown; 0: none is refused.
  void set_every(Group group, std::optional<uint64_t> n);

  // gpa and level (KVM's) of the entry; level 0: none.
  void entered(uint64_t thread, uint32_t vm, model::tdx::Leaf leaf, uint64_t gpa, int level);
  // Why `status` cannot be; empty where it can. `alone`: no other TD makes calls.
  std::string returned(uint64_t thread, model::tdx::Status status, bool alone);

 private:
  struct Call {
    uint32_t vm = 0;
    model::tdx::Leaf leaf = model::tdx::Leaf::kMemTrack;
    bool open = false;
    uint64_t gpa = 0;
    int level = 0;
    // Another thread's call of the same TD; one that excludes this one's use of a lock.
    bool met = false, met_tree = false, met_tdr = false, met_entry = false;
    uint64_t overlaps = 0; // other calls of its group
    bool repeats = false;  // a call that was refused, and is not counted
    bool refused = false;
    uint64_t number = 0;   // in its group, of those that are counted
  };
  struct Count {
    std::optional<uint64_t> every;
    uint64_t calls = 0;
    std::optional<uint64_t> refused;  // the number of one that surely was
  };

  static void meet(Call& a, Call& b);
  static bool can_meet(const Call& call, model::tdx::Operand operand);

  // Is the call one that is refused, as far as the count tells?
  enum class Due : uint8_t { kNo, kYes, kMaybe };
  Due due(const Count& count, const Call& call, bool alone) const;

  std::array<Count, 2> counts_;
  std::unordered_map<uint64_t, Call> calls_;  // by thread: its last
};

}  // namespace mmucheck::replay
