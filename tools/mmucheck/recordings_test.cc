// The shipped recordings with all probes: every SPTE change is predicted, from inputs alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "checker/replay/replay_trace.h"
#include "checker/replay/synthetic/overlapping.h"
#include "tools/mmucheck/session.h"
#include "tools/mmucheck/strip_observations.h"

namespace mmucheck::cli {
namespace {

namespace fs = std::filesystem;
using trace::Event;

// SEAMCALLs behind KVM's back: the kernel itself breaks invariants there.
constexpr const char* kMisuse = "mirror-misuse-full";

// Recordings with kprobes.
std::vector<fs::path> full_recordings() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator("traces/recorded")) {
    const std::string name = entry.path().filename();
    const bool full = name.starts_with("full-") || name.starts_with("k72-full-") ||
                      name.starts_with("selftest-full-") || name.ends_with("-full");
    if (full) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::unique_ptr<trace::EventSource> open(const fs::path& dir) {
  return Session().open((dir / "trace.txt.xz").string());
}

uint64_t tracepoints_in(const fs::path& dir) {
  const auto source = open(dir);
  uint64_t n = 0;
  for (Event e; source->next(e);) n += e.kind == trace::EventKind::kSpteChanged;
  return n;
}

// Where two texts differ first, in one line: an edit distance of megabytes helps nobody.
std::string first_difference(const std::string& a, const std::string& b) {
  if (a == b) return {};
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) at++;
  const auto line = [at](const std::string& s) {
    const size_t begin = at == 0 ? 0 : s.rfind('\n', at - 1) + 1;
    return s.substr(begin, s.find('\n', begin) - begin);
  };
  return line(a) + "\ninstead of\n" + line(b);
}

std::string predictions(trace::EventSource& source) {
  std::string all;
  replay::predict_trace(source, [&](const std::string& line) { all += line; });
  return all;
}

TEST(Recordings, AreAllThere) { EXPECT_EQ(full_recordings().size(), 52u); }

TEST(Recordings, EveryChangeIsPredicted) {
  std::printf("%-40s %9s %9s %9s %6s\n", "recording", "observed", "predicted", "hw A/D", "div");
  for (const fs::path& dir : full_recordings()) {
    SCOPED_TRACE(dir.string());
    const auto source = open(dir);
    const report::Verdict v = replay::replay_trace(*source);
    const report::SpteChanges& c = v.spte_changes;
    std::printf("%-40s %9lu %9lu %9lu %6lu\n", dir.filename().c_str(), c.observed, c.predicted,
                c.hardware_ad, c.diverged);
    const bool misuse = dir.filename() == kMisuse;
    EXPECT_EQ(report::outcome_of(v),
              misuse ? report::Outcome::kViolated : report::Outcome::kHolds);
    EXPECT_EQ(v.violations.empty(), !misuse);
    EXPECT_EQ(v.mode, report::Mode::kFull);
    EXPECT_EQ(c.observed, tracepoints_in(dir));
    EXPECT_EQ(c.predicted, c.observed);
    EXPECT_EQ(c.inferred, 0u);
    EXPECT_EQ(c.diverged, 0u);
    EXPECT_TRUE(v.divergences.empty());
  }
}

TEST(Recordings, PredictionsNeedNoObservations) {
  for (const fs::path& dir : full_recordings()) {
    SCOPED_TRACE(dir.string());
    const auto whole = open(dir);
    StripObservations stripped(open(dir));
    const std::string expected = predictions(*whole);
    EXPECT_FALSE(expected.empty());
    EXPECT_EQ(first_difference(predictions(stripped), expected), "");
  }
}

// In some, what is seen says in which order threads go on.
bool seen_order(const std::string& path) {
  const auto plain = Session().open(path), looked_at = Session().open(path);
  replay::Overlapping ordered(*looked_at);
  trace::Event e;
  while (plain->next(e)) {
    if (!ordered.next(e)) return true;
  }
  return ordered.next(e);
}

TEST(HandWritten, PredictionsNeedNoObservations) {
  size_t compared = 0;
  for (const auto& entry : fs::recursive_directory_iterator("traces")) {
    if (entry.path().extension() != ".txtpb") continue;
    const std::string path = entry.path().string();
    SCOPED_TRACE(path);
    // What contradicts the model is followed up to there only.
    const auto judged = Session().open(path);
    if (report::outcome_of(replay::replay_trace(*judged)) != report::Outcome::kHolds) continue;
    if (seen_order(path)) continue;
    const auto whole = Session().open(path);
    StripObservations stripped(Session().open(path));
    EXPECT_EQ(first_difference(predictions(stripped), predictions(*whole)), "");
    ++compared;
  }
  EXPECT_GT(compared, 100u);
}

// Exchanges the values of every `every`th change with those of the change before.
class Shuffled final : public trace::EventSource {
 public:
  Shuffled(std::unique_ptr<trace::EventSource> source, uint64_t every)
      : source_(std::move(source)), every_(every) {}
  bool next(Event& e) override {
    if (!source_->next(e)) return false;
    if (e.kind != trace::EventKind::kSpteChanged) return true;
    const auto fields = e.f;
    if (++n_ % every_ == 0) e.f = before_;
    before_ = fields;
    return true;
  }
  const trace::TraceInfo& info() const override { return source_->info(); }

 private:
  std::unique_ptr<trace::EventSource> source_;
  std::array<uint64_t, trace::kMaxFields> before_{};
  uint64_t every_;
  uint64_t n_ = 0;
};

TEST(Recordings, ShuffledObservationsDiverge) {
  for (const fs::path& dir : full_recordings()) {
    SCOPED_TRACE(dir.string());
    Shuffled source(open(dir), 40);
    const report::Verdict v = replay::replay_trace(source);
    EXPECT_EQ(report::outcome_of(v), report::Outcome::kDiverged);
  }
}

}  // namespace
}  // namespace mmucheck::cli
