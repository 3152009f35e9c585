#include "checker/explore/stepper.h"

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
      busy_limit_(busy) {
  for (const Packet& p : scenario.prefix) replayer_->event(p.event());
  replayer_->settle();
  for (const auto& [tid, operations] : scenario.threads) own_.begun[tid] = 0;
}

void Stepper::restore(const State& s) {
  s.replay.restore(*replayer_);
  own_ = s.own;
}

std::vector<std::string> Stepper::parts() const {
  std::vector<std::string> all = SteppedState::parts(*replayer_);
  all.push_back(content_of(own_));
  return all;
}

std::string Stepper::content_of(const Own& own) {
  std::string text;
  for (const auto& [tid, n] : own.begun) text += std::to_string(n) + ",";
  return text + std::to_string(own.busy) + "," + std::to_string(own.yields);
}

Stepper::Kinds Stepper::kinds_that_fit(uint32_t thread) const {
  if (!SteppedState::running(*replayer_, thread)) return bit(MoveKind::kBegin);
  Kinds all = bit(MoveKind::kStep);
  if (SteppedState::may_be_busy(*replayer_, thread)) all |= bit(MoveKind::kBusy);
  if (SteppedState::walks(*replayer_, thread)) all |= bit(MoveKind::kYield);
  return all;
}

Stepper::Kinds Stepper::kinds_left(uint32_t thread) const {
  Kinds all = bit(MoveKind::kStep);
  if (own_.begun.at(thread) < scenario_.threads.at(thread).size()) all |= bit(MoveKind::kBegin);
  if (own_.busy < busy_limit_) all |= bit(MoveKind::kBusy);
  if (own_.yields < scenario_.yields) all |= bit(MoveKind::kYield);
  return all;
}

std::vector<Move> Stepper::moves() const {
  std::vector<Move> all;
  for (const auto& [tid, operations] : scenario_.threads) {
    const unsigned kinds = kinds_that_fit(tid) & kinds_left(tid);
    for (unsigned kind = 0; kind < kMoveKinds; kind++) {
      if ((kinds >> kind & 1) != 0) all.push_back({tid, MoveKind(kind)});
    }
  }
  return all;
}

std::vector<Packet> Stepper::packets(const Move& m) const {
  if (m.kind == MoveKind::kBegin) {
    std::vector<Packet> all = scenario_.threads.at(m.thread)[own_.begun.at(m.thread)].packets;
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
  for (const Packet& p : packets(m)) replayer_->event(p.event());
  SteppedState::forget_what_is_over(*replayer_, m.thread);
  switch (m.kind) {
    case MoveKind::kBegin: own_.begun[m.thread]++; return true;
    case MoveKind::kStep: break;
    case MoveKind::kBusy: own_.busy++; break;
    case MoveKind::kYield:
      // Whether the step comes to where it may yield shows in the step.
      if (SteppedState::yield_is_due(*replayer_, m.thread)) {
        take_violations();
        take_doubts();
        return false;
      }
      own_.yields++;
      return true;
  }
  return !SteppedState::blocked(*replayer_);
}

bool Stepper::over() const {
  for (const auto& [tid, operations] : scenario_.threads) {
    if (own_.begun.at(tid) < operations.size() || SteppedState::running(*replayer_, tid))
      return false;
  }
  return true;
}

std::vector<std::string> Stepper::take_doubts() {
  return std::exchange(replayer_->verdict().inconclusive, {});
}

std::vector<report::Violation> Stepper::take_violations() {
  return std::exchange(replayer_->verdict().violations, {});
}

}  // namespace mmucheck::explore
