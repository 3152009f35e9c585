// Recordings with lines moved or added, as other runs of the same kernel could have them: they hold
// as well. And what no run has, and nothing but a neighbouring line tells.
#include <gtest/gtest.h>

#include <string>
#include <utility>
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

void move_behind(Lines& lines, size_t from, size_t behind) {
  ASSERT_LT(from, behind);
  ASSERT_LT(behind, lines.size());
  const std::string line = lines[from];
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(behind) + 1, line);
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(from));
}

std::string value_after(const std::string& line, const std::string& name) {
  const size_t at = line.find(name) + name.size();
  return line.substr(at, line.find_first_not_of("0123456789abcdef", at) - at);
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

// Nobody found the page, so no event has its gfn.
TEST(EditedReplay, AFaultIsAboutWhatItsExitWasAbout) {
  Lines lines = recording("rare-zapgfn-full");
  size_t fault = find(lines, 1, "kvm_page_fault");
  while (fault + 1 < lines.size() && !(has(lines[fault - 1], " soft_exit: ") &&
                                       has(lines[fault + 1], " faultin_ret: "))) {
    fault = find(lines, fault + 1, "kvm_page_fault");
  }
  ASSERT_LT(fault + 1, lines.size());
  lines[fault].replace(lines[fault].find(" address 0x0000"), 15, " address 0x0008");
  std::string told;
  EXPECT_EQ(outcome(lines, &told), report::Outcome::kDiverged);
  EXPECT_TRUE(told.starts_with("line " + std::to_string(fault + 1) + ": page_fault ")) << told;
}

// The event of an access stands behind its exchange, and that may be long ago.
TEST(EditedReplay, AnAccessIsLoggedAfterTheZapThatSawIt) {
  Lines lines = recording("rare-slots-full");
  for (size_t ad = 0; (ad = find(lines, ad, "soft_ad")) < lines.size(); ad++) {
    const std::string seen = "old=0x" + value_after(lines[ad], "new=0x") + " ";
    const size_t zap = find(lines, ad, "changed_spte", seen + "new=0x8000000000000000");
    if (zap == lines.size()) continue;
    move_behind(lines, ad, zap);
    return expect_holds(lines);
  }
  FAIL() << "no such pair of lines";
}

TEST(EditedReplay, AnAccessIsLoggedAfterTheAgeingThatSawIt) {
  const Lines whole = recording("rare-slots-full");
  int pairs = 0;
  for (size_t ad = 0; pairs < 8 && (ad = find(whole, ad, "soft_ad")) < whole.size(); ad++) {
    const std::string aged = "old_spte " + value_after(whole[ad], "new=0x") + " new_spte " +
                             value_after(whole[ad], "old=0x");
    const size_t age = find(whole, ad, "kvm_tdp_mmu_spte_changed", aged);
    if (age == whole.size()) continue;
    pairs++;
    Lines lines = whole;
    move_behind(lines, ad, age);
    expect_holds(lines);
  }
  EXPECT_EQ(pairs, 8);
}

// Another vCPU's store is seen before the event that tells of it.
TEST(EditedReplay, ASpuriousFaultIsLoggedBeforeTheMappingThatMadeItSo) {
  Lines lines = recording("k72-full-private");
  size_t at = 0;
  while (at + 1 < lines.size() && !(has(lines[at], " changed_spte: ") &&
                                    has(lines[at + 1], " tdp_map_ret: ") &&
                                    has(lines[at + 1], "ret=6"))) {
    at++;
  }
  ASSERT_LT(at + 1, lines.size());
  std::swap(lines[at], lines[at + 1]);
  expect_holds(lines);
}

// While another VM lives, the faults of a thread that has run no vCPU yet name only a number: those
// that retry are the VM's of the one that maps, or nobody's when there are too many.
TEST(EditedReplay, AStormOfFaultsWhoseVmShowsLater) {
  Lines lines = recording("rare-zapgfn-full");
  const std::string thread = "-71 ";
  const size_t fault = find(lines, 0, "kvm_page_fault", thread);
  const size_t ret = find(lines, fault, "faultin_ret", thread);
  ASSERT_LT(ret, lines.size());
  ASSERT_TRUE(has(lines[ret], "ret=0"));
  Lines storm;
  for (int n = 0; n < 40; n++) {
    storm.push_back(lines[fault]);
    storm.push_back(lines[ret]);
    storm.back().replace(storm.back().find("ret=0"), 5, "ret=1");
  }
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(fault), storm.begin(), storm.end());
  const size_t init = find(lines, 0, "init_vm");
  std::string other = lines[init];
  other.replace(other.find("kvm=0xffff"), 10, "kvm=0xfffe");
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(init), other);
  expect_holds(lines);
}

}  // namespace
}  // namespace mmucheck::import
