// A change that the model does not make and that a rule of the catalogue forbids.
#include "checker/replay/findings.h"
#include "checker/replay/observed_rules.h"
#include "checker/replay/replayer.h"

namespace mmucheck::replay {

using K = trace::EventKind;

namespace {

// What a thread's own functions return, and a flush of its own that it has left out: no other thread
// has a part in the order of these.
bool of_one_thread(const trace::Event& e, const Predicted* p) {
  if (p == nullptr) return false;
  if (e.kind == K::kTdpUnmapGfnRangeRet || e.kind == K::kZapLeafsRootRet) return true;
  if (p->kind == e.kind) return e.kind == K::kZapLeafsRoot || e.kind == K::kTdpUnmapGfnRange;
  if (p->kind == K::kInvBegin || p->kind == K::kInvAdd) {
    return e.kind == K::kUnmapGfnRange || e.kind == K::kTdpUnmapGfnRange;
  }
  return p->kind == K::kFlushAll || p->kind == K::kFlushRange || p->kind == K::kFlushMemslot;
}

}  // namespace

// Only changes of entries, and what is of one thread: what else a recording shows may be out of order
// by an event or two.
bool Replayer::take_violations(const trace::Event& e, const VmModel& v, const report::Divergence& d,
                               const Predicted* p) {
  const bool changes = e.kind == K::kChangedSpte || e.kind == K::kSpteChanged;
  const bool own = of_one_thread(e, p);
  if (!changes && !own) return false;
  const auto broken = broken_by(view_of(v), ObservedStep{e, own ? p : nullptr});
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
