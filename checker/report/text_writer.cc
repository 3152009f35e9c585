#include "checker/report/text_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "checker/report/execution_text.h"

namespace mmucheck::report {
namespace {

std::string plural(uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", with_thousands(count), noun, count == 1 ? "" : "s");
}

std::string painted(Outcome outcome, const TextOptions& options) {
  const std::string name = name_of(outcome);
  if (!options.color) return name;
  const int color = outcome == Outcome::kHolds ? 32 : outcome == Outcome::kInconclusive ? 33 : 31;
  return fmt::format("\x1b[1;{}m{}\x1b[0m", color, name);
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

// A label in its column, then `words` parted by commas and wrapped under one another.
void put_list(std::string& out, std::string_view label, const std::vector<std::string>& words) {
  static constexpr size_t kIndent = 16;
  std::string line = fmt::format("  {:<14}", label);
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] + (i + 1 < words.size() ? "," : "");
    if (line.size() > kIndent && line.size() + 1 + word.size() > kTextWidth) {
      out += line + "\n";
      line = std::string(kIndent, ' ');
    }
    if (line.size() > kIndent) line += ' ';
    line += word;
  }
  out += line + "\n";
}

void put_field(std::string& out, std::string_view label, const std::string& value) {
  if (!value.empty()) out += fmt::format("  {:<11}{}\n", label, value);
}

std::string counted(uint64_t main, const std::string& rest) {
  return fmt::format("{:>9}{}{}", with_thousands(main), rest.empty() ? "" : "   ", rest);
}

std::string place_text(const Verdict& verdict, const Place& place) {
  std::string text = verdict.file;
  if (place.line != 0) {
    text += fmt::format(":{}", place.line);
  } else if (place.packet != 0) {
    text += fmt::format(" packet {}", with_thousands(place.packet));
  }
  text += fmt::format("  (thread {}, CPU {}", place.thread, place.cpu);
  if (place.ts_ns != 0) {
    text += fmt::format(", {}.{:06}", place.ts_ns / 1000000000, place.ts_ns / 1000 % 1000000);
  }
  return text + ")";
}

std::string description(const Verdict& verdict) {
  std::vector<std::string> parts;
  if (!verdict.kernel.empty()) parts.push_back("Linux " + verdict.kernel);
  if (!verdict.format.empty()) parts.push_back(verdict.format);
  if (verdict.vms != 0) parts.push_back(plural(verdict.vms, "VM"));
  if (verdict.vcpus != 0) parts.push_back(plural(verdict.vcpus, "vCPU"));
  parts.push_back(verdict.mode == Mode::kSynthetic
                      ? "synthetic trace"
                      : fmt::format("{} recording", name_of(verdict.mode)));
  return joined(parts, ", ");
}

void put_state(std::string& out, const std::vector<std::string>& state) {
  if (state.empty()) return;
  out += '\n';
  for (const std::string& line : state) out += "  " + line + "\n";
}

void put_rule(std::string& out, std::string_view label, const std::string& id,
              const std::string& statement, const std::string& source) {
  if (id.empty()) return;
  put_field(out, label, statement.empty() ? id : fmt::format("{}  \"{}\"", id, statement));
  if (!source.empty()) out += fmt::format("  {:<11}{}\n", "", source);
}

void put_violation(std::string& out, const Verdict& verdict, const Violation& v) {
  out += fmt::format("\n  at         {}\n", place_text(verdict, v.place));
  put_rule(out, "violates", v.invariant, v.statement, v.source);
  put_field(out, "event", v.place.event);
  put_field(out, "operation", v.operation);
  put_field(out, "before", v.before);
  put_field(out, "after", v.after);
  put_state(out, v.state);
}

void put_divergence(std::string& out, const Verdict& verdict, const Divergence& d) {
  out += fmt::format("\n  at         {}\n", place_text(verdict, d.place));
  put_field(out, "observed", d.observed);
  put_field(out, "expected", d.expected);
  put_field(out, "operation", d.operation);
  put_rule(out, "excluded", d.excluded_by, d.statement, d.source);
  if (!d.value_expected.empty() || !d.value_seen.empty()) {
    out += fmt::format("  {:<11}expected {}, seen {}\n", "", d.value_expected, d.value_seen);
  }
  put_state(out, d.state);
}

template <class List, class Put>
void put_evidence(std::string& out, const List& list, const TextOptions& options,
                  std::string_view noun, const Put& put) {
  const size_t limit = options.max_evidence == 0 ? list.size() : options.max_evidence;
  for (size_t i = 0; i < list.size() && i < limit; ++i) put(list[i]);
  if (list.size() > limit) {
    out += fmt::format("\n  and {} more {}{}\n", with_thousands(list.size() - limit), noun,
                       list.size() - limit == 1 ? "" : "s");
  }
}

void put_events(std::string& out, const Verdict& verdict, const TextOptions& options) {
  uint64_t skipped = 0, lost = 0;
  for (const auto& [name, count] : verdict.skipped) skipped += count;
  bool lost_unknown = false;
  for (const Lost& l : verdict.lost) {
    lost += l.count;
    lost_unknown |= l.count == 0;
  }
  std::string rest = fmt::format("{} skipped, {}{} lost", with_thousands(skipped),
                                 lost_unknown ? "at least " : "", with_thousands(lost));
  if (verdict.malformed != 0) rest += ", " + plural(verdict.malformed, "malformed line");
  put_list(out, "events", {counted(verdict.events, rest)});
  if (options.verbose && skipped != 0) {
    std::vector<std::string> words;
    for (const auto& [name, count] : verdict.skipped) {
      words.push_back(fmt::format("{} {}", with_thousands(count), name));
    }
    put_list(out, "skipped", words);
  }
}

void put_changes(std::string& out, const Verdict& verdict) {
  const SpteChanges& c = verdict.spte_changes;
  std::string rest = fmt::format("{} predicted, {} inferred", with_thousands(c.predicted),
                                 with_thousands(c.inferred));
  if (c.diverged != 0) rest += fmt::format(", {} diverged", with_thousands(c.diverged));
  if (c.hardware_ad != 0) rest += fmt::format("; {} with hardware A/D", with_thousands(c.hardware_ad));
  put_list(out, "SPTE changes", {counted(c.observed, rest)});
  for (const Inference& i : verdict.inferred) {
    put_list(out, "inferred", {counted(i.count, i.kind + ": " + i.reason)});
  }
}

void put_inputs(std::string& out, const Verdict& verdict) {
  if (verdict.inputs.empty()) return;
  uint64_t total = 0;
  std::vector<std::string> words;
  for (const auto& [kind, count] : verdict.inputs) {
    total += count;
    words.push_back(fmt::format("{} {}", with_thousands(count), kind));
  }
  words[0] = counted(total, words[0]);
  put_list(out, "inputs", words);
}

void put_invariants(std::string& out, const Verdict& verdict, const TextOptions& options) {
  if (verdict.invariants.empty()) return;
  uint64_t evaluated = 0, idle = 0;
  std::vector<std::string> idle_ids;
  for (const InvariantCount& i : verdict.invariants) {
    evaluated += i.evaluated;
    if (i.evaluated == 0) {
      ++idle;
      idle_ids.push_back(i.id);
    }
  }
  std::string rest = fmt::format("evaluated {} times", with_thousands(evaluated));
  if (idle != 0) {
    rest += fmt::format("; {} of {} had nothing to check{}", idle, verdict.invariants.size(),
                        options.verbose ? "" : " (-v lists them)");
  }
  put_list(out, "invariants", {counted(verdict.invariants.size() - idle, rest)});
  if (options.verbose && idle != 0) put_list(out, "not checked", idle_ids);
}

void put_limits(std::string& out, const Verdict& verdict, const TextOptions& options) {
  for (const Lost& l : verdict.lost) {
    const std::string amount = l.count == 0 ? "unknown number" : plural(l.count, "event");
    const std::string where =
        l.line == 0 ? "before the first event" : fmt::format("CPU {}, line {}", l.cpu, l.line);
    put_list(out, "lost", {fmt::format("{}, {}{}{}{}", amount, where, l.how.empty() ? "" : " (",
                                       l.how, l.how.empty() ? "" : ")")});
  }
  for (const std::string& reason : verdict.inconclusive) put_list(out, "inconclusive", {reason});
  if (!verdict.skipped_checks.empty()) {
    uint64_t total = 0;
    for (const SkippedCheck& s : verdict.skipped_checks) total += s.count;
    put_list(out, "not checked",
             {counted(total, plural(verdict.skipped_checks.size(), "kind") +
                                 " of check without what it needs" +
                                 (options.verbose ? "" : " (-v lists them)"))});
    for (const SkippedCheck& s : verdict.skipped_checks) {
      if (options.verbose) {
        put_list(out, "", {counted(s.count, fmt::format("{} (needs {})", s.check, s.needs))});
      }
    }
  }
}

void put_next(std::string& out, const Verdict& verdict) {
  const Place* place = nullptr;
  std::string rule;
  if (!verdict.violations.empty()) {
    place = &verdict.violations.front().place;
    rule = verdict.violations.front().invariant;
  } else if (!verdict.divergences.empty()) {
    place = &verdict.divergences.front().place;
    rule = verdict.divergences.front().excluded_by;
  }
  if (place == nullptr) return;
  const uint64_t at = place->line != 0 ? place->line : place->packet;
  out += fmt::format("\n  next: mmucheck show {} --at {}", verdict.file, at);
  if (!rule.empty()) out += fmt::format(" | mmucheck explain {}", rule);
  out += '\n';
}

}  // namespace

