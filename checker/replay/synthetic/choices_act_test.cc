// Each choice of a pending series, of hooks, retries and shadow paging, tells in a trace of the
// corpus: with another value, what the trace says is seen is not seen, or another invariant breaks.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "checker/replay/synthetic/under_designs.h"
#include "checker/trace/open_trace.h"
#include "model/design/choices.h"
#include "model/design/spec.h"

namespace mmucheck::replay {
namespace {

struct Row {
  const char* choice;
  const char* trace;
  const char* as_written;  // the trace's own design
  const char* otherwise;   // differs from it in this choice
};

constexpr Row kRows[] = {
    {"private_max_level", "pending/accept-smaller", "huge", "huge,private_max_level=1"},
    {"private_demote", "pending/convert-part", "huge", "huge,private_demote=no"},
    {"demote_protocol", "pending/demote-only", "huge,demote_protocol=demote-only", "huge"},
    {"demote_interrupted", "pending/demote-interrupted", "huge,demote_interrupted=loop", "huge"},
    {"conversion_split", "pending/convert-part", "huge", "huge,conversion_split=never"},
    {"split_range", "pending/convert-window-exact",
     "huge,gmem_in_place=yes,gmem_filter=other-alias,split_range=exact",
     "huge,gmem_in_place=yes,gmem_filter=other-alias"},
    {"accept_inhibit", "pending/accept-smaller", "huge", "huge,accept_inhibit=none"},
    {"dynamic_pamt", "pending/pamt-pair", "upstream-7.x,dynamic_pamt=yes", "upstream-7.x"},
    {"pamt_put", "tdx/pamt-pair-violated", "upstream-7.x,dynamic_pamt=yes,pamt_put=dec-outside",
     "upstream-7.x,dynamic_pamt=yes,pamt_put=locked"},
    {"gmem_in_place", "pending/convert-window-exact",
     "huge,gmem_in_place=yes,gmem_filter=other-alias,split_range=exact",
     "huge,gmem_filter=other-alias,split_range=exact"},
    {"gmem_filter", "pending/convert-mixed",
     "upstream-7.x,gmem_in_place=yes,gmem_filter=other-alias",
     "upstream-7.x,gmem_in_place=yes,gmem_filter=union-of-present"},
    {"shadow_rewrite", "seed-003/was-rmapped-access", "linux-7.2",
     "linux-7.2,shadow_rewrite=nothing"},
    {"shadow_rewrite", "shadow/rmap-violated", "linux-7.2,shadow_rewrite=translation", "linux-7.2"},
    {"shadow_split_access", "seed-003/split-from-spte", "linux-6.12,shadow_split_access=huge-spte",
     "linux-6.12"},
    {"external_hook", "mirror/hooks-7.x", "upstream-7.x", "upstream-7.x,external_hook=four"},
    {"external_hook", "mirror/hooks-v8", "v8", "v8,external_hook=single"},
    {"external_hook", "mirror/hooks-v19", "v19", "v19,external_hook=single"},
    {"retry_tests_slot", "lock/live-nearly", "upstream-7.x", "upstream-7.x,retry_tests_slot=no"},
    {"reload_frees_obsolete", "root/prefault-obsolete-6.15", "upstream-6.16",
     "upstream-6.16,reload_frees_obsolete=no"},
    {"retry_eats_vm_dead", "lock/vm-dead", "upstream-6.16",
     "upstream-6.16,retry_eats_vm_dead=no"},
};

// What a replay found, without places.
std::string found(const Row& row, const char* spec) {
  const model::ParsedDesign parsed = model::parse_design_spec(spec);
  EXPECT_NE(parsed.design, nullptr) << parsed.error;
  const auto source = trace::open_trace("traces/" + std::string(row.trace) + ".txtpb",
                                        trace::own_formats(), {});
  const report::Verdict v =
      replay_under(*source, std::span(&parsed.design->design, 1)).at(0);
  EXPECT_TRUE(v.inconclusive.empty()) << row.trace << " " << v.inconclusive[0];
  std::string text = report::name_of(report::outcome_of(v));
  for (const report::Violation& x : v.violations) text += " " + x.invariant;
  return text + (v.divergences.empty() ? "" : " and diverged");
}

TEST(ChoicesAct, InATraceOfTheCorpus) {
  for (const Row& row : kRows) {
    const std::string written = found(row, row.as_written);
    EXPECT_EQ(written.find("diverged"), std::string::npos) << row.trace;
    EXPECT_NE(written, found(row, row.otherwise)) << row.choice << " in " << row.trace;
  }
}

TEST(ChoicesAct, RowsDifferInWhatTheySay) {
  for (const Row& row : kRows) {
    const model::ParsedDesign a = model::parse_design_spec(row.as_written);
    const model::ParsedDesign b = model::parse_design_spec(row.otherwise);
    ASSERT_TRUE(a.design != nullptr && b.design != nullptr) << row.choice;
    const auto differing = model::difference(a.design->design, b.design->design);
    ASSERT_EQ(differing.size(), 1u) << row.choice;
    EXPECT_EQ(differing[0]->name, row.choice);
  }
}

TEST(ChoicesAct, NoneOfAPendingSeriesIsLeftOut) {
  std::set<std::string_view> seen;
  for (const Row& row : kRows) seen.insert(row.choice);
  for (const model::Choice& c : model::choices()) {
    if (c.group == "pending") {
      EXPECT_TRUE(seen.contains(c.name)) << c.name;
    }
  }
}

}  // namespace
}  // namespace mmucheck::replay
