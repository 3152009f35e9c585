// Layer: checker/trace. Contract: names, classes and field tables of the event kinds, and the field
// indices `f::KIND::FIELD` for Event::f. All tables are constant; look-ups do not allocate.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "checker/trace/event.h"

namespace mmucheck::trace {

namespace f {
#define F(name, type) name,
#define T(name)
#define EVENT(number, cpp, name, cls, kernel, fields) \
  namespace name {                                    \
  enum : size_t { fields kCount };                    \
  }
#include "checker/trace/event_kinds.def"
}  // namespace f

enum class FieldType : uint8_t { kUnsigned, kHex, kSigned, kBool, kEnum };

struct FieldInfo {
  std::string_view name;
  FieldType type;
};

struct KindInfo {
  EventKind kind = EventKind::kNone;
  std::string_view name;                   // "changed_spte"
  std::string_view kernel_name;            // as in ftrace text; empty: not a recorded event
  PacketClass cls = PacketClass::kConfig;  // default class
  std::span<const FieldInfo> fields;       // index i is Event::f[i]
  std::string_view text_field;             // name of the string field; empty: none
  uint32_t bool_mask = 0;                  // bit i: field i is a bool
  uint32_t enum_mask = 0;                  // bit i: field i is an enum

  // Index of the field called so.
  std::optional<size_t> field(std::string_view field_name) const;
};

// All kinds, ascending by number.
std::span<const KindInfo> all_kinds();
namespace detail {
extern const std::array<const KindInfo*, kEventKindLimit> kKindByNumber;
}
// nullptr when no kind has this number.
inline const KindInfo* find_kind(uint32_t number) {
  return number < kEventKindLimit ? detail::kKindByNumber[number] : nullptr;
}
// `kind` must be a real one (not kNone).
const KindInfo& kind_info(EventKind kind);
// EventKind::kNone when there is none.
EventKind kind_by_name(std::string_view name);
EventKind kind_by_kernel_name(std::string_view kernel_name);
std::string_view kind_name(EventKind kind);  // "none" for kNone or a foreign number
std::string_view class_name(PacketClass cls);

// reset_body() with the kind's default class.
void start_event(Event& event, EventKind kind);

// ---- values of enum fields; the same numbers as in proto/mmucheck/v1 ----
enum class KernelVersion : uint32_t { kUnknown = 0, k6_12 = 612, k7_2 = 702 };
enum class SpteFormat : uint32_t { kUnknown = 0, kNpt = 1, kEpt = 2 };
enum class ClockKind : uint32_t { kUnknown = 0, kNanoseconds = 1, kCounter = 2 };
enum class LossState : uint32_t { kUnknown = 0, kNone = 1, kLost = 2 };
enum class ExpectedVerdict : uint32_t {
  kUnspecified = 0,
  kHolds = 1,
  kViolated = 2,
  kDiverged = 3,
  kInconclusive = 4
};
// How a loss was announced: a line with a number, a line without, header counts that differ, the
// ring buffer's own statistics, or a gap that only the model can see.
enum class LossHow : uint32_t {
  kUnknown = 0,
  kCounted = 1,
  kUncounted = 2,
  kHeader = 3,
  kRingStats = 4,
  kTruncated = 5
};
enum class CapabilityName : uint32_t {
  kUnknown = 0,
  kSlotZapQuirk = 1,
  kManualProtect = 2,
  kInitiallySet = 3,
  kDirtyRing = 4,
  kExitHypercall = 5
};
enum class ModuleParam : uint32_t {
  kUnknown = 0,
  kNxHugePages = 1,
  kEagerPageSplit = 2,
  kMmioCaching = 3,
  kNxRecoveryRatio = 4,
  kNxRecoveryPeriodMs = 5,
  kPml = 6,
  kMockBusyEvery = 7,
  kMockBusyZapEvery = 8
};
enum class MmioType : uint32_t { kUnsatisfiedRead = 0, kRead = 1, kWrite = 2 };
enum class HookKind : uint32_t { kUnknown = 0, kLink = 1, kSet = 2, kRemove = 3, kFree = 4, kZap = 5 };
enum class SeamcallLeaf : uint32_t {
  kUnknown = 0,
  kMemSeptAdd = 1,
  kMemPageAdd = 2,
  kMemPageAug = 3,
  kMemRangeBlock = 4,
  kMemTrack = 5,
  kMemPageRemove = 6,
  kMemSeptRemove = 7,
  kMemPageDemote = 8,
  kMemPagePromote = 9,
  kMemRangeUnblock = 10,
  kPhymemPageWbinvd = 11,
  kPhymemPageReclaim = 12,
  kMemSeptRd = 13,
  kMrExtend = 14,
  kMrFinalize = 15,
  kMngCreate = 16,
  kMngKeyConfig = 17,
  kMngInit = 18,
  kVpCreate = 19,
  kVpInit = 20,
  kVpEnter = 21,
  kVpFlush = 22,
  kMngVpflushdone = 23,
  kPhymemCacheWb = 24,
  kMngKeyFreeid = 25,
  kMemPageAccept = 26,
  kMemPageRelocate = 27,
  kPhymemPamtAdd = 28,
  kPhymemPamtRemove = 29
};

}  // namespace mmucheck::trace
