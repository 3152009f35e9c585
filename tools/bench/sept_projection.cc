#include "tools/bench/sept_projection.h"

#include <algorithm>
#include <stdexcept>

#include "checker/explore/pinned.h"
#include "checker/explore/search.h"
#include "checker/explore/state_graph.h"
#include "checker/replay/gfn_walk.h"
#include "checker/replay/synthetic/stepped_state.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::bench {

namespace {

template <int W>
SharedStates states_in(const SeptRace& race) {
  const explore::Interleaving<SeptRace, W> system(race);
  explore::Search<explore::Interleaving<SeptRace, W>> search(system, {});
  search.run();
  SharedStates all;
  search.for_each_state([&](const explore::Words<W>& words) {
    const auto cells = system.cells(words);
    SharedState s;
    s.p = MirrorEntry(cells.get(SeptRace::kP));
    s.sp = cells.get(SeptRace::kSp) == 0 ? SeptEntry::kFree : SeptEntry::kNonleaf;
    for (unsigned i = 0; i < race.k; i++) {
      s.l[i] = MirrorEntry(cells.get(race.leaf(i)));
      s.sl[i] = SeptEntry(cells.get(race.sept(i)));
    }
    s.readers = cells.get(SeptRace::kReaders);
    s.writer = cells.get(SeptRace::kWriter) != 0;
    all.insert(s);
  });
  return all;
}

constexpr int kParent = model::kPgLevel2M, kLeaf = model::kPgLevel4K;

MirrorEntry mirror_entry(const replay::VmModel& v, const replay::GfnWalk& walk, int level) {
  if (walk.end > level || walk.top == 0) return MirrorEntry::kNone;
  const uint64_t spte = walk.entry[level];
  if (model::is_frozen_spte<>(v.world.fmt, spte)) return MirrorEntry::kFrozen;
  return model::is_shadow_present_pte<>(spte) ? MirrorEntry::kPresent : MirrorEntry::kNone;
}

SeptEntry sept_entry(const replay::GfnWalk& walk, int level) {
  using State = model::tdx::SeptEntryState;
  if (walk.end > level || walk.top == 0) return SeptEntry::kFree;
  const uint64_t e = walk.entry[level];
  if (model::tdx::is_sept_free<>(e)) return SeptEntry::kFree;
  if (level == kParent) return SeptEntry::kNonleaf;
  return model::tdx::is_state<>(e, State::kMapped) || model::tdx::is_state<>(e, State::kPending)
             ? SeptEntry::kMapped
             : SeptEntry::kBlocked;
}

uint32_t mirror_root(const replay::VmModel& v) {
  uint32_t r = model::first_root(v.world);
  while (r != model::kNoTable && !v.world.is_mirror(r)) r = model::list_next_root(v.world, r);
  return r;
}

SharedState shared_state(const replay::SyntheticReplayer& r, uint64_t first_gfn, unsigned leafs) {
  const replay::VmModel& v = *r.vm_model(1);
  SharedState s;
  const uint32_t root = mirror_root(v);
  for (unsigned i = 0; i < leafs; i++) {
    const replay::GfnWalk mirror = replay::walk_root(v, root, first_gfn + i);
    const replay::GfnWalk sept = replay::walk_sept(v, first_gfn + i);
    s.p = mirror_entry(v, mirror, kParent);
    s.sp = sept_entry(sept, kParent);
    s.l[i] = mirror_entry(v, mirror, kLeaf);
    s.sl[i] = sept_entry(sept, kLeaf);
  }
  const auto [readers, writer] = replay::SteppedState::lock(r);
  s.readers = static_cast<unsigned>(readers);
  s.writer = writer != 0;
  return s;
}

// The faults of the scenario, in the order of its threads.
std::vector<explore::Packet*> faults_of(explore::Scenario& scenario) {
  std::vector<explore::Packet*> all;
  for (auto& [tid, operations] : scenario.threads) {
    for (explore::Operation& op : operations) {
      explore::Packet& p = op.packets.front();
      if (p.event().kind == trace::EventKind::kFault) all.push_back(&p);
    }
  }
  return all;
}

// Choices 2 and 8 of explore-vs-peers/README.md.
constexpr const char* kBusy =
    "SEPT.ADD or PAGE.AUG was BUSY: the race's module takes the tree lock exclusively for them";
constexpr const char* kOrder = "KVM clears the mirror entry before RANGE.BLOCK, the race at the end";

// A leaf that the holder of the write lock zaps, in the order of KVM.
SharedState cleared_first(SharedState s, unsigned leafs) {
  for (unsigned i = 0; i < leafs && s.writer; i++) {
    const bool zapped = s.sl[i] == SeptEntry::kFree || s.sl[i] == SeptEntry::kBlocked;
    if (s.l[i] == MirrorEntry::kPresent && zapped) s.l[i] = MirrorEntry::kNone;
  }
  return s;
}
// And in the order of the race.
SharedState cleared_last(SharedState s, unsigned leafs) {
  for (unsigned i = 0; i < leafs && s.writer; i++) {
    if (s.sl[i] != SeptEntry::kFree) s.l[i] = MirrorEntry::kPresent;
  }
  return s;
}

}  // namespace

