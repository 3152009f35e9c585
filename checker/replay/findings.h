// checker/replay: what engines share when they report: events as text, findings with the
// catalogue's statement and source, and the counts of a whole run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/invariant/ids.h"
#include "checker/replay/predicted.h"
#include "checker/report/verdict.h"

namespace mmucheck::replay {

report::Place place_of(const trace::Event& e);

// Kind and fields, as `show` names them.
std::string event_text(const trace::Event& e);
std::string event_text(const Predicted& p);

// Statement and source of `rule` filled in; the rest is the caller's.
report::Violation violation_of(invariant::Id rule);

// Drops those of other rules; nothing where there is no `only`.
void keep_only(std::vector<report::Violation>& violations, std::optional<invariant::Id> only);

struct VmModel;
// What a violation of `rule` shows of the VM: of a TD's S-EPT, where the mirror does not agree.
std::vector<std::string> state_of_violation(const VmModel& v, invariant::Id rule);

// Every invariant of the catalogue with its counts, in the catalogue's order.
void put_counts(report::Verdict& verdict, const invariant::Tally& tally);

}  // namespace mmucheck::replay
