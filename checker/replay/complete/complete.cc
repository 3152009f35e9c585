#include "checker/replay/complete/complete.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "checker/replay/complete/entries_needed.h"
#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

using trace::Event;

namespace {

// Candidates tried in a row without the first finding coming later in the recording.
constexpr int kMaxWithoutProgress = 6;

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

class Search {
 public:
  // `another`: an entry of which what was lost may have made another table.
  Search(GappedRecording& recording, const std::function<bool()>& tick,
         const std::optional<EntryPlace>& another = std::nullopt)
      : recording_(recording), tick_(tick), another_(another) {}

  bool run() {
    const std::optional<Attempt> first = attempt();
    if (!first) return false;
    before_loss_ = first->before_loss;
    return !before_loss_ && search(*first, 0);
  }
  // A finding that no lost event can be behind.
  const std::optional<Lacking>& before_loss() const { return before_loss_; }
  uint64_t attempts() const { return attempts_; }
  // The finding that came last in the recording: what remains unexplained.
  const Lacking& stuck() const { return stuck_; }
  bool gave_up() const { return gave_up_; }

 private:
  std::optional<Attempt> attempt() {
    replayed_ += recording_.size();
    if (attempts_ >= kMaxAttempts || attempts_ - explained_at_ > kPatience ||
        replayed_ > kMaxReplayedEvents || (tick_ && !tick_())) {
      gave_up_ = true;
      return std::nullopt;
    }
    attempts_++;
    return recording_.replay(false);
  }

  // Candidates of one alternative: an event of any thread is that of each thread beside the gap.
  std::vector<Missing> candidates(const Missing& lack) const {
    Missing filled = lack;
    bool any = false;
    for (Event& e : filled.events) {
      recording_.fill_in(lack.before, e);
      any = any || e.thread == 0;
    }
    if (!any) return {filled};
    std::vector<uint32_t> threads = recording_.threads_around(lack.before);
    threads.push_back(kNewThread);
    std::vector<Missing> all;
    for (const uint32_t thread : threads) {
      all.push_back(filled);
      for (Event& e : all.back().events) {
        if (e.thread == 0) e.thread = thread;
      }
    }
    return all;
  }

  enum class Step { kBetter, kSame, kWorse };

