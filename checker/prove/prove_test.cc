// Every obligation has the verdict that the claims call for, its premise is satisfiable, and the
// answers are the same twice. What a wrong rule, a wrong premise and a small limit do.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "checker/prove/counterexample_trace.h"
#include "checker/prove/groups.h"
#include "checker/prove/smtlib.h"
#include "checker/prove/solve.h"
#include "model/address/alias.h"
#include "model/tdx/lock_word.h"

namespace mmucheck::prove {
namespace {

using namespace model;

// The refuted ones, with the values that refute them; all others are proved.
struct Refuted {
  const char* instance;
  Values values;
};
const std::map<std::string, Refuted> kRefuted = {
    {"address.root-choice-after-strip", {"TD, GPAW 48", {{"gpa", 0x800000000000}}}},
    {"walk.sketch-index", {"GPAW 48, mirror root, level 3", {{"gfn", 0}}}},
    {"walk.sketch-index.gpa-mask", {"GPAW 48, mirror root, level 4", {{"gfn", 0}}}},
    {"walk.sketch-index.polarity", {"GPAW 48, direct root, level 4", {{"gfn", 0}}}},
    {"walk.entry-gfn.at-root", {"GPAW 48, direct root, level 4", {{"gfn", 0}}}},
    {"range.mapped-bounds",
     {"GPAW 48, direct root", {{"start", 0}, {"end", 0x800000000}, {"gfn", 0}}}},
    {"range.mapped-bounds.beyond",
     {"GPAW 48, direct root", {{"gfn", 1}, {"start", 0}, {"end", 0x800000001}}}},
    {"range.sketch-loop", {"GPAW 48, direct root", {{"start", 0}, {"end", 1}, {"gfn", 1}}}},
    {"root.private-by-mirror.no-shared-bit",
     {"no shared bit, pre-fault, root by address, addr walked", {{"attributes", 1}}}},
    {"root.three-tests-agree.no-shared-bit",
     {"no shared bit, pre-fault, root by address, addr walked", {{"attributes", 1}}}},
    {"filter.exclude-equals-v19.shared-roots",  // v19 always zaps shared roots
     {"TD, GPAW 48, guest_memfd", {{"start", 0}, {"end", 1}, {"gfn", 0}}}},
    {"filter.exclude-equals-v19.flush",
     {"TD, GPAW 48, notifier", {{"flush", 0}, {"direct_leaf", 1}}}},
    {"filter.flush-survives.v19", {"TD, GPAW 48, notifier", {{"flush", 0}, {"direct_leaf", 1}}}},
    {"filter.notifier-spares-private.v8", {"TD, GPAW 48", {{"start", 0}, {"end", 1}, {"gfn", 0}}}},
    {"filter.without-shared-mask",
     {"no shared bit, guest_memfd", {{"start", 0}, {"end", 1}, {"gfn", 0}}}},
    {"filter.without-exclude-shared",
     {"TD, GPAW 48, guest_memfd", {{"start", 0}, {"end", 1}, {"gfn", 0}}}},
    {"filter.same-for-both-roots.v19",
     {"TD, GPAW 48, zap_private is false", {{"start", 0}, {"end", 1}, {"gfn", 0}, {"flush", 0}}}},
    {"filter.no-flags.v19",
     {"TD, GPAW 48, attributes private", {{"start", 0}, {"end", 1}, {"gfn", 0}}}},
    {"change.atomic-write.accessed",  // ageing ignores A since 6.15
     {"linux-7.2 NPT, level 1", {{"spte", 0x800}}}},
    {"shadow.packing.four-rights", {"v2, 3 and 56 bits", {{"gfn", 0}, {"access", 8}}}},
    {"shadow.packing.gfn-of-56-bits", {"6.0", {{"gfn", 0x10000000000000}, {"access", 0}}}},
    {"shadow.access-from-spte", {"linux-6.12 NPT, execution", {{"pfn", 0}}}},
    {"sept.unblock-undoes-block", {"", {{"state", 0x64}}}},  // BLOCKEDW comes back as MAPPED
    {"sept.block-keeps-accept-counter",
     {"module level 1", {{"state", 0x70}, {"hpa", 0}, {"counter", 1}}}},
    {"tlb.one-track", {"", {{"bepoch", 1}, {"epoch", 1}, {"even", 0}, {"odd", 1}}}},
    {"tlb.enter-flushes.new-association",  // the trap of module 1.0
     {"newly associated",
      {{"bepoch", 1}, {"epoch", 2}, {"vcpu_epoch", 1}, {"even", 0}, {"odd", 0}}}},
    {"tlb.inside-survives-exit.not-strengthened",  // a counterexample to induction
     {"TD exit",
      {{"bepoch", 1},
       {"epoch", 1},
       {"vcpu_epoch", 0},
       {"even", 1},
       {"odd", 0},
       {"other_epoch", 0}}}},
    {"lock.shared-excludes-exclusive.unbounded", {"sharex", {{"word", 0xfffe}}}},
    {"sept.all-keep-shape.accept-counter",
     {"TDH.MEM.PAGE.PROMOTE, module level 2", {{"entry", 7}, {"given", 0x1000000000010c0}}}},
    {"sept.parents-outlive.passed",
     {"TDH.MEM.RANGE.BLOCK of the parent", {{"child", 0xc7}, {"parent", 7}}}},
    {"freeze.one-owner.not-strengthened",
     {"linux-6.12 EPT, frozen till the end: exchanges",
      {{"at", 1},
       {"remover", 0},
       {"at2", 2},
       {"entry", 0x80000000000005a0},
       {"old", 0x80000000000005a0}}}},
    {"freeze.plain.one-owner",
     {"linux-6.12 EPT, not frozen: exchanges",
      {{"at", 1}, {"remover", 0}, {"at2", 2}, {"entry", 0}, {"new", 0}, {"old", 0}}}},
    {"order.parents-first.v8",
     {"v8: link a table: store",
      {{"parent.spte", 0x80000000000001a0},
       {"parent.sept", 0xc7},
       {"child.sept", 0xe0000000000000},
       {"child.spte", 0},
       {"child.at", 0},
       {"parent.at", 4},
       {"parent.maps", 1},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0},
       {"parent.new", 0x800},
       {"child.maps", 0},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0}}}},
    {"order.parents-first.naive",
     {"naive: link a table: exchange",
      {{"parent.spte", 0},
       {"parent.sept", 0xc7},
       {"child.sept", 0xe0000000000000},
       {"child.spte", 0},
       {"child.at", 0},
       {"parent.at", 0},
       {"parent.maps", 0},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0},
       {"parent.new", 0},
       {"child.maps", 0},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0},
       {"wanted", 0x800}}}},
    {"order.parents-first.block-parent",
     {"block-parent-rcu: remove a table: TDH.MEM.RANGE.BLOCK of its entry",
      {{"parent.spte", 0x80000000000001a0},
       {"parent.sept", 7},
       {"child.sept", 0xc7},
       {"child.spte", 0},
       {"child.at", 0},
       {"parent.at", 2},
       {"parent.maps", 0},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0x800},
       {"parent.new", 0},
       {"child.maps", 0},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0}}}},
    {"order.parents-first.seamcall-lock-only",
     {"seamcall-lock-only: link a table: TDH.MEM.SEPT.ADD fails",
      {{"parent.spte", 0x800},
       {"parent.at", 2},
       {"parent.sept", 0xc7},
       {"child.sept", 0xe0000000000000},
       {"child.spte", 0},
       {"child.at", 0},
       {"parent.maps", 1},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0},
       {"parent.new", 0x800},
       {"child.maps", 0},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0}}}},
    {"order.agree.v8",
     {"v8: map a leaf: store",
      {{"parent.spte", 0x800},
       {"parent.sept", 7},
       {"child.sept", 0xe0000000000000},
       {"child.spte", 0x80000000000001a0},
       {"child.at", 4},
       {"parent.at", 0},
       {"parent.maps", 0},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0},
       {"parent.new", 0},
       {"child.maps", 1},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0x800}}}},
    {"order.agree.naive",
     {"naive: map a leaf: TDH.MEM.PAGE.AUG fails",
      {{"parent.spte", 0},
       {"parent.sept", 7},
       {"child.sept", 0xe0000000000000},
       {"child.spte", 0x800},
       {"child.at", 2},
       {"parent.at", 2},
       {"parent.maps", 0},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0x800},
       {"parent.new", 0},
       {"child.maps", 1},
       {"child.failed", 0},
       {"child.part", 0},
       {"child.old", 0},
       {"child.new", 0x800}}}},
    {"order.agree.seam-first",
     {"seam-first: map a leaf: exchange, lost",
      {{"parent.spte", 0},
       {"parent.sept", 7},
       {"child.sept", 0xc7},
       {"child.spte", 0},
       {"child.at", 1},
       {"parent.at", 2},
       {"parent.maps", 0},
       {"parent.failed", 0},
       {"parent.part", 0},
       {"parent.old", 0x800},
       {"parent.new", 0},
       {"child.maps", 1},
       {"child.failed", 0},
       {"child.part", 1},
       {"child.old", 1},
       {"child.new", 0x800}}}},
    {"busy.hosts.v11",
     {"v11: TDH.MEM.RANGE.BLOCK while TDH.MEM.SEPT.ADD runs", {{"tdr", 0}, {"entry", 0}}}},
    {"busy.hosts.seam-first",
     {"seam-first: TDH.MEM.RANGE.BLOCK while TDH.MEM.SEPT.ADD runs", {{"tdr", 0}, {"entry", 0}}}},
    {"busy.hosts.block-parent",
     {"block-parent-rcu: TDH.MEM.RANGE.BLOCK while TDH.MEM.SEPT.ADD runs",
      {{"tdr", 0}, {"entry", 0}}}},
    {"busy.vcpus.v8",
     {"v8: TDH.MEM.RANGE.BLOCK while TDG.MEM.PAGE.ACCEPT runs on the entry",
      {{"tdr", 0}, {"entry", 0}}}},
    {"busy.vcpus.v19",
     {"v11: TDH.MEM.RANGE.BLOCK while TDG.MEM.PAGE.ACCEPT runs on the entry",
      {{"tdr", 0}, {"entry", 0}}}},
};

