#include "checker/report/json_writer.h"

#include <nlohmann/json.hpp>

#include "checker/report/execution_text.h"

namespace mmucheck::report {
namespace {

using Json = nlohmann::ordered_json;

Json place_json(const Place& p) {
  return {{"line", p.line}, {"packet", p.packet}, {"ts_ns", p.ts_ns}, {"cpu", p.cpu},
          {"thread", p.thread}, {"vm", p.vm}, {"event", p.event}};
}

Json changes_json(const SpteChanges& c) {
  return {{"observed", c.observed}, {"predicted", c.predicted}, {"inferred", c.inferred},
          {"hardware_ad", c.hardware_ad}, {"diverged", c.diverged}};
}

Json invariants_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const InvariantCount& i : verdict.invariants) {
    list.push_back({{"id", i.id}, {"evaluated", i.evaluated}, {"violated", i.violated}});
  }
  return list;
}

Json violations_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const Violation& v : verdict.violations) {
    list.push_back({{"invariant", v.invariant}, {"statement", v.statement}, {"source", v.source},
                    {"place", place_json(v.place)}, {"operation", v.operation},
                    {"before", v.before}, {"after", v.after}, {"state", v.state}});
  }
  return list;
}

Json divergences_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const Divergence& d : verdict.divergences) {
    list.push_back({{"place", place_json(d.place)}, {"observed", d.observed},
                    {"expected", d.expected}, {"operation", d.operation},
                    {"excluded_by", d.excluded_by}, {"statement", d.statement},
                    {"source", d.source}, {"value_expected", d.value_expected},
                    {"value_seen", d.value_seen}, {"state", d.state}});
  }
  return list;
}

Json lost_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const Lost& l : verdict.lost) {
    Json count = l.count == 0 ? Json(nullptr) : Json(l.count);
    list.push_back({{"count", count}, {"cpu", l.cpu}, {"line", l.line}, {"how", l.how}});
  }
  return list;
}

Json inferred_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const Inference& i : verdict.inferred) {
    list.push_back({{"kind", i.kind}, {"count", i.count}, {"reason", i.reason}});
  }
  return list;
}

Json skipped_checks_json(const Verdict& verdict) {
  Json list = Json::array();
  for (const SkippedCheck& s : verdict.skipped_checks) {
    list.push_back({{"check", s.check}, {"needs", s.needs}, {"count", s.count}});
  }
  return list;
}

Json expected_json(const Verdict& verdict) {
  const Expectation& e = *verdict.expected;
  Json json = {{"verdict", name_of(e.outcome)}};
  if (!e.invariant.empty()) json["invariant"] = e.invariant;
  if (e.packet) json["packet"] = *e.packet;
  if (e.exit_code) json["exit_code"] = *e.exit_code;
  json["met"] = as_expected(verdict);
  return json;
}

}  // namespace

std::string to_json(const Verdict& verdict) {
  Json json;
  json["schema"] = kSchemaVersion;
  json["file"] = verdict.file;
  json["verdict"] = name_of(outcome_of(verdict));
  json["mode"] = name_of(verdict.mode);
  json["capabilities"] = verdict.capabilities;
  json["events"] = verdict.events;
  json["spte_changes"] = changes_json(verdict.spte_changes);
  json["invariants"] = invariants_json(verdict);
  json["violations"] = violations_json(verdict);
  json["divergences"] = divergences_json(verdict);
  json["lost"] = lost_json(verdict);
  json["skipped"] = Json(verdict.skipped);
  json["malformed"] = verdict.malformed;
  json["inputs"] = Json(verdict.inputs);
  json["inferred"] = inferred_json(verdict);
  json["skipped_checks"] = skipped_checks_json(verdict);
  json["inconclusive"] = verdict.inconclusive;
  json["kernel"] = verdict.kernel;
  json["format"] = verdict.format;
  json["vms"] = verdict.vms;
  json["vcpus"] = verdict.vcpus;
  if (verdict.execution.asked) put_execution(json, verdict.execution);
  if (verdict.expected) json["expected"] = expected_json(verdict);
  json["nothing_checked"] = nothing_checked(verdict);
  json["interrupted"] = verdict.interrupted;
  json["exit_code"] = exit_code_of(verdict);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace mmucheck::report
