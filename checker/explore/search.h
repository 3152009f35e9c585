// Layer: checker/explore. Contract: breadth-first search, by levels, of every state that a system
// comes to. The result is the same for any number of workers: a level is cut into blocks of a fixed
// size; in each block first the successors are made, then they are stored, each shard by one worker
// in the order of their parents. A level in which something is violated is finished, so numbers of
// violated searches do not depend on who was first either.
//
// A path to what was found is a shortest one. Of several it is the system's to choose (`choose`),
// where it can: from the states of each level that are on one. Else it is the first: from its end
// backwards always to the first parent, by shard and index. Parents are not stored: each level is
// expanded again to find them.
//
// What a system S says:
// - State: its states. codec(): how they are stored, see StateSet, a Codec. Where a codec has no room
//   for all states that there are by now, it is outgrown(), and another one takes its place;
//   add_contents(codec) tells it between two blocks.
// - kBlock: parents that are expanded before their successors are stored. How many states a search
//   that hits a bound has seen depends on it.
// - kAlone: fewer parents than that are not worth waking another worker for.
// - initial(): the first state.
// - hash(state): 64 bits, well mixed. Which of several shortest paths is told depends on it.
// - broken(state): the property that a state breaks, or kNothing; asked of the first state alone
//   where the codec tells successors by what they change: what is broken there, steps break.
// - memory(): bytes that the system itself has taken for states; working_bytes(n), where there is
//   one: what it and n workers may take besides.
// - choose(layers, property), where there is one: a path through one state of each layer, see
//   fewest_switches.h; its worker then says each_move(state, visit).
// - worker(): an object of its own for each thread, whose expand(state, steps) calls steps.made()
//   for each successor, or steps.violates(), always in the same order, and answers a Fate. Where
//   that leaves out some, expand_all() does not; the order of those that violate is the same.
// - settle(), where there is one: called behind each block while no worker works; then
//   in_vain(states), where there is one: true gives the search up (kInVain).
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>

#include "checker/explore/crew.h"
#include "checker/explore/search_result.h"
#include "checker/explore/successors.h"

namespace mmucheck::explore {

template <size_t W>
uint64_t hash_words(const std::array<uint64_t, W>& s) {
  return XXH3_64bits(s.data(), sizeof s);
}

template <class S>
class Search {
 public:
  using State = typename S::State;
  using Codec = typename S::Codec;
  static constexpr uint32_t kBlock = S::kBlock;
  static constexpr uint32_t kAlone = S::kAlone;
  // States, of which a path is chosen.
  static constexpr uint64_t kMaxOnPaths =
      std::min<uint64_t>(1'000'000, (uint64_t{256} << 20) / sizeof(State));
  // For the successors of a block.
  static constexpr uint64_t kBuffers = uint64_t{8} << (sizeof(State) > 64 ? 21 : 20);

  Search(const S& system, const SearchBounds& bounds)
      : system_(system),
        bounds_(bounds),
        set_(system.codec()),
        crew_(std::max(1u, bounds.workers)) {
    for (unsigned i = 0; i < crew_.size(); i++) hands_.push_back(std::make_unique<Hand>(system));
  }

  SearchResult<State> run(const SearchTick& tick = {});
  // The states that were reached, behind run(): in the same order in every run.
  template <class Visit>
  void for_each_state(const Visit& visit) const {
    for_level({}, sizes(), 0, ~uint64_t{0}, [&](unsigned shard, uint32_t index) {
      visit(set_.at(shard, index));
      return true;
    });
  }

  // The number of a state: its shard, and its index there.
  struct Place {
    unsigned shard = kShards;
    uint32_t index = 0;
    auto operator<=>(const Place&) const = default;
  };
  // The states that run() has expanded, but for those of a level that it has not finished, by levels:
  // visit(place, known), where known(s) is what Steps::known() was then.
  template <class Visit>
  void for_each_expanded(const Visit& visit) const;
  State at(Place p) const { return set_.at(p.shard, p.index); }
  // There is none: index is kNoState.
  Place find(const State& s) const {
    const uint64_t hash = system_.hash(s);
    return {shard_of(hash), set_.find(hash, s)};
  }
  uint32_t size(unsigned shard) const { return set_.size(shard); }