std::string text_of(const SharedState& s, unsigned leafs) {
  static constexpr std::array<const char*, 3> kMirror = {"NONE", "FROZEN", "PRESENT"};
  static constexpr std::array<const char*, 4> kSept = {"FREE", "MAPPED", "BLOCKED", "NONLEAF"};
  std::string text = std::string(kMirror[static_cast<size_t>(s.p)]) + ":" +
                     kSept[static_cast<size_t>(s.sp)];
  for (unsigned i = 0; i < leafs; i++) {
    text += std::string(" ") + kMirror[static_cast<size_t>(s.l[i])] + ":" +
            kSept[static_cast<size_t>(s.sl[i])];
  }
  return text + (s.writer ? " writer" : " readers " + std::to_string(s.readers));
}

SharedStates states_of(SeptRace race) {
  race.check = false;
  const unsigned words = explore::CellLayout(race.cells()).words();
  return words == 1 ? states_in<1>(race) : words == 2 ? states_in<2>(race) : states_in<4>(race);
}

SharedStates states_of(const explore::Scenario& scenario, const model::Design* design,
                       uint64_t first_gfn, unsigned leafs) {
  explore::Scenario chosen = scenario;
  const std::vector<explore::Packet*> faults = faults_of(chosen);
  const explore::Bounds bounds = explore::bounds_of(scenario);
  if (const auto doubts = explore::Stepper(scenario, design, bounds.busy).take_doubts();
      !doubts.empty()) {
    throw std::runtime_error(doubts.front());
  }
  SharedStates all;
  uint64_t choices = 1;
  for (size_t i = 0; i < faults.size(); i++) choices *= leafs;
  for (uint64_t choice = 0; choice < choices; choice++) {
    uint64_t rest = choice;
    for (explore::Packet* p : faults) {
      p->set(trace::f::fault::gfn, first_gfn + rest % leafs);
      rest /= leafs;
    }
    const explore::ScenarioSystem system(chosen, design, explore::options_of(bounds));
    const explore::StateGraph g = explore::graph_of(system, chosen, bounds);
    if (!g.bound.empty()) throw std::runtime_error("the scenario hits --" + g.bound);
    auto worker = system.worker();
    std::set<explore::ScenarioSystem::State> seen;
    for (const explore::ScenarioSystem::State& state : g.states) {
      if (!seen.insert(system.vm_of(state)).second) continue;
      all.insert(shared_state(worker.at(state).replayer(), first_gfn, leafs));
    }
  }
  return all;
}

bool Projection::explained() const {
  const auto has_reason = [](const auto& s) { return !s.second.empty(); };
  return std::all_of(race_only.begin(), race_only.end(), has_reason) &&
         std::all_of(model_only.begin(), model_only.end(), has_reason);
}

Projection compare(const SeptRace& race, const SharedStates& model) {
  const SharedStates states = states_of(race);
  SeptRace never_busy = race;
  never_busy.lockw = false;
  const SharedStates without_busy = states_of(never_busy);
  Projection x;
  x.of_race = states.size();
  x.of_model = model.size();
  for (const SharedState& s : states) {
    if (model.contains(s)) {
      x.both++;
    } else if (!without_busy.contains(s)) {
      x.race_only[s] = kBusy;
    } else {
      x.race_only[s] = model.contains(cleared_first(s, race.k)) ? kOrder : "";
    }
  }
  for (const SharedState& s : model) {
    if (states.contains(s)) continue;
    x.model_only[s] = states.contains(cleared_last(s, race.k)) ? kOrder : "";
  }
  return x;
}

}  // namespace mmucheck::bench
