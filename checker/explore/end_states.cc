#include "checker/explore/end_states.h"

#include <fmt/format.h>

#include "checker/explore/state_graph.h"
#include "checker/replay/vm_state.h"

namespace mmucheck::explore {
namespace {

std::string side_text(const replay::TdSide& s) {
  if (s.level == 0) return "none";
  return s.page ? fmt::format("{} L{} pfn {:x}", s.what, s.level, s.pfn) : s.what;
}

std::string text_of(const replay::TdState& td) {
  std::string text = fmt::format("td hkid {} {} {} owns {}\n", td.hkid_assigned, td.lifecycle,
                                 td.op_state, td.chldcnt);
  for (const replay::TdRow& r : td.rows) {
    text += fmt::format("  {:x}-{:x} direct {} mirror {} sept {} {} {}{}\n", r.gfn, r.last_gfn(),
                        side_text(r.direct), side_text(r.mirror), side_text(r.sept), r.pamt,
                        r.attributes, r.blocked ? " blocked" : "");
  }
  return text;
}

std::string text_of(const replay::VmState& vm) {
  std::string text;
  for (const replay::RootState& r : vm.roots) {
    text += fmt::format("root role {:x}{}\n", r.role, r.invalid ? " invalid" : "");
    for (const replay::MappedRange& range : r.ranges) text += "  " + replay::text_of(range) + "\n";
  }
  for (const replay::SlotState& s : vm.slots) {
    text += fmt::format("slot {} {} {:x} {:x} {:x}{}\n", s.as_id, s.id, s.base, s.npages, s.flags,
                        s.invalid ? " invalid" : "");
  }
  for (const replay::GfnRange& p : vm.private_gfns) {
    text += fmt::format("private {:x}-{:x}\n", p.start, p.end);
  }
  if (vm.invalidations != 0) text += fmt::format("{} invalidations\n", vm.invalidations);
  return vm.td ? text + text_of(*vm.td) : text;
}

}  // namespace

std::string end_text(const Stepper& stepper) {
  std::string text;
  for (const replay::VmState& vm : stepper.replayer().state()) text += text_of(vm);
  return text;
}

EndStates end_states(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                     const SearchTick& tick) {
  EndStates ends;
  {
    Stepper stepper(scenario, design, bounds.busy);
    ends.doubts = stepper.take_doubts();
    if (!ends.doubts.empty()) return ends;
  }
  const ScenarioSystem system(scenario, design, options_of(bounds));
  const StateGraph g = graph_of(system, scenario, bounds, tick);
  ends.states = g.states.size();
  ends.transitions = g.edges.size();
  ends.bound = g.bound;
  ends.broken = g.broken;
  auto worker = system.worker();
  for (uint32_t s = 0; s < g.states.size(); s++) {
    if (g.fates[s] == Fate::kMoved) continue;
    std::string text = g.fates[s] == Fate::kStuck ? "stuck\n" : "";
    text += end_text(worker.at(g.states[s]));
    if (!ends.all.contains(text)) ends.all.emplace(std::move(text), g.path_to(s));
  }
  return ends;
}

std::vector<const EndStates::All::value_type*> only_in(const EndStates& in,
                                                       const EndStates& other) {
  std::vector<const EndStates::All::value_type*> alone;
  for (const auto& end : in.all) {
    if (!other.all.contains(end.first)) alone.push_back(&end);
  }
  return alone;
}

}  // namespace mmucheck::explore