const Obligation& find(const std::string& name) {
  for (const Obligation& o : obligations()) {
    if (o.name == name) return o;
  }
  throw std::invalid_argument(name);
}

TEST(Prove, NamesAreStableAndUnique) {
  std::set<std::string_view> names;
  for (const Obligation& o : obligations()) {
    EXPECT_TRUE(names.insert(o.name).second) << o.name;
    EXPECT_NE(o.name.find('.'), std::string_view::npos) << o.name;
    EXPECT_EQ(o.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-"),
              std::string_view::npos)
        << o.name;
    EXPECT_FALSE(o.statement.empty() || o.source.empty() || o.bound.empty()) << o.name;
    std::set<std::string> instances;
    for (const Query& q : o.queries()) {
      EXPECT_TRUE(instances.insert(q.instance).second) << o.name << ": " << q.instance;
    }
    EXPECT_FALSE(instances.empty()) << o.name;
  }
  for (const auto& [name, _] : kRefuted) EXPECT_TRUE(names.contains(name)) << name;
}

// Deciding takes most of the time of this test: every third of the refuted ones is decided twice.
TEST(Prove, VerdictsAreAsClaimedAndTheSameTwice) {
  size_t number = 0;
  for (const Obligation& o : obligations()) {
    const Result r = decide(o);
    EXPECT_EQ(r.queries, o.queries().size()) << o.name;
    const auto refuted = kRefuted.find(std::string(o.name));
    if (refuted == kRefuted.end()) {
      EXPECT_EQ(r.answer, Answer::kProved) << o.name << ": " << r.instance << " " << r.first.why;
      continue;
    }
    EXPECT_EQ(r.answer, Answer::kRefuted) << o.name;
    if (number++ % 3 == 0) {
      const Result again = decide(o);
      EXPECT_EQ(r.answer, again.answer) << o.name;
      EXPECT_EQ(r.first.values, again.first.values) << o.name;
      EXPECT_EQ(r.first.derived, again.first.derived) << o.name;
    }
    EXPECT_NE(counterexample_trace(o, r).why_none, "no trace is written for it") << o.name;
    EXPECT_EQ(r.instance, refuted->second.instance) << o.name;
    EXPECT_EQ(r.first.values, refuted->second.values) << o.name;
  }
}

