#include "checker/replay/findings.h"

#include <fmt/format.h>

#include "checker/invariant/catalogue.h"
#include "checker/replay/td_state.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {
namespace {

std::string value_text(trace::FieldType type, uint64_t v) {
  switch (type) {
    case trace::FieldType::kHex: return fmt::format("{:x}", v);
    case trace::FieldType::kSigned: return fmt::format("{}", static_cast<int64_t>(v));
    default: return fmt::format("{}", v);
  }
}

template <class E>
std::string text_of(const E& e) {
  const trace::KindInfo& info = trace::kind_info(e.kind);
  std::string s(info.name);
  for (size_t i = 0; i < info.fields.size(); i++) {
    if (!e.has(i)) continue;
    s += fmt::format("  {} {}", info.fields[i].name, value_text(info.fields[i].type, e.f[i]));
  }
  return s;
}

}  // namespace

report::Place place_of(const trace::Event& e) {
  report::Place p;
  p.line = e.source_line != 0 ? e.source_line : e.stream_line;
  p.packet = e.seq;
  p.ts_ns = e.ts_ns;
  p.cpu = e.cpu;
  p.thread = e.thread;
  p.vm = e.vm;
  p.event = std::string(trace::kind_name(e.kind));
  return p;
}

std::string event_text(const trace::Event& e) { return text_of(e); }
std::string event_text(const Predicted& p) { return text_of(p); }

report::Violation violation_of(invariant::Id rule) {
  report::Violation v;
  v.invariant = std::string(invariant::kIds[rule]);
  if (const invariant::Invariant* i = invariant::find(v.invariant)) {
    v.statement = std::string(i->statement);
    v.source = std::string(i->source);
  }
  return v;
}

void keep_only(std::vector<report::Violation>& violations, std::optional<invariant::Id> only) {
  if (!only) return;
  std::erase_if(violations, [&](const report::Violation& v) {
    return v.invariant != invariant::kIds[*only];
  });
}

std::vector<std::string> state_of_violation(const VmModel& v, invariant::Id rule) {
  if (v.world.platform == nullptr || !invariant::kIds[rule].starts_with("TDX-SEPT-")) return {};
  return td_disagreement(v);
}

void put_counts(report::Verdict& verdict, const invariant::Tally& tally) {
  verdict.invariants.clear();
  for (size_t i = 0; i < invariant::kIdCount; i++) {
    verdict.invariants.push_back(
        {std::string(invariant::kIds[i]), tally.evaluated[i], tally.violated[i]});
  }
}

}  // namespace mmucheck::replay