std::string with_thousands(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string to_text(const Verdict& verdict, const TextOptions& options) {
  const Outcome outcome = outcome_of(verdict);
  std::string out = fmt::format("{}  {}   {}\n", painted(outcome, options), verdict.file,
                                description(verdict));
  if (verdict.interrupted) out += "  interrupted: what follows was seen until then\n";
  if (outcome == Outcome::kHolds && nothing_checked(verdict)) {
    out += "  but there was nothing to check\n";
  }
  if (verdict.expected) {
    out += fmt::format("  {}: the file says {}{}{}\n",
                       as_expected(verdict) ? "as expected" : "NOT as expected",
                       name_of(verdict.expected->outcome),
                       verdict.expected->invariant.empty() ? "" : " ",
                       verdict.expected->invariant);
  }
  put_evidence(out, verdict.violations, options, "violation",
               [&](const Violation& v) { put_violation(out, verdict, v); });
  put_evidence(out, verdict.divergences, options, "divergence",
               [&](const Divergence& d) { put_divergence(out, verdict, d); });
  out += '\n';
  put_events(out, verdict, options);
  put_changes(out, verdict);
  put_inputs(out, verdict);
  put_invariants(out, verdict, options);
  put_limits(out, verdict, options);
  if (verdict.execution.asked) put_execution(out, verdict.execution);
  put_next(out, verdict);
  return out;
}

}  // namespace mmucheck::report