TEST(Prove, AVacuousPremiseIsNoProof) {
  const U x = var("x");
  Query q{"", x < U(1) && x > U(1), x == x, {}};
  EXPECT_EQ(decide(q).answer, Answer::kVacuous);
  q.premise = x <= U(1);
  EXPECT_EQ(decide(q).answer, Answer::kProved);
  const Obligation o{
      "a.b", "", "", "", [] {
        return std::vector<Query>{{"one", true, var("x") == U(0), {}}, {"two", false, true, {}}};
      }};
  const Result r = decide(o);
  EXPECT_EQ(r.answer, Answer::kVacuous);  // and not hidden by the refuted one
  EXPECT_EQ(r.instance, "two");
  EXPECT_EQ(r.not_proved, 2u);
}

TEST(Prove, AnExhaustedSolverIsUnknown) {
  // A sum is the xor and twice the carries: too hard for one unit of effort.
  const U x = var("x"), y = var("y");
  const Query q{"", true, (x + y) == ((x ^ y) + ((x & y) << 1)), {}};
  EXPECT_EQ(decide(q).answer, Answer::kProved);
  const QueryResult r = decide(q, {.rlimit = 1});
  EXPECT_EQ(r.answer, Answer::kUnknown);
  EXPECT_FALSE(r.why.empty());
}

