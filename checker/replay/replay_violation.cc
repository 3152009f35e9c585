// A change that the model does not make and that a rule of the catalogue forbids.
#include "checker/replay/findings.h"
#include "checker/replay/observed_rules.h"
#include "checker/replay/replayer.h"

namespace mmucheck::replay {

using K = trace::EventKind;

// Only changes of entries: what else a recording shows may be out of order by an event or two.
bool Replayer::take_violations(const trace::Event& e, const VmModel& v,
                               const report::Divergence& d) {
  if (e.kind != K::kChangedSpte && e.kind != K::kSpteChanged) return false;
  const auto broken = broken_by(view_of(v), ObservedStep{e});
  for (const invariant::Id rule : broken) {
    tally_.evaluated[rule]++;
    tally_.violated[rule]++;
    report::Violation x = violation_of(rule);
    x.place = d.place;
    x.operation = d.operation;
    x.before = d.expected;
    x.after = d.observed;
    x.state = d.state;
    verdict_.violations.push_back(std::move(x));
  }
  return !broken.empty();
}

// The catalogue is evaluated on everything that the model does for this VM.
void Replayer::watch(VmModel& v) {
  v.monitor = std::make_unique<invariant::Monitor>(view_of(v), tally_);
  v.env.monitor = v.monitor.get();
  v.monitor->vm_created();
}

}  // namespace mmucheck::replay
