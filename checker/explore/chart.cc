#include "checker/explore/chart.h"

#include <fmt/format.h>

#include <set>

#include "checker/report/text_writer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using replay::Predicted;
using replay::SteppedState;

namespace {

// What tells events of one kind apart; the rest is in the trace.
bool worth_a_column(std::string_view field) {
  static const std::set<std::string_view> kWorth = {
      "gfn", "gpa", "start", "end", "shared", "fault", "is_private", "attr_filter", "attributes"};
  return kWorth.contains(field);
}

std::string number(const trace::FieldInfo& info, uint64_t v) {
  if (info.type == trace::FieldType::kSigned) return fmt::format("{}", static_cast<int64_t>(v));
  return info.type == trace::FieldType::kHex ? fmt::format("{:x}", v) : fmt::format("{}", v);
}

std::string text_of(const Predicted& p) {
  const trace::KindInfo& kind = trace::kind_info(p.kind);
  std::string name(kind.name);
  const bool module = name.starts_with("mock_");
  if (module) name = name.substr(5);
  std::string out = name;
  std::string values, ret;
  for (size_t i = 0; i < kind.fields.size(); i++) {
    if (!p.has(i)) continue;
    const trace::FieldInfo& f = kind.fields[i];
    if (worth_a_column(f.name)) out += fmt::format(" {} {}", f.name, number(f, p.f[i]));
    if (f.name == "level") out += fmt::format(" L{}", p.f[i]);
    if (f.name.starts_with("old_s")) values = fmt::format(" {:x}", p.f[i]);
    if (f.name.starts_with("new_s")) values += fmt::format(" -> {:x}", p.f[i]);
    if (f.name == "status" || (f.name == "ret" && module)) {
      model::tdx::Status status;
      status.v = p.f[i];
      ret = " = " + model::tdx::status_text(status);
    } else if (f.name == "ret") {
      ret = " = " + number(f, p.f[i]);
    }
  }
  return out + values + ret;
}

std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      lines.push_back(line);
      line = "  " + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
    at = end + 1;
  }
  lines.push_back(line);
  return lines;
}

}  // namespace

std::string kind_text(const Predicted& p) {
  const trace::KindInfo& kind = trace::kind_info(p.kind);
  std::string text(kind.name.starts_with("mock_") ? kind.name.substr(5) : kind.name);
  const auto level = kind.field("level");
  if (level && p.has(*level)) text += fmt::format(" L{}", p.f[*level]);
  return text;
}

std::vector<std::string> lock_texts(std::pair<uint64_t, uint64_t> before,
                                    std::pair<uint64_t, uint64_t> after) {
  std::vector<std::string> texts;
  if (after.first < before.first) texts.emplace_back("read_unlock(mmu_lock)");
  if (after.second < before.second) texts.emplace_back("write_unlock(mmu_lock)");
  if (after.first > before.first) texts.emplace_back("read_lock(mmu_lock)");
  if (after.second > before.second) texts.emplace_back("write_lock(mmu_lock)");
  return texts;
}

std::vector<std::string> event_texts(const replay::SyntheticReplayer& replayer, uint32_t thread) {
  std::vector<std::string> texts;
  for (const Predicted& p : SteppedState::shown(replayer, thread)) texts.push_back(text_of(p));
  return texts;
}

std::vector<ChartStep> chart_steps(const Scenario& scenario, const model::Design* design,
                                   const std::vector<Move>& path, const Bounds& bounds) {
  std::vector<ChartStep> steps;
  Stepper stepper(scenario, design, bounds.busy);
  std::map<uint32_t, size_t> begun;
  for (const Move& m : path) {
    ChartStep step;
    step.thread = m.thread;
    const auto before = SteppedState::lock(stepper.replayer());
    stepper.apply(m);
    const auto after = SteppedState::lock(stepper.replayer());
    if (m.kind == MoveKind::kBegin) {
      step.events.push_back(
          fmt::format("[{}]", scenario.threads.at(m.thread)[begun[m.thread]++].name));
    }
    if (m.kind == MoveKind::kBusy) step.events.emplace_back("(BUSY from outside)");
    for (std::string& text : lock_texts(before, after)) step.events.push_back(std::move(text));
    if (m.kind == MoveKind::kYield) step.events.emplace_back("(yields)");
    if (m.kind != MoveKind::kBegin) {
      for (std::string& text : event_texts(stepper.replayer(), m.thread)) {
        step.events.push_back(std::move(text));
      }
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string chart_text(const std::vector<ChartStep>& steps) {
  std::set<uint32_t> threads;
  for (const ChartStep& s : steps) threads.insert(s.thread);
  if (threads.empty()) return "";
  const size_t width = (report::kTextWidth - 8) / threads.size();
  std::string out = fmt::format("{:8}", "");
  for (const uint32_t t : threads) out += fmt::format("{:<{}}", fmt::format("thread {}", t), width);
  out.erase(out.find_last_not_of(' ') + 1);
  out += "\n";
  for (size_t i = 0; i < steps.size(); i++) {
    size_t last = i;
    while (steps[i].events.empty() && last + 1 < steps.size() && steps[last + 1].events.empty() &&
           steps[last + 1].thread == steps[i].thread) {
      last++;
    }
    std::string label =
        last == i ? fmt::format("{:>5}", i + 1) : fmt::format("{}-{}", i + 1, last + 1);
    std::vector<std::string> lines;
    for (const std::string& e : steps[i].events) {
      for (std::string& l : wrapped(e, width - 2)) lines.push_back(std::move(l));
    }
    if (lines.empty()) lines.emplace_back("...");
    const auto column =
        static_cast<size_t>(std::distance(threads.begin(), threads.find(steps[i].thread)));
    for (const std::string& l : lines) {
      std::string line = fmt::format("{:>6}  ", label);
      for (size_t c = 0; c < column; c++) line += fmt::format("{:<{}}", ".", width);
      out += line + l + "\n";
      label.clear();
    }
    i = last;
  }
  return out;
}

}  // namespace mmucheck::explore
