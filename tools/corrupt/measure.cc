#include "tools/corrupt/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "checker/replay/replay_trace.h"
#include "checker/trace/open_trace.h"
#include "tools/corrupt/execution_check.h"
#include "tools/corrupt/line_edit.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::corrupt {

namespace {

// Events with which a thread turns to something new: what user space, the guest or the host asked.
bool starts_operation(std::string_view event) {
  static constexpr std::string_view kStarts[] = {
      "kvm_page_fault", "soft_exit", "kvm_exit", "kvm_entry", "kvm_userspace_exit",
      "tracing_mark_write", "mn_inv_start", "kvm_unmap_hva_range", "kvm_age_hva",
      "kvm_test_age_hva", "set_memslot", "set_mem_attr", "gmem_punch_hole", "mmu_load",
      "destroy_vm", "init_vm", "create_vcpu", "zap_gfn_range"};
  return std::find(std::begin(kStarts), std::end(kStarts), event) != std::end(kStarts);
}

std::vector<size_t> corrupted_lines(const Corruption& corruption) {
  std::vector<size_t> lines;
  for (const Edit& edit : corruption.edits) lines.push_back(edit.line);
  return lines;
}

using Entry = std::pair<uint64_t, uint64_t>;  // gfn and level

// How a line is about an entry.
enum class About : uint8_t { kNot, kChange, kFastFault, kParent, kRemoval };

About about(const TextLine& line, const Entry& entry) {
  const auto& [gfn, level] = entry;
  if (level < 1 || level > 4) return About::kNot;
  const std::string_view event = line.columns.event, text = line.text;
  const auto same_at = [&](std::optional<uint64_t> other, uint64_t at) {
    constexpr uint64_t kDirectBits = uint64_t{1} << 35 | uint64_t{1} << 39;  // of a TD's gfns
    return other && ((*other ^ gfn) & ~kDirectBits) >> (9 * (at - 1)) == 0;
  };
  if (event == "fast_page_fault") {
    const auto address = number_after(text, " gva ", Base::kHex);
    return address && same_at(*address >> 12, level) ? About::kFastFault : About::kNot;
  }
  if (event == "kvm_mmu_prepare_zap_page") {
    return text.find(fmt::format(" l{} ", level)) != std::string_view::npos &&
                   same_at(number_after(text, " gfn ", Base::kHex), level + 1)
               ? About::kRemoval
               : About::kNot;
  }
  const bool kprobe = event == "changed_spte";
  if (!kprobe && event != "kvm_tdp_mmu_spte_changed") return About::kNot;
  const Base base = kprobe ? Base::kHex0x : Base::kHex;
  std::optional<uint64_t> of = number_after(text, kprobe ? " pgfn=" : " gfn ", base);
  if (!of && kprobe) of = number_after(text, " gfn=", base);
  const uint64_t at = number_after(text, kprobe ? " level=" : " level ", Base::kDec).value_or(0);
  if (at == level && same_at(of, at)) return About::kChange;
  return at == level + 1 && same_at(of, at) ? About::kParent : About::kNot;
}

// Is `line` the first after `from` that is about the entry in its way? Its own change is told by a
// kprobe and a tracepoint.
bool is_next_about(const RecordingText& recording, size_t from, size_t line, const Entry& entry) {
  const About how = about(recording.lines()[line], entry);
  if (how == About::kNot || line <= from) return false;
  for (size_t i = from + 1; i < line; ++i) {
    const TextLine& other = recording.lines()[i];
    if (other.columns.event == recording.lines()[line].columns.event &&
        about(other, entry) == how) {
      return false;
    }
  }
  return true;
}

bool same_operation(const RecordingText& recording, size_t a, size_t b) {
  const uint64_t thread = recording.lines()[a].thread;
  if (recording.lines()[b].thread != thread) return false;
  for (size_t i = std::min(a, b) + 1; i <= std::max(a, b); ++i) {
    const TextLine& line = recording.lines()[i];
    if (line.thread == thread && starts_operation(line.columns.event)) return false;
  }
  return true;
}

}  // namespace

const char* name_of(Nearness nearness) {
  switch (nearness) {
    case Nearness::kAt: return "at";
    case Nearness::kNextOnThread: return "next on thread";
    case Nearness::kSameOperation: return "same operation";
    case Nearness::kNextOnEntry: return "next on entry";
    case Nearness::kNextOnRoot: return "next on root";
    case Nearness::kLater: return "later";
    case Nearness::kEarlier: return "earlier";
  }
  return "";
}

