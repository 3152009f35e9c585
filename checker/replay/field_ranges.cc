#include "checker/replay/field_ranges.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <vector>

#include "checker/trace/event_kinds.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

using K = trace::EventKind;

namespace {

struct FieldRange {
  size_t index = 0;
  uint64_t least = 0, most = 0;
  bool of_page = false;  // no bits below 4 KiB
  bool or_none = false;  // or all ones
};

constexpr uint64_t kMostLevel = 5;
constexpr uint64_t kPageMask = 0xfff;

// nullptr: any value.
const FieldRange* range_of(K kind, std::string_view field) {
  static constexpr FieldRange kVcpu{0, 0, kVcpuNumbers - 1}, kAsId{0, 0, 1},
      kLevel{0, 1, kMostLevel}, kLevelOrNone{0, 0, kMostLevel}, kFrame{0, 0, kFrameLimit - 1},
      kAddress{0, 0, kAddressLimit - 1}, kPage{0, 0, kAddressLimit - 1, true},
      kFrameOrNone{0, 0, kFrameLimit - 1, false, true};
  if (field == "vcpu_id") return &kVcpu;
  if (field == "as_id") return &kAsId;
  if (field == "level" && kind == K::kHwAd) return &kLevelOrNone;
  if (field == "min_level") return &kLevelOrNone;
  if (field == "level" || field == "max_level") return &kLevel;
  if (field == "pfn" && kind == K::kExternalPage) return &kFrameOrNone;
  if (field == "gfn" || field == "next_gfn" || field == "pfn") return &kFrame;
  const bool operand = kind == K::kSeamcall || kind == K::kGuestAccept;
  if (field == "gpa") return operand ? &kPage : &kAddress;
  return nullptr;
}

using Ranges = std::array<std::vector<FieldRange>, trace::kEventKindLimit>;

// Of a recorded stimulus the vCPU only: its addresses are the kernel's.
Ranges all_ranges() {
  Ranges all;
  for (const trace::KindInfo& kind : trace::all_kinds()) {
    const bool recorded = !kind.kernel_name.empty();
    if (kind.cls != trace::PacketClass::kStimulus && kind.cls != trace::PacketClass::kInput) {
      continue;
    }
    for (size_t i = 0; i < kind.fields.size(); i++) {
      const std::string_view field = kind.fields[i].name;
      const FieldRange* range = range_of(kind.kind, field);
      if (range == nullptr || (recorded && field != "vcpu_id")) continue;
      FieldRange here = *range;
      here.index = i;
      all[static_cast<size_t>(kind.kind)].push_back(here);
    }
  }
  return all;
}

std::string number(const trace::FieldInfo& field, uint64_t v) {
  return field.type == trace::FieldType::kHex ? fmt::format("{:#x}", v) : fmt::format("{}", v);
}

}  // namespace

void bad_packet(const std::string& file, const trace::Event& e, const std::string& why) {
  trace::TraceError::Where where;
  where.file = file;
  where.packet = e.seq;
  where.line = e.stream_line;
  where.offset = static_cast<int64_t>(e.source_offset);
  throw trace::TraceError(trace::TraceErrorKind::kCorrupt, where,
                          fmt::format("{}: {}", trace::kind_name(e.kind), why));
}

void check_field_ranges(const std::string& file, const trace::Event& e) {
  static const Ranges kRanges = all_ranges();
  const auto kind = static_cast<size_t>(e.kind);
  if (kind >= kRanges.size()) return;
  for (const FieldRange& range : kRanges[kind]) {
    if (!e.has(range.index)) continue;
    const uint64_t v = e.f[range.index];
    if (range.or_none && v == ~uint64_t{0}) continue;
    const trace::FieldInfo& field = trace::kind_info(e.kind).fields[range.index];
    if (v < range.least || v > range.most) {
      bad_packet(file, e,
                 fmt::format("{} is {}, not {} to {}", field.name, number(field, v),
                             number(field, range.least), number(field, range.most)));
    }
    if (range.of_page && (v & kPageMask) != 0) {
      bad_packet(file, e,
                 fmt::format("{} {} is not aligned to 4 KiB", field.name, number(field, v)));
    }
  }
}

}  // namespace mmucheck::replay
