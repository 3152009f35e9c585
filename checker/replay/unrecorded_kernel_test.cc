// A recording of a kernel whose rules nobody has measured: what is not as expected is no finding.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;
namespace f = trace::f;

trace::Event event(K kind) {
  trace::Event e;
  trace::start_event(e, kind);
  e.thread = 7;
  return e;
}

// One change of a leaf, and what then stands where it did.
report::Verdict verdict_of(const std::string& version, uint64_t new_spte, uint64_t then_old) {
  trace::TraceInfo info;
  info.encoding = "ftrace";
  info.kernel = trace::KernelVersion::k7_2;
  info.kernel_text = version;
  info.loss = trace::LossState::kNone;
  info.capabilities.set(static_cast<size_t>(K::kSpteChanged));
  info.capabilities_known = true;
  trace::Event format = event(K::kMmuFormat);
  format.set(f::mmu_format::format, static_cast<uint64_t>(trace::SpteFormat::kNpt));
  std::vector<trace::OwnedEvent> packets = {trace::OwnedEvent(format)};
  const auto change = [&](uint64_t from, uint64_t to) {
    namespace s = f::spte_changed;
    trace::Event e = event(K::kSpteChanged);
    e.set(s::as_id, 0);
    e.set(s::gfn, 0x10);
    e.set(s::level, 1);
    e.set(s::old_spte, from);
    e.set(s::new_spte, to);
    packets.emplace_back(e);
  };
  change(0x1000e67, new_spte);
  if (then_old != new_spte) change(then_old, 0);
  trace::OwnedEvents source(info, packets);
  return replay_trace(source);
}

constexpr uint64_t kOtherPfn = 0x2000e67, kGone = 0;
constexpr std::array kKnown = {"", "6.12.117", "7.2.13", "7.3.4"};
constexpr std::array kUnknown = {"6.6.30", "6.14.2", "6.18.1", "7.0.1"};

TEST(UnrecordedKernel, BreaksWhatNoKernelMay) {
  for (const auto& versions : {kKnown, kUnknown}) {
    for (const char* version : versions) {
      EXPECT_EQ(report::outcome_of(verdict_of(version, kOtherPfn, kOtherPfn)),
                report::Outcome::kViolated)
          << version;
    }
  }
}

TEST(UnrecordedKernel, MayDoOtherwise) {
  for (const char* version : kKnown) {
    EXPECT_EQ(report::outcome_of(verdict_of(version, kGone, kOtherPfn)), report::Outcome::kDiverged)
        << version;
  }
  for (const char* version : kUnknown) {
    const report::Verdict v = verdict_of(version, kGone, kOtherPfn);
    EXPECT_EQ(report::outcome_of(v), report::Outcome::kInconclusive) << version;
    EXPECT_EQ(v.spte_changes.diverged, 0u);
    bool told = false;
    for (const std::string& why : v.inconclusive) {
      told = told || why.find(std::string("Linux ") + version) != std::string::npos;
    }
    EXPECT_TRUE(told) << version;
  }
}

}  // namespace
}  // namespace mmucheck::replay
