// tools/corrupt: one seeded corruption of a recording, told consistently.
//
// Contract: a corruption changes every line that repeats the corrupted value, so that the lines of
// one change agree with each other and only the model can notice. What happens is a function of the
// recording, the class and the seed alone; the place is uniform over the events of the class.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tools/corrupt/recording_text.h"

namespace mmucheck::corrupt {

enum class Class : uint8_t {
  kFlipBit,       // one bit of a change's new value
  kPfn,           // the page frame of a new leaf
  kLevel,         // the level of a change
  kGfn,           // one bit of a change's gfn
  kAsId,          // the address space of a change
  kDrop,          // a change did not happen
  kDouble,        // a change happened twice
  kSwap,          // two neighbouring changes of a thread, exchanged
  kDropZap,       // a whole operation that removes translations did not happen
  kResult,        // another result code
  // Of VMs with a mirror root; see td_corruption.h.
  kHookArgument,
  kHookResult,
  kSeamcallArgument,
  kSeamcallStatus,
  kBusy,
  kSeptState,
  kDropSeamcall,
  kRootKind,
  kSharedBit,
  kIsPrivate,
  kAttrFilter,
};
inline constexpr Class kCommonClasses[] = {
    Class::kFlipBit, Class::kPfn,    Class::kLevel, Class::kGfn,     Class::kAsId,
    Class::kDrop,    Class::kDouble, Class::kSwap,  Class::kDropZap, Class::kResult};
inline constexpr Class kAllClasses[] = {
    Class::kFlipBit,       Class::kPfn,        Class::kLevel,
    Class::kGfn,           Class::kAsId,       Class::kDrop,
    Class::kDouble,        Class::kSwap,       Class::kDropZap,
    Class::kResult,        Class::kHookArgument, Class::kHookResult,
    Class::kSeamcallArgument, Class::kSeamcallStatus, Class::kBusy,
    Class::kSeptState,     Class::kDropSeamcall, Class::kRootKind,
    Class::kSharedBit,     Class::kIsPrivate,  Class::kAttrFilter};
const char* name_of(Class cls);
std::optional<Class> class_named(std::string_view name);

struct Edit {
  enum class Kind : uint8_t { kReplace, kDelete, kInsertAfter };
  Kind kind = Kind::kReplace;
  size_t line = 0;   // in the original, 0-based
  std::string text;  // new line, without its end; empty for kDelete
};

struct Corruption {
  Class cls = Class::kFlipBit;
  uint64_t seed = 0;
  std::vector<Edit> edits;  // by line, no two of the same kind on one line
  std::string before, after;  // what it is about, for people

  size_t first_line() const { return edits.front().line; }
  size_t last_line() const { return edits.back().line; }
};

// The events of each class in one recording. Keeps a reference to it.
class Corrupter {
 public:
  explicit Corrupter(const RecordingText& recording);

  size_t places(Class cls) const;
  // The classes that have at least one place.
  std::vector<Class> classes() const;

  // Nothing where the class has no place. Without a class: uniform over classes().
  std::optional<Corruption> make(uint64_t seed, std::optional<Class> cls = {}) const;

 private:
  Corruption change_value(const Change& change, Class cls, std::mt19937_64& random) const;
  Corruption change_result(size_t line, std::mt19937_64& random) const;
  bool attributes_change_at(size_t line) const;
  Corruption drop(const std::vector<size_t>& lines) const;
  Corruption twice(const Change& change) const;
  Corruption swap(const Change& a, const Change& b) const;

  const RecordingText& recording_;
  std::vector<size_t> new_leafs_;
  std::vector<std::pair<size_t, size_t>> neighbours_;
  std::map<Class, std::vector<size_t>> td_;
};

// One of `values` that is not `now`. The same in every standard library.
int64_t other_of(std::mt19937_64& random, std::vector<int64_t> values, int64_t now);
uint64_t below(std::mt19937_64& random, uint64_t n);
// The event of a line: its name and what follows, without task, CPU and time.
std::string_view event_part(const TextLine& line);

// The corrupted text, and for each of its lines the line of the original (kNoLine: inserted).
struct CorruptedText {
  std::string text;
  std::vector<size_t> original;
};
CorruptedText apply(const RecordingText& recording, const std::vector<Corruption>& corruptions);

// {"class","seed","line","before","after","edits":[{"line","before","after"}]}, lines 1-based.
nlohmann::ordered_json to_json(const RecordingText& recording, const Corruption& corruption);

}  // namespace mmucheck::corrupt
