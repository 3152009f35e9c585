#include "checker/explore/would_hold.h"

#include <algorithm>
#include <array>

#include "checker/explore/pinned.h"
#include "model/design/choices.h"
#include "model/design/spec.h"

namespace mmucheck::explore {

namespace {

// What TDs and what other VMs are compared with.
constexpr std::array<const char*, 2> kNewest = {"upstream-7.x", "linux-7.2"};

std::vector<std::string> changes_of(const model::Design& design) {
  std::vector<std::string> all;
  for (const char* name : kNewest) {
    const model::ParsedDesign newest = model::parse_design_spec(name);
    for (const model::Choice* c : model::difference(design, newest.design->design)) {
      if (c->group == "words") continue;  // how values are laid out, which breaks nothing
      std::string change =
          std::string(c->name) + "=" + model::value_of(newest.design->design, *c);
      if (std::find(all.begin(), all.end(), change) == all.end()) all.push_back(std::move(change));
    }
  }
  return all;
}

// "NAME,choice=value": a choice that the name has changed already is changed anew.
std::string with_change(const model::Design& design, const std::string& change) {
  const std::string choice = change.substr(0, change.find('=') + 1);
  const std::string name(design.name);
  std::string text;
  bool replaced = false;
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find(',', at), name.size());
    std::string part = name.substr(at, end - at);
    if (part.starts_with(choice)) {
      part = change;
      replaced = true;
    }
    text += (at == 0 ? "" : ",") + part;
    at = end + 1;
  }
  return replaced ? text : text + "," + change;
}

}  // namespace

Remedies would_hold(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const SearchTick& tick) {
  Remedies r;
  Scenario plain = scenario;  // a choice may well avoid what it is about
  plain.expected.clear();
  std::optional<Stepper> own;  // knows the scenario's
  if (design == nullptr) design = &own.emplace(scenario, nullptr, 0).replayer().design();
  uint64_t left = kRemedyStates;
  for (const std::string& change : changes_of(*design)) {
    const model::ParsedDesign other = model::parse_design_spec(with_change(*design, change));
    if (other.design == nullptr) continue;
    if (left == 0) {
      r.complete = false;
      break;
    }
    Bounds b = bounds;
    b.max_states = std::min(bounds.max_states, left);
    b.all = b.self_check = false;
    const Exploration x = run_pinned(plain, &other.design->design, other.design->name, b,
                                     nullptr, tick).found;
    r.tried++;
    left -= std::min(left, x.states);
    if (x.violation || !x.doubts.empty()) continue;
    if (x.bound.empty()) {
      r.found.push_back({other.design->name, x.states});
    } else {
      r.complete = false;
      if (x.bound == kInterrupted) break;
    }
  }
  return r;
}

}  // namespace mmucheck::explore