 private:
  struct Violation {
    unsigned property = kNothing;
    Place place;  // the state, or the parent of the step
    std::optional<uint64_t> step;
  };
  using Violations = std::vector<Violation>;  // the first of each property
  static void note(Violations& all, const Violation& v) {
    const auto same = [&](const Violation& o) { return o.property == v.property; };
    if (std::none_of(all.begin(), all.end(), same)) all.push_back(v);
  }
  struct Hand {  // of one worker
    explicit Hand(const S& system) : worker(system.worker()) {}
    decltype(std::declval<const S&>().worker()) worker;
    Successors<Codec> out;
    Place parent_place;
    uint64_t before = 0;       // transitions, when the parent came
    uint64_t transitions = 0;  // of the block
    uint64_t end_states = 0;
    Violations stuck, found;  // of the block: parents, and their steps
  };

 public:
  // What a system's expand() talks to.
  class Steps {
   public:
    Steps(const Search& search, Hand& hand) : search_(search), hand_(hand) {}

    void made(const State& s) {
      hand_.transitions++;
      hand_.out.add(search_.system_.hash(s), s);
    }
    // The state that is expanded, but for these changes.
    template <class Change>
    void made(uint64_t hash, std::span<const Change> changes) {
      hand_.transitions++;
      hand_.out.add(hash, changes);
    }
    // The step leads nowhere: it breaks a property.
    void violates(unsigned property) {
      note(hand_.found, {property, hand_.parent_place, hand_.transitions - hand_.before});
      hand_.transitions++;
    }
    // Was reached by fewer or as many moves as the state that is expanded.
    bool known(const State& s) const {
      const Place at = search_.find(s);
      return at.index != kNoState && at.index < search_.level_end_[at.shard];
    }

   private:
    const Search& search_;
    Hand& hand_;
  };

 private:
  using Level = std::array<uint32_t, kShards>;

  // Whatever a reduction left out when the level was expanded.
  static Fate expand_fully(Hand& hand, const State& s, Steps& steps) {
    if constexpr (requires { hand.worker.expand_all(s, steps); }) {
      return hand.worker.expand_all(s, steps);
    } else {
      return hand.worker.expand(s, steps);
    }
  }
  // expand(state), into what waits to be stored.
  template <class Expand>
  Fate each_successor(Hand& hand, unsigned shard, uint32_t index, const Expand& expand) const {
    const auto packed = set_.packed(shard, index);
    const State state = set_.codec().unpack(packed);
    hand.out.of(state, packed, set_.codec());
    return expand(state);
  }
  // Expands parents [from, to) of the level, counted through its shards.
  void expand(Hand& hand, uint64_t from, uint64_t to);
  // Makes room for the contents of states that are waiting to be stored; false: see make_room().
  bool keep_up();
  // At most `room` new states.
  void store_shard(unsigned shard, uint64_t room);
  bool store(unsigned shard, uint64_t hash, const typename Codec::Packed& packed);
  void each_shard(const std::function<void(unsigned)>& work) {
    crew_.run([&](unsigned w) {
      for (unsigned shard = w; shard < kShards; shard += crew_.size()) work(shard);
    });
  }
  // How many states are waiting to be stored, and how many may be; false: memory does not suffice.
  bool make_room(uint64_t* waiting, uint64_t* room);
  void do_block(uint64_t from, uint64_t to);
  bool conclude();
  // Those of the level, which is expanded, and of those before.
  void forget_states() {
    each_shard([this](unsigned shard) {
      set_.keep_hashes(shard, level_end_[shard],
                       [this](const State& s) { return system_.hash(s); });
    });
  }
  Level sizes() const {
    Level all;
    for (unsigned shard = 0; shard < kShards; shard++) all[shard] = set_.size(shard);
    return all;
  }
  static uint64_t sum(const Level& level) {
    return std::accumulate(level.begin(), level.end(), uint64_t{0});
  }
  uint64_t frontier() const { return sum(level_end_) - sum(levels_.back()); }
  template <class Visit>
  void for_level(const Level& begin, const Level& end, uint64_t from, uint64_t to,
                 const Visit& visit) const;
  std::optional<Place> first_parent(size_t level, const State& child);
  std::vector<State> trace_back(Place end);
  size_t level_of(const Place& p) const;
  std::vector<std::vector<State>> on_shortest_paths(unsigned property, size_t level) const;
  typename SearchResult<State>::Violation path_to(const Violation& v);
  bool can_move_on();
  // Of the process, by what is stored, so that a bound is hit at the same state in every run.
  uint64_t memory() const { return base_memory_ + set_.memory() + system_.memory(); }