TEST(Prove, CounterexamplesAreTheSmallest) {
  const U x = var("x"), y = var("y");
  const Query q{"", x > U(1000) && y > x, y < U(5000), {{"sum", x + y}}};
  const QueryResult r = decide(q);
  EXPECT_EQ(r.values, (Values{{"x", 1001}, {"y", 5000}}));
  EXPECT_EQ(r.derived, (Values{{"sum", 6001}}));
}

TEST(Prove, ComparesUnsigned) {
  const U x = var("x");
  EXPECT_EQ(decide(Query{"", x > U(1), U(1) < x, {}}).answer, Answer::kProved);
  EXPECT_EQ(decide(Query{"", (x >> 63) == U(1), x > U(1), {}}).answer, Answer::kProved);
}

TEST(Prove, StopsBetweenQueries) {
  const std::atomic<bool> stop = true;
  const Result r = decide(find("address.round-trip"), {.stop = &stop});
  EXPECT_TRUE(r.interrupted);
  EXPECT_EQ(r.queries, 0u);
}

// Copies of rules with one thing turned: the obligation notices.
U flipped_root_bits(const U& direct_bits, bool mirror) {
  return mirror ? direct_bits : U(0);
}
tdx::Attempt<T> careless_exclusive(const U& word) {  // forgets the readers
  const B taken = !tdx::held_exclusive<T>(word);
  return {taken, T::ite(taken, U(tdx::kLockExclusive), word)};
}

TEST(Prove, AFlippedRuleFlipsAnObligation) {
  const U gfn = var("gfn"), bits(gfn_direct_bits_for_gpaw(48));
  const U hardware = walk_index<T>({(gfn | bits) << kPageShift}, 4);
  const auto index = [&](const U& root_bits) {
    return decide(Query{"", gfn < bits, spte_index<T>(gfn | root_bits, 4) == hardware, {}}).answer;
  };
  EXPECT_EQ(index(gfn_bits_of_root<T>(bits, false)), Answer::kProved);
  EXPECT_EQ(index(flipped_root_bits(bits, false)), Answer::kRefuted);

  const U word = var("word");
  const auto excludes = [&](tdx::Attempt<T> (*exclusive)(const U&)) {
    const tdx::Attempt<T> reader = tdx::sharex_shared<T>(word);
    return decide(Query{"", word < U(100) && reader.taken, !exclusive(reader.word).taken, {}})
        .answer;
  };
  EXPECT_EQ(excludes([](const U& w) { return tdx::sharex_exclusive<T>(w); }), Answer::kProved);
  EXPECT_EQ(excludes(careless_exclusive), Answer::kRefuted);
}

TEST(Prove, SelectsByNameAndGroup) {
  std::string unknown;
  EXPECT_EQ(select({}, unknown)->size(), obligations().size());
  const auto two = select({"walk.kvm-index", "address.round-trip", "walk.kvm-index"}, unknown);
  ASSERT_TRUE(two.has_value());
  ASSERT_EQ(two->size(), 2u);  // in the order of the list, each once
  EXPECT_EQ(two->front()->name, "address.round-trip");
  EXPECT_FALSE(select({"walk", "walks"}, unknown).has_value());
  EXPECT_EQ(unknown, "walks");
}

TEST(Prove, WritesSmtLib) {
  const Obligation& o = find("tlb.migration-not-tracked");
  const std::string text = to_smtlib(o, o.queries().front());
  EXPECT_EQ(text, to_smtlib(o, o.queries().front()));
  EXPECT_EQ(smtlib_file_name(o, 1), "tlb.migration-not-tracked.1.smt2");
  EXPECT_NE(text.find("(declare-const bepoch (_ BitVec 64))"), std::string::npos) << text;
}

}  // namespace
}  // namespace mmucheck::prove
