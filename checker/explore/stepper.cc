#include "checker/explore/stepper.h"

#include <algorithm>

#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using K = trace::EventKind;
using replay::SteppedState;
using trace::Event;

namespace {

Packet step_packet(uint32_t thread, uint64_t count) {
  Event e;
  trace::start_event(e, K::kStep);
  e.thread = thread;
  e.set(trace::f::step::count, count);
  e.set(trace::f::step::machine, 1);
  return Packet(e);
}

}  // namespace

Stepper::Stepper(const Scenario& scenario, const model::Design* design, unsigned busy)
    : scenario_(scenario),
      replayer_(std::make_unique<replay::SyntheticReplayer>(scenario.info, design)),
      busy_limit_(std::max(busy, scenario.busy)) {
  for (const Packet& p : scenario.prefix) replayer_->event(p.event());
  replayer_->settle();
  for (const auto& [tid, operations] : scenario.threads) begun_[tid] = 0;
}

void Stepper::restore(const State& s) {
  s.replay.restore(*replayer_);
  begun_ = s.begun;
  busy_used_ = s.busy;
  yields_used_ = s.yields;
}

std::vector<std::string> Stepper::parts() const {
  std::vector<std::string> all = SteppedState::parts(*replayer_);
  std::string own;
  for (const auto& [tid, n] : begun_) own += std::to_string(n) + ",";
  all.push_back(own + std::to_string(busy_used_) + "," + std::to_string(yields_used_));
  return all;
}

std::vector<Move> Stepper::moves() const {
  std::vector<Move> all;
  for (const auto& [tid, operations] : scenario_.threads) {
    if (SteppedState::running(*replayer_, tid)) {
      all.push_back({tid, MoveKind::kStep});
      if (busy_used_ < busy_limit_ && SteppedState::may_be_busy(*replayer_, tid)) {
        all.push_back({tid, MoveKind::kBusy});
      }
      if (yields_used_ < scenario_.yields && SteppedState::walks(*replayer_, tid)) {
        all.push_back({tid, MoveKind::kYield});
      }
    } else if (begun_.at(tid) < operations.size()) {
      all.push_back({tid, MoveKind::kBegin});
    }
  }
  return all;
}

std::vector<Packet> Stepper::packets(const Move& m) const {
  if (m.kind == MoveKind::kBegin) {
    std::vector<Packet> all = scenario_.threads.at(m.thread)[begun_.at(m.thread)].packets;
    all.push_back(step_packet(m.thread, 0));
    return all;
  }
  std::vector<Packet> all;
  if (m.kind == MoveKind::kBusy) {
    using model::tdx::Operand;
    using model::tdx::StatusCode;
    Event e;
    trace::start_event(e, K::kSeamcallStatus);
    e.thread = m.thread;
    e.set(trace::f::seamcall_status::status,
          model::tdx::Status(StatusCode::kOperandBusy, Operand::kRcx).v);
    all.emplace_back(e);
  }
  if (m.kind == MoveKind::kYield) {
    Event e;
    trace::start_event(e, K::kYieldHere);
    e.thread = m.thread;
    all.emplace_back(e);
  }
  all.push_back(step_packet(m.thread, 1));
  return all;
}

bool Stepper::apply(const Move& m) {
  if (m.kind == MoveKind::kYield) return apply_yield(m);
  for (const Packet& p : packets(m)) replayer_->event(p.event());
  if (m.kind == MoveKind::kBegin) begun_[m.thread]++;
  if (m.kind == MoveKind::kBusy) busy_used_++;
  return m.kind == MoveKind::kBegin || !SteppedState::blocked(*replayer_);
}

// Whether the step comes to where it may yield shows in the step.
bool Stepper::apply_yield(const Move& m) {
  const State before = save();
  for (const Packet& p : packets(m)) replayer_->event(p.event());
  if (SteppedState::yield_is_due(*replayer_, m.thread)) {
    restore(before);
    take_violations();
    return false;
  }
  yields_used_++;
  return true;
}

bool Stepper::over() const {
  for (const auto& [tid, operations] : scenario_.threads) {
    if (begun_.at(tid) < operations.size() || SteppedState::running(*replayer_, tid)) return false;
  }
  return true;
}

std::vector<report::Violation> Stepper::take_violations() {
  return std::exchange(replayer_->verdict().violations, {});
}

}  // namespace mmucheck::explore
