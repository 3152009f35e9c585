// Layer: checker/trace, tests only. Contract: random events that are valid in every encoding: each
// kind, any subset of fields, any value that the field's type can hold.
#pragma once

#include <rapidcheck.h>

#include <string>

#include "checker/trace/event_kinds.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::trace {

// Mostly small numbers, sometimes extreme ones: every length of varint occurs.
inline uint64_t random_number() {
  const auto bits = *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<unsigned>(0, 65));
  const auto value = *rc::gen::arbitrary<uint64_t>();
  return bits == 64 ? ~value : value & ((uint64_t{1} << bits) - 1);
}

inline OwnedEvent random_event(const KindInfo& info) {
  Event e;
  start_event(e, info.kind);
  e.cls = static_cast<PacketClass>(*rc::gen::inRange(0, 4));
  e.ts_ns = random_number();
  e.cpu = static_cast<uint32_t>(random_number());
  e.thread = static_cast<uint32_t>(random_number());
  e.vm = static_cast<uint32_t>(random_number());
  e.context = static_cast<uint32_t>(random_number());
  e.source_line = random_number();
  for (size_t i = 0; i < info.fields.size(); ++i) {
    if (!*rc::gen::arbitrary<bool>()) continue;
    uint64_t value = random_number();
    if (info.fields[i].type == FieldType::kBool) value &= 1;
    if (info.fields[i].type == FieldType::kEnum) {
      value = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
    }
    e.set(i, value);
  }
  std::string text;
  if (!info.text_field.empty()) text = *rc::gen::arbitrary<std::string>();
  e.text = text;
  return OwnedEvent(e);
}

inline OwnedEvent random_event() {
  const auto kinds = all_kinds();
  // At full size from the start: a growing one would hardly reach the last kinds.
  return random_event(
      kinds[*rc::gen::resize(rc::kNominalSize, rc::gen::inRange<size_t>(0, kinds.size()))]);
}

// Everything that is stored, but for unknown fields.
inline bool same_event(const Event& a, const Event& b) {
  return a.kind == b.kind && a.cls == b.cls && a.ts_ns == b.ts_ns && a.cpu == b.cpu &&
         a.thread == b.thread && a.vm == b.vm && a.context == b.context &&
         a.source_line == b.source_line && a.present == b.present && a.f == b.f && a.text == b.text;
}

}  // namespace mmucheck::trace