Nearness nearness_of(const RecordingText& recording, const Corruption& corruption,
                     const CorruptedText& corrupted, uint64_t reported_line) {
  if (reported_line == 0 || reported_line > corrupted.original.size()) return Nearness::kLater;
  const size_t reported = corrupted.original[reported_line - 1];
  if (reported == kNoLine) return Nearness::kAt;  // a doubled line
  const std::vector<size_t> touched = corrupted_lines(corruption);
  if (std::find(touched.begin(), touched.end(), reported) != touched.end()) return Nearness::kAt;

  const std::vector<TextLine>& lines = recording.lines();
  const uint64_t thread = lines[touched.front()].thread;
  // With a doubled change the next event is the one after the copy.
  for (size_t i = touched.front() + 1; i < lines.size(); ++i) {
    if (lines[i].thread != thread || lines[i].columns.event.empty()) continue;
    if (std::find(touched.begin(), touched.end(), i) != touched.end()) continue;
    if (i == reported) return Nearness::kNextOnThread;
    if (i > touched.back()) break;
  }
  if (same_operation(recording, touched.front(), reported)) return Nearness::kSameOperation;

  std::set<Entry> entries;
  size_t next_change = kNoLine;
  for (size_t i = 0; i < recording.changes().size(); ++i) {
    const Change& change = recording.changes()[i];
    const std::vector<size_t> told = change.lines();
    if (next_change == kNoLine && told.front() > touched.back()) next_change = i;
    if (std::any_of(told.begin(), told.end(), [&](size_t line) {
          return std::find(touched.begin(), touched.end(), line) != touched.end();
        })) {
      entries.emplace(change.gfn, change.level);
    }
  }
  // kvm_mmu_set_spte tells the change before it.
  size_t told_by = reported;
  if (lines[reported].columns.event == "kvm_mmu_set_spte") {
    for (const Change& change : recording.changes()) {
      if (change.set_spte == reported && change.tracepoint != kNoLine) told_by = change.tracepoint;
    }
  }
  if (std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
        return is_next_about(recording, touched.back(), told_by, entry);
      })) {
    return Nearness::kNextOnEntry;
  }
  if (next_change != kNoLine) {
    const std::vector<size_t> told = recording.changes()[next_change].lines();
    if (std::find(told.begin(), told.end(), reported) != told.end()) return Nearness::kNextOnRoot;
  }
  return reported < touched.front() ? Nearness::kEarlier : Nearness::kLater;
}

uint64_t first_finding(const report::Verdict& verdict) {
  uint64_t line = UINT64_MAX;
  for (const report::Violation& v : verdict.violations) line = std::min(line, v.place.line);
  for (const report::Divergence& d : verdict.divergences) line = std::min(line, d.place.line);
  return line == UINT64_MAX ? 0 : line;
}

void Row::operator+=(const Row& other) {
  made += other.made;
  legal += other.legal;
  noticed += other.noticed;
  near += other.near;
  inconclusive += other.inconclusive;
  refused += other.refused;
  for (size_t i = 0; i < kNearnesses; ++i) where[i] += other.where[i];
}

report::Verdict replay_text(std::string text, const std::string& path) {
  std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source =
      trace::open_trace(trace::ByteStream::from_memory(std::move(text), path), formats);
  return replay::replay_trace(*source, {}, {.execution = true});
}

