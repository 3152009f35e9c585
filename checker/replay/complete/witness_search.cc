#include "checker/replay/complete/witness_search.h"

#include <algorithm>

namespace mmucheck::replay {

using trace::Event;

namespace {

// Candidates tried in a row without the first finding coming later in the recording.
constexpr int kMaxWithoutProgress = 6;
constexpr int kMaxWithoutProgressAtFirst = 2;
constexpr size_t kBriefPatience = 24;

// For a fault of that entry.
bool makes_table_of(const Missing& lack, const EntryPlace& entry) {
  namespace r = trace::f::spte_requested;
  return std::any_of(lack.events.begin(), lack.events.end(), [&](const Event& e) {
    return e.kind == trace::EventKind::kSpteRequested && e.get(r::gfn) == entry.gfn &&
           static_cast<int>(e.get(r::level)) == entry.level;
  });
}

// Of two findings at one event.
bool is_behind(const Lacking& finding, const Lacking& other) {
  return finding.rule == TpRule::kRemoval && other.rule == finding.rule && finding.about &&
         finding.about > other.about;
}

}  // namespace

bool WitnessSearch::run() {
  const std::optional<Attempt> first = attempt();
  if (!first) return false;
  before_loss_ = first->before_loss;
  if (before_loss_) return false;
  for (const int most : {kMaxWithoutProgressAtFirst, kMaxWithoutProgress}) {
    max_without_progress_ = most;
    const GappedRecording recorded = recording_;
    if (search(*first, 0)) return true;
    if (!gave_up_ && !cut_short_) return false;
    recording_ = recorded;
    gave_up_ = cut_short_ = false;
    explained_at_ = attempts_;
  }
  gave_up_ = true;
  return false;
}

bool WitnessSearch::run_briefly() {
  patience_ = kBriefPatience;
  max_without_progress_ = kMaxWithoutProgressAtFirst;
  const std::optional<Attempt> first = attempt();
  return first && search(*first, 0);
}

std::optional<Attempt> WitnessSearch::attempt() {
  replayed_ += recording_.size();
  if (attempts_ >= kMaxAttempts || attempts_ - explained_at_ > patience_ ||
      replayed_ > kMaxReplayedEvents || (tick_ && !tick_())) {
    gave_up_ = true;
    return std::nullopt;
  }
  attempts_++;
  return recording_.replay(false);
}

// Candidates of one alternative in one gap: an event of any thread is that of each thread beside
// it.
std::vector<Missing> WitnessSearch::candidates(const Missing& lack, size_t marker) const {
  Missing filled = lack;
  bool any = false;
  for (Event& e : filled.events) {
    recording_.fill_in(lack.before, e);
    any = any || e.thread == 0;
  }
  if (!any) return {filled};
  std::vector<Missing> all;
  for (const uint32_t thread : recording_.threads_around(marker)) {
    all.push_back(filled);
    for (Event& e : all.back().events) {
      if (e.thread == 0) e.thread = thread;
    }
  }
  return all;
}

// `reached`: recorded events before the first finding of `now`.
WitnessSearch::Step WitnessSearch::compare(const Attempt& now, const Attempt& next,
                                           size_t reached) const {
  if (next.findings.empty()) return Step::kBetter;
  const size_t at = next.findings.front().at;
  const size_t then = recording_.recorded_before(at);
  if (then > reached) return Step::kBetter;
  // The removal of a table finds one entry after the other.
  const bool more = next.findings.size() > now.findings.size();
  if (then == reached && !more && is_behind(next.findings.front(), now.findings.front())) {
    return Step::kBetter;
  }
  // What is put in may lack something in turn; what was recorded must not.
  if (at <= recording_.size() && recording_.is_put_in(at)) return Step::kSame;
  // A finding that another one concealed may be of an earlier event.
  if (then < reached && more) return Step::kWorse;
  return next.findings.size() < now.findings.size() ? Step::kBetter : Step::kSame;
}

bool WitnessSearch::search(const Attempt& now, int without_progress) {
  if (now.findings.empty()) return true;
  const Lacking& finding = now.findings.front();
  const size_t reached = recording_.recorded_before(finding.at);
  if (reached > stuck_reached_ || (reached == stuck_reached_ && is_behind(finding, stuck_))) {
    stuck_reached_ = reached;
    explained_at_ = attempts_;
    stuck_ = finding;
  }
  if (without_progress > max_without_progress_) {
    cut_short_ = true;
    return false;
  }
  std::vector<Missing> lacks;
  for (const Missing& lack : finding.lacks) {
    if (!lack.another_table) {
      lacks.push_back(lack);
    } else if (another_ && makes_table_of(lack, *another_)) {
      lacks.insert(lacks.begin(), lack);
    }
  }
  for (const Missing& lack : lacks) {
    for (const size_t marker : recording_.markers_for(lack.before)) {
      if (marker <= lack.since) continue;
      if (try_gap(now, lack, marker, without_progress)) return true;
      if (gave_up_) return false;
    }
  }
  return false;
}

bool WitnessSearch::try_gap(const Attempt& now, const Missing& lack, size_t marker,
                            int without_progress) {
  const size_t reached = recording_.recorded_before(now.findings.front().at);
  for (const Missing& c : candidates(lack, marker)) {
    for (const GappedRecording::Spot& spot : recording_.spots(c.before, marker)) {
      size_t token = 0;
      if (!recording_.put(spot, c.events, token)) continue;
      const std::optional<Attempt> next = attempt();
      if (!next) return false;
      const bool breaks = c.whole && next->findings.size() > now.findings.size();
      const Step step = breaks ? Step::kWorse : compare(now, *next, reached);
      if (step != Step::kWorse && search(*next, step == Step::kBetter ? 0 : without_progress + 1)) {
        return true;
      }
      if (gave_up_) return false;
      recording_.take_back(token);
    }
  }
  return false;
}

}  // namespace mmucheck::replay