  // `reached`: recorded events before the first finding of `now`.
  Step compare(const Attempt& now, const Attempt& next, size_t reached) const {
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

  bool search(const Attempt& now, int without_progress) {
    if (now.findings.empty()) return true;
    const Lacking& finding = now.findings.front();
    const size_t reached = recording_.recorded_before(finding.at);
    if (reached > stuck_reached_ || (reached == stuck_reached_ && is_behind(finding, stuck_))) {
      stuck_reached_ = reached;
      explained_at_ = attempts_;
      stuck_ = finding;
    }
    if (without_progress > kMaxWithoutProgress) return false;
    std::vector<Missing> lacks;
    for (const Missing& lack : finding.lacks) {
      if (!lack.another_table) {
        lacks.push_back(lack);
      } else if (another_ && makes_table_of(lack, *another_)) {
        lacks.insert(lacks.begin(), lack);
      }
    }
    for (const Missing& lack : lacks) {
      for (const Missing& c : candidates(lack)) {
        for (const GappedRecording::Spot& spot : recording_.spots(c.before)) {
          size_t token = 0;
          if (!recording_.put(spot, c.events, token)) continue;
          const std::optional<Attempt> next = attempt();
          if (!next) return false;
          const Step step = compare(now, *next, reached);
          if (step != Step::kWorse &&
              search(*next, step == Step::kBetter ? 0 : without_progress + 1)) {
            return true;
          }
          if (gave_up_) return false;
          recording_.take_back(token);
        }
      }
    }
    return false;
  }

  GappedRecording& recording_;
  const std::function<bool()>& tick_;
  std::optional<EntryPlace> another_;
  uint64_t attempts_ = 0, replayed_ = 0;
  uint64_t explained_at_ = 0;  // when more of the recording than ever was explained
  size_t stuck_reached_ = 0;
  Lacking stuck_;
  std::optional<Lacking> before_loss_;
  bool gave_up_ = false;
};

}  // namespace

const char* name_of(Completion completion) {
  switch (completion) {
    case Completion::kNothingLost: return "nothing lost";
    case Completion::kConsistent: return "consistent";
    case Completion::kInconsistent: return "inconsistent";
    case Completion::kUndetermined: return "undetermined";
  }
  return "?";
}

namespace {

std::string number(size_t n, const char* what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

// What must be among the lost events for the tables that are told of.
std::string tables_text(const TablesNeeded::Needed& n) {
  std::string lost;
  const auto add = [&](size_t count, const char* what) {
    if (count != 0) lost += fmt::format("{}{}", lost.empty() ? "" : ", ", number(count, what));
  };
  add(n.roots, "new root");
  add(n.links, "link");
  add(n.pages, "kvm_mmu_get_page");
  add(n.changes, "change");
  add(n.probes, "kprobe");
  std::string text = fmt::format(
      "{} of gfn {:x} level {} in address space {}, at most {} of them before the loss: "
      "takes {} at least ({})",
      number(n.tables, "table"), n.place.gfn, n.place.level, n.place.as_id, n.there,
      number(n.events(), "lost event"), lost);
  if (n.elsewhere != 0) text += fmt::format(", and {} more in the other space", n.elsewhere);
  return text;
}

std::string no_way_text(const NoWay& none, size_t lost) {
  if (!none.first.about) {
    return fmt::format("no change of an entry among {} would make it legal",
                       number(lost, "lost event"));
  }
  const EntryPlace& at = *none.first.about;
  const std::string few = lost == 1 ? "1 lost event is" : fmt::format("{} lost events are", lost);
  return fmt::format(
      "{} too few: gfn {:x} level {} would have to be otherwise, and whatever made "
      "it so, what follows contradicts",
      few, at.gfn, at.level);
}

void contradicts(CompletionResult& result, const Lacking& finding, std::string detail = {}) {
  result.answer = Completion::kInconsistent;
  result.reason = info_of(finding.rule).id;
  result.place = finding.place;
  result.detail = std::move(detail);
}

// What contradicts itself with nothing assumed known behind a gap.
bool contradicts_anyway(const GappedRecording& recording, CompletionResult& result) {
  const Attempt forgetting = recording.replay(true);
  if (!forgetting.violated.empty()) {
    result.answer = Completion::kInconsistent;
    result.reason = forgetting.violated;
    result.place = forgetting.violated_at;
    return true;
  }
  if (forgetting.findings.empty()) return false;
  contradicts(result, forgetting.findings[0]);
  return true;
}

// A witness, or else why none was found.
void look_for_witness(GappedRecording& recording, const std::optional<size_t>& lost,
                      const std::optional<TablesNeeded::Needed>& tables,
                      const std::function<bool()>& tick, CompletionResult& result) {
  const GappedRecording recorded = recording;
  Search search(recording, tick);
  bool found = search.run();
  result.attempts = search.attempts();
  if (search.before_loss()) return contradicts(result, *search.before_loss());
  std::optional<EntryPlace> another = search.stuck().about;
  if (tables) another = EntryPlace{tables->place.as_id, tables->place.level, tables->place.gfn};
  if (!found && another) {
    recording = recorded;
    Search with_table(recording, tick, another);
    found = with_table.run();
    result.attempts += with_table.attempts();
  }
  if (!found && lost) {
    recording = recorded;
    const std::optional<NoWay> none = no_way(recording, *lost, tick, result.attempts, found);
    if (none) return contradicts(result, none->first, no_way_text(*none, *lost));
  }
  if (found) {
    result.answer = Completion::kConsistent;
    for (size_t i = 0; i < result.gaps.size(); i++) result.gaps[i].witness = recording.witness(i);
    return;
  }
  result.reason =
      search.gave_up() ? "a bound of the search was met" : info_of(search.stuck().rule).id;
  result.place = search.stuck().place;
  result.detail = tables ? tables_text(*tables) : "";
  if (search.stuck().lacks.empty()) return;
  for (const Event& e : search.stuck().lacks.front().events) result.lacking.emplace_back(e);
}

}  // namespace

CompletionResult complete(trace::EventSource& source, const std::function<bool()>& tick) {
  CompletionResult result;
  GappedRecording recording(source);
  if (recording.too_long()) {
    result.reason = fmt::format("more than {} events", kMaxCompletedEvents);
    return result;
  }
  if (!recording.lossy()) {
    result.answer = Completion::kNothingLost;
    return result;
  }
  for (const GappedRecording::Gap& gap : recording.gaps()) {
    result.gaps.push_back({gap.lost.source_line,
                           gap.lost.cpu,
                           gap.lost.count,
                           gap.lost.how == trace::LossHow::kRingStats,
                           {}});
  }
  if (contradicts_anyway(recording, result)) return result;
  const std::optional<size_t> lost = recording.lost();
  const std::optional<TablesNeeded::Needed> tables = recording.tables_needed();
  if (tables && tables->events() + tables->elsewhere > lost.value_or(SIZE_MAX)) {
    result.answer = Completion::kInconsistent;
    result.reason = info_of(TpRule::kChain).id;
    result.place.line = tables->line;
    result.detail = tables_text(*tables);
    return result;
  }
  look_for_witness(recording, lost, tables, tick, result);
  return result;
}

}  // namespace mmucheck::replay
