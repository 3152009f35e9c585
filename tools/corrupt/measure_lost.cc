#include "tools/corrupt/measure_lost.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/report/verdict.h"

namespace mmucheck::corrupt {

using nlohmann::ordered_json;
using replay::Completion;
using replay::CompletionResult;
using trace::OwnedEvent;

namespace {

// Places of a gap that are tried for a corruption.
constexpr int kTries = 16;

report::Outcome by_tracepoints(const Recording& r) {
  replay::TracepointReplayer replayer(r.info);
  trace::OwnedEvents source(r.info, r.events);
  for (trace::Event e; source.next(e);) replayer.event(e);
  replayer.finish(r.info);
  return report::outcome_of(replayer.verdict());
}

CompletionResult complete(const Recording& r) {
  trace::OwnedEvents source(r.info, r.events);
  return replay::complete(source);
}

std::vector<OwnedEvent> witness_of(const CompletionResult& c) {
  std::vector<OwnedEvent> all;
  for (const replay::CompletedGap& g : c.gaps) {
    all.insert(all.end(), g.witness.begin(), g.witness.end());
  }
  return all;
}

ordered_json told(const std::string& path, uint64_t seed, size_t at, size_t line,
                  const CompletionResult& c) {
  return {{"recording", path},
          {"seed", seed},
          {"gap_at", at},
          {"gap_line", line},
          {"answer", name_of(c.answer)},
          {"reason", c.reason},
          {"line", c.place.line},
          {"detail", c.detail},
          {"witness", witness_of(c).size()},
          {"replays", c.attempts}};
}

void lose_alone(const Recording& whole, const std::string& path, uint64_t seed,
                LostMeasurement& into) {
  std::mt19937_64 random(seed);
  const size_t at = below(random, whole.events.size() - into.lost);
  std::vector<OwnedEvent> gone;
  const Recording r = lose(whole, at, into.lost, gone);
  if (gone.size() < into.lost) return;
  const CompletionResult c = complete(r);
  LostAlone& n = into.alone;
  if (c.answer == Completion::kNothingLost) return;  // no CPU that lost events told of it
  n.made++;
  const std::vector<OwnedEvent> witness = witness_of(c);
  bool bad = false;
  if (c.answer != Completion::kConsistent) {
    bad = true;
    (c.answer == Completion::kInconsistent ? n.inconsistent : n.undetermined)++;
  } else if (witness.empty()) {
    n.unmarked++;
  } else {
    (agrees(witness, gone) ? n.equal : n.other)++;
  }
  if (!bad) return;
  into.cases.push_back(told(path, seed, at, gone.front().event().source_line, c));
}

// Which events of the corrupted recording the corruption is about, first and last; where lines were
// deleted, what stands around them.
std::pair<size_t, size_t> planted_at(const Recording& r, const CorruptedText& text,
                                     const Corruption& corruption) {
  size_t first = r.events.size(), last = 0;
  for (size_t i = 0; i < r.events.size(); i++) {
    const uint64_t line = r.events[i].event().source_line;
    if (line == 0 || line > text.original.size()) continue;
    const size_t original = text.original[line - 1];
    const bool inserted = original == kNoLine;
    if (inserted || original >= corruption.first_line()) first = std::min(first, i);
    if (inserted || original <= corruption.last_line()) last = std::max(last, i);
  }
  return {std::min(first, last), std::max(first, last)};
}

void lose_beside(const RecordingText& recording, const std::string& path,
                 const Corruption& corruption, LostMeasurement& into) {
  const CorruptedText text = corrupt::apply(recording, {corruption});
  const Recording planted = import_recording(text.text, path);
  const report::Outcome outcome = by_tracepoints(planted);
  if (outcome != report::Outcome::kViolated && outcome != report::Outcome::kDiverged) {
    into.unnoticed++;
    return;
  }
  const auto [first, last] = planted_at(planted, text, corruption);
  std::mt19937_64 random(corruption.seed);
  for (int i = 0; i < kTries; i++) {
    const size_t at = below(random, planted.events.size() - into.lost);
    std::vector<OwnedEvent> gone;
    const Recording r = lose(planted, at, into.lost, gone);
    if (gone.size() < into.lost || r.events.size() < at) continue;
    const size_t end = at + (planted.events.size() - r.events.size()) + into.lost;
    if (at <= last && end >= first) continue;
    const CompletionResult c = complete(r);
    if (c.answer == Completion::kNothingLost) continue;
    LostBeside& n = (at > last ? into.before : into.behind)[corruption.cls];
    n.made++;
    if (c.answer == Completion::kInconsistent) {
      n.inconsistent++;
      return;
    }
    if (c.answer == Completion::kUndetermined) {
      n.undetermined++;
      into.reasons[c.detail.empty() ? c.reason : c.reason + ", with tables missing"]++;
    } else {
      (witness_of(c).empty() ? n.unmarked : n.explained)++;
    }
    ordered_json one = told(path, corruption.seed, at, gone.front().event().source_line, c);
    one["behind"] = at <= last;
    one["corruption"] = to_json(recording, corruption);
    into.cases.push_back(std::move(one));
    return;
  }
}

}  // namespace

void LostBeside::operator+=(const LostBeside& other) {
  made += other.made;
  inconsistent += other.inconsistent;
  explained += other.explained;
  unmarked += other.unmarked;
  undetermined += other.undetermined;
}

void measure_lost(const std::string& path, uint64_t seed, size_t count, bool alone,
                  LostMeasurement& into) {
  const std::string original = read_text(path);
  const Recording whole = import_recording(original, path);
  const report::Outcome outcome = by_tracepoints(whole);
  if (outcome == report::Outcome::kViolated || outcome == report::Outcome::kDiverged ||
      whole.info.loss == trace::LossState::kLost || whole.events.size() <= 4 * into.lost) {
    into.unusable[path] =
        whole.info.loss == trace::LossState::kLost ? "events were lost" : name_of(outcome);
    return;
  }
  into.recordings++;
  for (size_t i = 0; i < count; i++) lose_alone(whole, path, seed + i, into);
  if (alone) return;
  const RecordingText recording(original);
  const Corrupter corrupter(recording);
  for (const Class cls : corrupter.classes()) {
    for (size_t i = 0; i < count; i++) {
      const std::optional<Corruption> one = corrupter.make(seed + i, cls);
      if (one && !one->edits.empty()) lose_beside(recording, path, *one, into);
    }
  }
}

std::string to_text(const LostMeasurement& m) {
  const LostAlone& a = m.alone;
  std::string out = fmt::format(
      "{} lost, nothing planted: {} made, {} with what was lost, {} need nothing, {} another "
      "witness, {} undetermined, {} inconsistent\n",
      m.lost, a.made, a.equal, a.unmarked, a.other, a.undetermined, a.inconsistent);
  const auto line = [&](std::string_view name, const LostBeside& n) {
    out += fmt::format("{:20}{:>8}{:>14}{:>11}{:>9}{:>14}\n", name, n.made, n.inconsistent,
                       n.explained, n.unmarked, n.undetermined);
  };
  for (const auto& [where, rows] :
       {std::pair{"before the gap", &m.before}, std::pair{"behind the gap", &m.behind}}) {
    out += fmt::format("{:20}{:>8}{:>14}{:>11}{:>9}{:>14}\n", where, "planted", "inconsistent",
                       "explained", "no need", "undetermined");
    LostBeside all;
    for (const auto& [cls, n] : *rows) {
      line(fmt::format("  {}", name_of(cls)), n);
      all += n;
    }
    line("  all", all);
  }
  for (const auto& [reason, n] : m.reasons) out += fmt::format("undetermined: {} {}\n", n, reason);
  out += fmt::format("{} recordings; {} corruptions break no rule of tracepoints\n", m.recordings,
                     m.unnoticed);
  for (const auto& [path, why] : m.unusable) out += fmt::format("left out: {}: {}\n", path, why);
  return out;
}

ordered_json to_json(const LostMeasurement& m) {
  const LostAlone& a = m.alone;
  ordered_json rows = ordered_json::array();
  for (const auto* side : {&m.before, &m.behind}) {
    for (const auto& [cls, n] : *side) {
      rows.push_back({{"class", name_of(cls)},
                      {"where", side == &m.before ? "before the gap" : "behind the gap"},
                      {"planted", n.made},
                      {"inconsistent", n.inconsistent},
                      {"explained", n.explained},
                      {"unmarked", n.unmarked},
                      {"undetermined", n.undetermined}});
    }
  }
  return {{"schema", 1},
          {"lost", m.lost},
          {"recordings", m.recordings},
          {"alone",
           {{"made", a.made},
            {"equal", a.equal},
            {"unmarked", a.unmarked},
            {"other", a.other},
            {"undetermined", a.undetermined},
            {"inconsistent", a.inconsistent}}},
          {"planted", std::move(rows)},
          {"unnoticed", m.unnoticed},
          {"reasons", m.reasons},
          {"left_out", m.unusable},
          {"cases", m.cases}};
}

}  // namespace mmucheck::corrupt
