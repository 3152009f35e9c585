// Which hooks a recording would have shown.
#include "tools/import/ftrace/placed_probes.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace mmucheck::import {
namespace {

using trace::EventKind;
using trace::KindSet;

KindSet set_of(std::initializer_list<EventKind> kinds) {
  KindSet set;
  for (const EventKind kind : kinds) set.set(static_cast<size_t>(kind));
  return set;
}

const std::vector<std::string> kProbes{"mock_release_hkid", "mock_track", "zap_all", "no_kind"};

TEST(PlacedProbes, HooksThatNeverCame) {
  EXPECT_EQ(silent_kinds(kProbes, set_of({EventKind::kMockTrack, EventKind::kSpteChanged})),
            set_of({EventKind::kMockReleaseHkid}));
}

TEST(PlacedProbes, AFunctionOfKvmMayBeInlined) {
  EXPECT_EQ(silent_kinds({"zap_all"}, {}), KindSet{});
}

TEST(PlacedProbes, AListWithoutWhatFiredIsOfAnotherRecording) {
  EXPECT_EQ(silent_kinds(kProbes, set_of({EventKind::kMockFreeid})), KindSet{});
  EXPECT_EQ(silent_kinds(kProbes, set_of({EventKind::kTdpMap})), KindSet{});
}

}  // namespace
}  // namespace mmucheck::import
