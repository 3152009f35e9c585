#include "checker/trace/event_kinds.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <unordered_map>
#include <vector>

namespace mmucheck::trace {
namespace {

constexpr FieldType field_type(char letter) {
  switch (letter) {
    case 'X': return FieldType::kHex;
    case 'S': return FieldType::kSigned;
    case 'B': return FieldType::kBool;
    case 'E': return FieldType::kEnum;
    default: return FieldType::kUnsigned;
  }
}

// Each kind's own array of fields. A leading sentinel keeps an array without fields legal.
namespace fields_of {
#define F(name, type)           \
  , FieldInfo {                 \
#name, field_type(#type[0]) \
  }
#define T(name)
#define EVENT(number, cpp, name, cls, kernel, fields) \
  constexpr FieldInfo name[] = {FieldInfo{"", FieldType::kUnsigned} fields};
#include "checker/trace/event_kinds.def"
}  // namespace fields_of

template <size_t N>
constexpr std::span<const FieldInfo> without_sentinel(const FieldInfo (&fields)[N]) {
  return std::span<const FieldInfo>(fields + 1, N - 1);
}

constexpr uint32_t mask_of(std::span<const FieldInfo> fields, FieldType type) {
  uint32_t mask = 0;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].type == type) mask |= uint32_t{1} << i;
  }
  return mask;
}

constexpr KindInfo make_info(EventKind kind, std::string_view name, std::string_view kernel_name,
                             PacketClass cls, std::span<const FieldInfo> fields,
                             std::string_view text_field) {
  return {kind,
          name,
          kernel_name,
          cls,
          fields,
          text_field,
          mask_of(fields, FieldType::kBool),
          mask_of(fields, FieldType::kEnum)};
}

#define F(name, type)
#define T(name) #name
#define EVENT(number, cpp, name, cls, kernel, fields)                                           \
  make_info(EventKind::cpp, #name, kernel, PacketClass::cls, without_sentinel(fields_of::name), \
            std::string_view("" fields)),
constexpr KindInfo kKinds[] = {
#include "checker/trace/event_kinds.def"
};

constexpr bool table_is_sound() {
  uint32_t last = 0;
  for (const KindInfo& info : kKinds) {
    const auto number = static_cast<uint32_t>(info.kind);
    if (number <= last || number >= kEventKindLimit || info.fields.size() > kMaxFields) {
      return false;
    }
    last = number;
  }
  return true;
}
static_assert(table_is_sound(), "numbers ascend and stay below the limit; at most 20 fields");

using NameMap = std::unordered_map<std::string_view, EventKind>;

EventKind look_up(const NameMap& map, std::string_view name) {
  const auto it = map.find(name);
  return it == map.end() ? EventKind::kNone : it->second;
}

}  // namespace

namespace detail {
constinit const std::array<const KindInfo*, kEventKindLimit> kKindByNumber = [] {
  std::array<const KindInfo*, kEventKindLimit> table{};
  for (const KindInfo& info : kKinds) table[static_cast<size_t>(info.kind)] = &info;
  return table;
}();
}  // namespace detail

std::optional<size_t> KindInfo::field(std::string_view field_name) const {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == field_name) return i;
  }
  return std::nullopt;
}

std::span<const KindInfo> all_kinds() {
  return kKinds;
}

const KindInfo& kind_info(EventKind kind) {
  const KindInfo* info = find_kind(static_cast<uint32_t>(kind));
  assert(info != nullptr);
  return *info;
}

EventKind kind_by_name(std::string_view name) {
  static const NameMap map = [] {
    NameMap m;
    for (const KindInfo& info : kKinds) m.emplace(info.name, info.kind);
    return m;
  }();
  return look_up(map, name);
}

EventKind kind_by_kernel_name(std::string_view kernel_name) {
  static const NameMap map = [] {
    NameMap m;
    for (const KindInfo& info : kKinds) {
      if (!info.kernel_name.empty()) m.emplace(info.kernel_name, info.kind);
    }
    return m;
  }();
  return look_up(map, kernel_name);
}

std::string_view kind_name(EventKind kind) {
  const KindInfo* info = find_kind(static_cast<uint32_t>(kind));
  return info != nullptr ? info->name : "none";
}

std::string_view class_name(PacketClass cls) {
  switch (cls) {
    case PacketClass::kConfig: return "config";
    case PacketClass::kStimulus: return "stimulus";
    case PacketClass::kInput: return "input";
    case PacketClass::kObservation: return "observation";
  }
  return "?";
}

void start_event(Event& event, EventKind kind) {
  event.reset_body(kind, kind_info(kind).cls);
}

}  // namespace mmucheck::trace