void measure(const std::string& path, uint64_t seed, size_t count, bool per_class,
             Measurement& into) {
  const std::string original = read_text(path);
  const report::Verdict plain = replay_text(original, path);
  if (report::outcome_of(plain) != report::Outcome::kHolds || report::nothing_checked(plain)) {
    into.unusable[path] = report::nothing_checked(plain)
                              ? "nothing to check"
                              : fmt::format("{} at line {}", name_of(report::outcome_of(plain)),
                                            first_finding(plain));
    return;
  }
  ++into.recordings;
  const RecordingText recording(original);
  const Corrupter corrupter(recording);
  std::vector<std::optional<Class>> wanted{std::nullopt};
  if (per_class) {
    wanted.clear();
    for (Class cls : corrupter.classes()) wanted.emplace_back(cls);
  }
  for (const std::optional<Class>& cls : wanted) {
    for (size_t i = 0; i < count; ++i) {
      const std::optional<Corruption> one = corrupter.make(seed + i, cls);
      if (!one || one->edits.empty()) continue;
      const CorruptedText corrupted = corrupt::apply(recording, {*one});
      Row& row = into.rows[one->cls];
      ++row.made;
      nlohmann::ordered_json told{{"recording", path}, {"corruption", to_json(recording, *one)}};
      report::Verdict verdict;
      try {
        verdict = replay_text(corrupted.text, path);
      } catch (const trace::TraceError& error) {
        ++row.refused;
        into.unnoticed.push_back({path, error.what(), to_json(recording, *one)});
        continue;
      }
      const report::Outcome outcome = report::outcome_of(verdict);
      if (outcome == report::Outcome::kHolds || outcome == report::Outcome::kInconclusive) {
        row.inconclusive += outcome == report::Outcome::kInconclusive ? 1 : 0;
        const bool legal = outcome == report::Outcome::kHolds &&
                           accounts_for(verdict.execution, RecordingText(corrupted.text)).empty();
        row.legal += legal ? 1 : 0;
        into.unnoticed.push_back({path, legal ? "legal" : name_of(outcome),
                                  to_json(recording, *one)});
        continue;
      }
      ++row.noticed;
      const uint64_t line = first_finding(verdict);
      const Nearness nearness = nearness_of(recording, *one, corrupted, line);
      ++row.where[static_cast<size_t>(nearness)];
      if (is_near(nearness)) {
        ++row.near;
      } else {
        told["reported_line"] = line;
        told["nearness"] = name_of(nearness);
        told["rule"] = !verdict.divergences.empty() ? verdict.divergences.front().excluded_by
                                                    : verdict.violations.front().invariant;
        into.far.push_back(std::move(told));
      }
    }
  }
}

std::string to_text(const Measurement& measurement) {
  std::string out = fmt::format("{:10}{:>7}{:>7}{:>9}{:>9}{:>7}{:>9}", "class", "made", "legal",
                                "noticed", "share", "near", "share");
  for (size_t i = 0; i < kNearnesses; ++i) {
    out += fmt::format("{:>16}", name_of(static_cast<Nearness>(i)));
  }
  out += '\n';
  const auto line = [&](std::string_view name, const Row& row) {
    const auto share = [](uint64_t part, uint64_t all) {
      return all == 0 ? std::string("-")
                      : fmt::format("{:.2f} %",
                                    100.0 * static_cast<double>(part) / static_cast<double>(all));
    };
    out += fmt::format("{:10}{:>7}{:>7}{:>9}{:>9}{:>7}{:>9}", name, row.made, row.legal,
                       row.noticed, share(row.noticed, row.made - row.legal), row.near,
                       share(row.near, row.noticed));
    for (uint64_t n : row.where) out += fmt::format("{:>16}", n);
    out += '\n';
  };
  Row all;
  for (const auto& [cls, row] : measurement.rows) {
    line(name_of(cls), row);
    all += row;
  }
  line("all", all);
  out += fmt::format("{} recordings", measurement.recordings);
  if (all.inconclusive + all.refused > 0) {
    out += fmt::format("; of those not noticed {} inconclusive, {} refused", all.inconclusive,
                       all.refused);
  }
  out += '\n';
  for (const auto& [path, why] : measurement.unusable) {
    out += fmt::format("left out: {}: {} as it stands\n", path, why);
  }
  return out;
}

nlohmann::ordered_json to_json(const Measurement& measurement) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [cls, row] : measurement.rows) {
    nlohmann::ordered_json where;
    for (size_t i = 0; i < kNearnesses; ++i) {
      where[name_of(static_cast<Nearness>(i))] = row.where[i];
    }
    rows.push_back({{"class", name_of(cls)},
                    {"made", row.made},
                    {"legal", row.legal},
                    {"noticed", row.noticed},
                    {"near", row.near},
                    {"where", where},
                    {"inconclusive", row.inconclusive},
                    {"refused", row.refused}});
  }
  nlohmann::ordered_json unnoticed = nlohmann::ordered_json::array();
  for (const Unnoticed& one : measurement.unnoticed) {
    unnoticed.push_back({{"recording", one.recording},
                         {"outcome", one.outcome},
                         {"corruption", one.corruption}});
  }
  return {{"schema", 1},
          {"recordings", measurement.recordings},
          {"classes", rows},
          {"left_out", measurement.unusable},
          {"unnoticed", unnoticed},
          {"far", measurement.far}};
}

}  // namespace mmucheck::corrupt
