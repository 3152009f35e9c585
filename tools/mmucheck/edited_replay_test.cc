// Recordings with lines moved or added, as other runs of the same kernel could have them: they hold
// as well.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::import {
namespace {

using Lines = std::vector<std::string>;

Lines recording(const std::string& name) {
  trace::ByteStream in("traces/recorded/" + name + "/trace.txt.xz");
  Lines lines;
  trace::Line line;
  while (in.next_line(line)) lines.emplace_back(line.text);
  return lines;
}

report::Outcome outcome(const Lines& lines, std::string* told) {
  std::string text;
  for (const std::string& l : lines) text += l + '\n';
  const auto source = open_ftrace(trace::ByteStream::from_memory(std::move(text), "edited"), {});
  const report::Verdict v = replay::replay_trace(*source);
  for (const report::Divergence& d : v.divergences) {
    *told += "line " + std::to_string(d.place.line) + ": " + d.observed + ", expected " +
             d.expected + "\n";
  }
  return report::outcome_of(v);
}

bool has(const std::string& line, const std::string& part) {
  return line.find(part) != std::string::npos;
}

// The first line from `at` with both parts; lines.size() when there is none.
size_t find(const Lines& lines, size_t at, const std::string& event, const std::string& part = "") {
  while (at < lines.size() && !(has(lines[at], " " + event + ": ") && has(lines[at], part))) at++;
  return at;
}

void expect_holds(const Lines& lines) {
  std::string told;
  EXPECT_EQ(outcome(lines, &told), report::Outcome::kHolds) << told;
}

// kvm_mmu_page_fault, handle_mmio_page_fault: a vCPU's last MMIO page is emulated without a walk.
TEST(EditedReplay, TheSameMmioPageAgain) {
  Lines lines = recording("rare-ept-ad-basic-full");
  const size_t hit = find(lines, 0, "handle_mmio_page_fault");
  const size_t ret = find(lines, hit, "soft_exit_ret");
  size_t exit = hit;
  while (exit > 0 && !has(lines[exit], " soft_exit: ")) exit--;
  ASSERT_LT(ret, lines.size());
  const Lines again{lines[exit], lines[ret]};
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(ret) + 1, again.begin(), again.end());
  expect_holds(lines);
}

}  // namespace
}  // namespace mmucheck::import
