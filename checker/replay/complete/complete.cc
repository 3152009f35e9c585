#include "checker/replay/complete/complete.h"

#include <fmt/format.h>

#include <optional>
#include <set>

#include "checker/replay/complete/entries_needed.h"
#include "checker/replay/complete/recording.h"
#include "checker/replay/complete/with_tables.h"
#include "checker/replay/complete/witness_search.h"

namespace mmucheck::replay {

using trace::Event;

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
  WitnessSearch search(recording, tick);
  bool found = search.run();
  result.attempts = search.attempts();
  if (search.before_loss()) return contradicts(result, *search.before_loss());
  std::optional<EntryPlace> another = search.stuck().about;
  if (tables) another = EntryPlace{tables->place.as_id, tables->place.level, tables->place.gfn};
  if (!found && another) {
    recording = recorded;
    WitnessSearch with_table(recording, tick, another);
    found = with_table.run();
    result.attempts += with_table.attempts();
  }
  if (!found && lost) {
    recording = recorded;
    MaybeWay maybe;
    const std::optional<NoWay> none = no_way(recording, *lost, tick, result.attempts, maybe);
    if (none) return contradicts(result, none->first, no_way_text(*none, *lost));
    found = maybe.found || with_tables(recording, maybe, tick, result.attempts);
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
  std::set<uint32_t> cpus;
  for (const GappedRecording::Gap& gap : recording.gaps()) {
    cpus.insert(gap.lost.cpu);
    result.gaps.push_back({gap.lost.source_line,
                           gap.lost.cpu,
                           gap.lost.count,
                           gap.lost.how == trace::LossHow::kRingStats,
                           {}});
  }
  if (cpus.size() > kMaxLosingCpus) {
    result.reason = fmt::format("more than {} CPUs lost events", kMaxLosingCpus);
    return result;
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