  const S& system_;
  SearchBounds bounds_;
  StateSet<Codec> set_;
  Crew crew_;
  std::vector<std::unique_ptr<Hand>> hands_;
  std::vector<Level> levels_;  // where each begins
  Level level_end_{};          // of the level that is expanded; those behind are its successors
  size_t finished_ = 0;        // levels that were expanded
  // Of the level: states that are stuck, their steps, the new states of a shard.
  Violations stuck_, by_step_;
  std::array<Violations, kShards> broken_;
  Violations found_;  // of all levels
  SearchResult<State> result_;
  uint64_t base_memory_ = 0;
};

template <class S>
template <class Visit>
void Search<S>::for_level(const Level& begin, const Level& end, uint64_t from, uint64_t to,
                          const Visit& visit) const {
  uint64_t passed = 0;
  for (unsigned shard = 0; shard < kShards && passed < to; shard++) {
    const uint64_t n = end[shard] - begin[shard];
    const uint64_t first = from > passed ? from - passed : 0;
    for (uint64_t i = first; i < std::min(n, to - passed); i++) {
      if (!visit(shard, begin[shard] + static_cast<uint32_t>(i))) return;
    }
    passed += n;
  }
}

template <class S>
template <class Visit>
void Search<S>::for_each_expanded(const Visit& visit) const {
  for (size_t l = 0; l < finished_; l++) {
    const Level& end = levels_[l + 1];
    const auto known = [&](const State& s) {
      const Place at = find(s);
      return at.index != kNoState && at.index < end[at.shard];
    };
    for_level(levels_[l], end, 0, ~uint64_t{0}, [&](unsigned shard, uint32_t index) {
      return visit(Place{shard, index}, known);
    });
  }
}

template <class S>
void Search<S>::expand(Hand& hand, uint64_t from, uint64_t to) {
  Steps steps(*this, hand);
  const Level& begin = levels_.back();
  for_level(begin, level_end_, from, to, [&](unsigned shard, uint32_t index) {
    hand.parent_place = {shard, index};
    hand.before = hand.transitions;
    const Fate fate = each_successor(hand, shard, index, [&](const State& state) {
      return hand.worker.expand(state, steps);
    });
    if (fate == Fate::kEnded) hand.end_states++;
    if (fate == Fate::kStuck) note(hand.stuck, {kDeadlock, hand.parent_place, {}});
    return true;
  });
}

// A look at memory takes a hundred times as long as what is done with it: slots, and then states, are
// asked for some successors ahead.
template <class S>
void Search<S>::store_shard(unsigned shard, uint64_t room) {
  constexpr size_t kSlotAhead = 32, kStateAhead = 16;
  std::array<uint64_t, kSlotAhead> hashes;
  for (const auto& hand : hands_) {
    Successors<Codec>& in = hand->out;
    const size_t all = in.size(shard);
    const auto ask_slot = [&](size_t i) {
      if (i >= all) return;
      hashes[i % kSlotAhead] =
          in.hash(shard, i, [this](const State& s) { return system_.hash(s); });
      set_.prefetch_slot(hashes[i % kSlotAhead]);
    };
    const auto ask_state = [&](size_t i) {
      if (i < all) set_.prefetch_state(hashes[i % kSlotAhead]);
    };
    for (size_t i = 0; i < kSlotAhead; i++) ask_slot(i);
    for (size_t i = 0; i < kStateAhead; i++) ask_state(i);
    for (size_t i = 0; i < all && room != 0; i++) {
      const uint64_t hash = hashes[i % kSlotAhead];
      ask_slot(i + kSlotAhead);
      ask_state(i + kStateAhead);
      if (store(shard, hash, in.packed(shard, i, set_.codec()))) room--;
    }
    in.clear(shard);
  }
}

// True: it is new.
template <class S>
bool Search<S>::store(unsigned shard, uint64_t hash, const typename Codec::Packed& packed) {
  if (!set_.insert(hash, packed)) return false;
  if constexpr (!kKnowsChanges<Codec>) {
    const unsigned property = system_.broken(packed);
    if (property != kNothing) {
      note(broken_[shard], {property, {shard, set_.size(shard) - 1}, {}});
    }
  }
  return true;
}

template <class S>
bool Search<S>::keep_up() {
  if constexpr (requires { set_.codec().outgrown(); }) {
    system_.add_contents(set_.codec());
    if (!set_.codec().outgrown()) return true;
    const Codec wider = set_.codec().widened();
    if (bounds_.max_memory != 0 && memory() + set_.memory_of_recode(wider) > bounds_.max_memory) {
      return false;
    }
    for (const auto& hand : hands_) hand->out.recode(wider, set_.codec());
    set_.recode(wider, [this](const std::function<void(unsigned)>& work) { each_shard(work); });
  }
  return true;
}

template <class S>
bool Search<S>::make_room(uint64_t* waiting, uint64_t* room) {
  uint64_t fullest = 0;
  *waiting = 0;
  for (unsigned shard = 0; shard < kShards; shard++) {
    uint64_t more = 0;
    for (const auto& hand : hands_) more += hand->out.size(shard);
    *waiting += more;
    fullest = std::max(fullest, set_.size(shard) + more);
  }
  const uint64_t growth = set_.memory_after(fullest) - set_.memory();
  if (bounds_.max_memory != 0 && memory() + growth > bounds_.max_memory) return false;
  set_.reserve(
      fullest, [this](const std::function<void(unsigned)>& work) { each_shard(work); },
      [this](const State& s) { return system_.hash(s); });
  *room = *waiting;
  if (bounds_.max_states != 0) *room = std::min(*room, bounds_.max_states - result_.states);
  return true;
}

// The first state of `level` from which a step leads to `child`.
template <class S>
auto Search<S>::first_parent(size_t level, const State& child) -> std::optional<Place> {
  const Level& begin = levels_[level];
  const Level& end = levels_[level + 1];
  level_end_ = end;
  uint64_t all = 0;
  for (unsigned shard = 0; shard < kShards; shard++) all += end[shard] - begin[shard];
  Hand hand(system_);
  Steps steps(*this, hand);
  const unsigned target = shard_of(system_.hash(child));
  const auto wanted = set_.codec().pack(child);
  std::optional<Place> found;
  for_level(begin, end, 0, all, [&](unsigned shard, uint32_t index) {
    each_successor(hand, shard, index, [&](const State& state) {
      return expand_fully(hand, state, steps);
    });
    for (size_t i = 0; i < hand.out.size(target) && !found; i++) {
      if (hand.out.packed(target, i, set_.codec()) == wanted) found = {shard, index};
    }
    hand.out.clear();
    return !found;
  });
  return found;
}

template <class S>
size_t Search<S>::level_of(const Place& p) const {
  size_t level = levels_.size() - 1;
  while (level > 0 && p.index < levels_[level][p.shard]) level--;
  return level;
}

// Level by level, those from which `level` is reached where `property` is violated; nothing: too
// many.
template <class S>
auto Search<S>::on_shortest_paths(unsigned property, size_t level) const
    -> std::vector<std::vector<State>> {
  std::vector<std::vector<State>> layers(level + 1);
  std::set<State> next;
  auto worker = system_.worker();
  uint64_t all = 0;
  for (size_t at = level + 1; at-- > 0;) {
    const Level end = at + 1 < levels_.size() ? levels_[at + 1] : sizes();
    for_level(levels_[at], end, 0, ~uint64_t{0}, [&](unsigned shard, uint32_t index) {
      const State s = set_.at(shard, index);
      bool leads = false;
      const Fate fate = worker.each_move(s, [&](unsigned, unsigned breaks, const State& to) {
        leads =
            leads || (at == level ? breaks == property : breaks == kNothing && next.contains(to));
      });
      leads = leads || (at == level && property == kDeadlock && fate == Fate::kStuck);
      if (leads) layers[at].push_back(s);
      return all + layers[at].size() <= kMaxOnPaths;
    });
    all += layers[at].size();
    if (all > kMaxOnPaths) return {};
    if (layers[at].empty()) throw std::logic_error("a violation is not found the second time");
    next = {layers[at].begin(), layers[at].end()};
  }
  return layers;
}

template <class S>
auto Search<S>::path_to(const Violation& v) -> typename SearchResult<State>::Violation {
  const size_t depth = level_of(v.place);
  if (bounds_.hash_compact) return {v.property, depth, {}, v.step};
  if constexpr (requires(std::vector<std::vector<State>> l) { system_.choose(l, v.property); }) {
    if (const auto layers = on_shortest_paths(v.property, depth); !layers.empty()) {
      auto [path, step] = system_.choose(layers, v.property);
      return {v.property, depth, std::move(path), step};
    }
  }
  return {v.property, depth, trace_back(v.place), v.step};
}

template <class S>
auto Search<S>::trace_back(Place end) -> std::vector<State> {
  size_t level = level_of(end);
  std::vector<State> path = {set_.at(end.shard, end.index)};
  for (; level > 0; level--) {
    end = *first_parent(level - 1, path.back());
    path.push_back(set_.at(end.shard, end.index));
  }
  std::reverse(path.begin(), path.end());
  return path;
}

// Some state of the last level has a successor; what is stuck or ended there is noted.
template <class S>
bool Search<S>::can_move_on() {
  bool moved = false;
  Hand hand(system_);
  Steps steps(*this, hand);
  const Level& begin = levels_.back();
  for_level(begin, level_end_, 0, ~uint64_t{0}, [&](unsigned shard, uint32_t index) {
    const Fate fate = each_successor(hand, shard, index, [&](const State& state) {
      return hand.worker.expand(state, steps);
    });
    hand.out.clear();
    if (fate == Fate::kStuck) note(stuck_, {kDeadlock, {shard, index}, {}});
    if (fate == Fate::kEnded) result_.end_states++;
    moved = moved || fate == Fate::kMoved;
    return true;
  });
  return moved;
}

template <class S>
void Search<S>::do_block(uint64_t from, uint64_t to) {
  // Not worth waking anybody for.
  const unsigned workers = to - from < kAlone ? 1 : crew_.size();
  const auto part = [&](unsigned w) {
    expand(*hands_[w], from + (to - from) * w / workers, from + (to - from) * (w + 1) / workers);
  };
  workers == 1 ? part(0) : crew_.run(part);
  if constexpr (requires { system_.settle(); }) system_.settle();
  if constexpr (requires { system_.in_vain(result_.states); }) {
    if (system_.in_vain(result_.states)) result_.bound = kInVain;
  }
  uint64_t waiting, room;
  if (!keep_up() || !make_room(&waiting, &room)) {
    result_.bound = "memory";
    return;
  }
  if (workers != 1 && room == waiting) {
    crew_.run([&](unsigned w) {
      for (unsigned shard = w; shard < kShards; shard += workers) store_shard(shard, room);
    });
  } else {
    for (unsigned shard = 0; shard < kShards; shard++) {
      const uint32_t before = set_.size(shard);
      store_shard(shard, room);
      room -= set_.size(shard) - before;
    }
  }
  for (const auto& hand : hands_) {
    hand->out.clear();
    result_.transitions += std::exchange(hand->transitions, 0);
    result_.end_states += std::exchange(hand->end_states, 0);
    // Hands have their parents in ascending order, and blocks too.
    for (const Violation& v : std::exchange(hand->stuck, {})) note(stuck_, v);
    for (const Violation& v : std::exchange(hand->found, {})) note(by_step_, v);
  }
  result_.states = set_.size();
  if (bounds_.max_states != 0 && result_.states >= bounds_.max_states) result_.bound = "max-states";
}

// What the level has shown, the shortest paths first, then the lowest properties. True: that is
// enough.
template <class S>
bool Search<S>::conclude() {
  for (const Violation& v : std::exchange(stuck_, {})) note(found_, v);
  Violations of_level = std::exchange(by_step_, {});
  for (Violations& of_shard : broken_) {
    for (const Violation& v : std::exchange(of_shard, {})) note(of_level, v);
  }
  std::sort(of_level.begin(), of_level.end(),
            [](const Violation& a, const Violation& b) { return a.property < b.property; });
  for (const Violation& v : of_level) note(found_, v);
  return !bounds_.all && !found_.empty();
}

template <class S>
auto Search<S>::run(const SearchTick& tick) -> SearchResult<State> {
  base_memory_ = resident_bytes() + kBuffers;
  if constexpr (requires { system_.working_bytes(1); }) {
    base_memory_ += system_.working_bytes(crew_.size());
  }
  const State first = system_.initial();
  const unsigned home = shard_of(system_.hash(first));
  set_.insert(system_.hash(first), set_.codec().pack(first));
  result_.states = 1;
  levels_.emplace_back();
  level_end_ = sizes();
  if (system_.broken(first) != kNothing)
    note(broken_[home], {system_.broken(first), {home, 0}, {}});
  for (uint64_t n = 1; n != 0 && result_.bound.empty() && !conclude(); n = frontier()) {
    result_.depth = levels_.size() - 1;
    if (bounds_.max_depth != 0 && result_.depth >= bounds_.max_depth) {
      if (can_move_on()) result_.bound = "max-depth";
      break;
    }
    for (uint64_t from = 0; from < n && result_.bound.empty(); from += kBlock) {
      do_block(from, std::min<uint64_t>(from + kBlock, n));
      if (!tick || !result_.bound.empty()) continue;
      result_.bound =
          tick({.states = result_.states,
                .transitions = result_.transitions,
                .depth = result_.depth,
                .queue = result_.states - sum(level_end_) + n - std::min(from + kBlock, n),
                .memory = memory()});
    }
    if (bounds_.hash_compact) forget_states();
    levels_.push_back(level_end_);
    level_end_ = sizes();
    if (result_.bound.empty()) finished_++;
  }
  conclude();
  if (!bounds_.all && !found_.empty()) {
    found_.resize(1);
    result_.bound.clear();
  }
  for (const Violation& v : found_) {
    result_.violations.push_back(path_to(v));
    result_.depth = std::max(result_.depth, result_.violations.back().steps());
  }
  result_.memory = set_.memory();
  return std::move(result_);
}

}  // namespace mmucheck::explore
