#include "checker/explore/step_orders.h"

#include <algorithm>
#include <bitset>
#include <deque>
#include <optional>
#include <set>

#include "checker/explore/cell_words.h"
#include "checker/explore/chart.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using model::Cell;
using replay::SteppedState;

namespace {

constexpr size_t kMaxNamed = 3;  // cells

uint64_t mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9e3779b97f4a7c15ull;
  return h ^ h >> 29;
}

// Numbers of tables and frames, and what the monitor remembers.
bool is_bookkeeping(const Cell& c) {
  return c.object == model::kNoTable;
}

std::optional<size_t> inside_of(const Cell& c) {
  static const std::array kCells = {SteppedState::inside_cell(0), SteppedState::inside_cell(1),
                                    SteppedState::inside_cell(2)};
  static_assert(kCells.size() == StepOrders::kInsides);
  const auto at = std::find(kCells.begin(), kCells.end(), c);
  return at == kCells.end() ? std::nullopt : std::optional<size_t>(at - kCells.begin());
}

std::string cells_text(const model::Footprint& footprint, bool written) {
  std::set<std::string> names;
  for (const model::Touch& t : footprint.touches()) {
    const bool writes = (t.uses & ~model::kRead) != 0;
    if (writes == written && !is_bookkeeping(t.cell)) names.insert(words_of(t.cell.kind));
  }
  std::string text;
  size_t n = 0;
  for (const std::string& name : names) {
    if (n++ == kMaxNamed) return text + ", ...";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

std::string text_of(const StepOrders::Step& step, std::span<const replay::Predicted> shown,
                    const model::Footprint& footprint) {
  std::vector<std::string> parts =
      lock_texts({step.before[0], step.before[1]}, {step.after[0], step.after[1]});
  if (step.begins) parts.insert(parts.begin(), "begins");
  if (!step.begins) {
    for (const replay::Predicted& p : shown) parts.push_back(kind_text(p));
  }
  if (parts.empty()) {
    if (std::string cells = cells_text(footprint, true); !cells.empty()) return "writes " + cells;
    std::string cells = cells_text(footprint, false);
    return cells.empty() ? "goes on" : "reads " + cells;
  }
  std::string text;
  for (const std::string& p : parts) text += (text.empty() ? "" : ", ") + p;
  return text;
}

// Of all that text_of() looks at: texts are made of kinds that are new.
uint64_t key_of(const StepOrders::Step& step, std::span<const replay::Predicted> shown,
                const model::Footprint& footprint) {
  static const std::vector<std::optional<size_t>> kLevels = [] {
    std::vector<std::optional<size_t>> all(trace::kEventKindLimit);
    for (const trace::KindInfo& k : trace::all_kinds()) {
      all[static_cast<size_t>(k.kind)] = k.field("level");
    }
    return all;
  }();
  uint64_t key = mix(step.thread, step.begins);
  for (size_t i = 0; i < 2; i++) key = mix(key, step.after[i] - step.before[i]);
  for (const replay::Predicted& p : shown) {
    const auto level = kLevels[static_cast<size_t>(p.kind)];
    key = mix(key, static_cast<uint64_t>(p.kind) << 8 | (level && p.has(*level) ? p.f[*level] : 0));
  }
  if (!shown.empty()) return key;
  std::array<std::bitset<256>, 2> touched;  // kinds of cells: read, written
  for (const model::Touch& t : footprint.touches()) {
    if (is_bookkeeping(t.cell)) continue;
    touched[(t.uses & ~model::kRead) != 0].set(static_cast<size_t>(t.cell.kind));
  }
  for (const auto& kinds : touched) key = mix(key, std::hash<std::bitset<256>>()(kinds));
  return key;
}

}  // namespace

size_t StepOrders::CellHash::operator()(const Cell& c) const {
  return mix(mix(static_cast<uint64_t>(c.kind) << 32 | c.object, c.index), 0);
}

size_t StepOrders::WayHash::operator()(const Way& w) const {
  uint64_t h =
      mix(uint64_t{w.from} << 32 | w.to,
          uint64_t{w.thread} << 32 | uint64_t{w.begins} << 24 | uint64_t{w.asked} << 16 | w.kind);
  for (const int8_t c : w.change) h = mix(h, static_cast<uint8_t>(c));
  return h;
}

size_t Coverage::seen_in_both() const {
  return static_cast<size_t>(std::count_if(conflicts.begin(), conflicts.end(),
                                           [](const ConflictingSteps& c) { return c.both(); }));
}

std::optional<StepOrders::Kind> StepOrders::named(const Step& step,
                                                  std::span<const replay::Predicted> shown,
                                                  const model::Footprint& footprint) {
  const uint64_t key = key_of(step, shown, footprint);
  if (const auto known = by_key_.find(key); known != by_key_.end()) return known->second;
  std::string what = text_of(step, shown, footprint);
  const auto [at, fresh] =
      by_name_.try_emplace({step.thread, what}, static_cast<Kind>(kinds_.size()));
  if (fresh && kinds_.size() == kMaxKinds) {
    by_name_.erase(at);
    too_many_ = true;
    return std::nullopt;
  }
  if (fresh) kinds_.push_back({step.thread, std::move(what), {}});
  by_key_.emplace(key, at->second);
  return at->second;
}

StepOrders::Kind StepOrders::kind_of(const Step& step, std::span<const replay::Predicted> shown,
                                     const model::Footprint& footprint) {
  const std::lock_guard<std::mutex> hold(lock_);
  const std::optional<Kind> known = named(step, shown, footprint);
  if (!known) return 0;
  const Kind kind = *known;
  Way way{.thread = static_cast<uint8_t>(step.thread),
          .begins = step.begins,
          .kind = kind,
          .from = step.from,
          .to = step.to};
  for (size_t i = 0; i < kInsides; i++) {
    way.change[i] = static_cast<int8_t>(step.after[i] - step.before[i]);
  }
  uint64_t hash = kind;
  for (const model::Touch& t : footprint.touches()) {
    if (t.uses == model::kRead) {
      if (const auto inside = inside_of(t.cell)) way.asked |= static_cast<uint8_t>(1u << *inside);
    }
    hash = mix(mix(hash, t.cell.index),
               static_cast<uint64_t>(t.cell.kind) << 40 | uint64_t{t.uses} << 32 | t.cell.object);
  }
  ways_.insert(way);
  if (!footprints_.insert(hash).second) return kind;
  for (const model::Touch& t : footprint.touches()) {
    if (is_bookkeeping(t.cell) || (t.uses == model::kRead && inside_of(t.cell))) continue;
    kinds_[kind].uses[t.cell] |= t.uses;
  }
  return kind;
}

// --- what came of it ---

// The places of one thread, by what it holds and how many operations have begun.
class StepOrders::Places {
 public:
  Places(const StepOrders& all, unsigned thread, uint32_t initial, uint32_t idle) : idle_(idle) {
    for (const Way& w : all.ways_) {
      if (w.thread == thread) (w.begins ? begin_ : step_)[w.from].push_back(&w);
    }
    // In no order that a hash makes.
    for (auto* const ways : {&begin_, &step_}) {
      for (auto& [from, list] : *ways) {
        std::sort(list.begin(), list.end(), [](const Way* x, const Way* y) { return *x < *y; });
      }
    }
    todo_ = {{initial, 0}};
    at_[todo_.front()].known = true;
    while (!todo_.empty()) {
      const Place place = todo_.front();
      todo_.pop_front();
      const At from = at_[place];
      for (const Way* w : from_here(place)) lead(from, *w, place.begun);
    }
  }

  // visit(way, inside of what for sure, begun) for each way from each place.
  template <class Visit>
  void for_each_way(const Visit& visit) {
    for (const auto& [place, at] : at_) {
      for (const Way* w : from_here(place)) visit(*w, at.inside(), place.begun);
    }
  }

 private:
  struct Place {
    uint32_t held = 0, begun = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct At {
    bool known = false, unknown = false;
    std::array<int8_t, kInsides> counts{};
    uint8_t inside() const {
      uint8_t bits = 0;
      for (size_t i = 0; i < kInsides && !unknown; i++) {
        if (counts[i] > 0) bits = static_cast<uint8_t>(bits | 1u << i);
      }
      return bits;
    }
  };

  const std::vector<const Way*>& from_here(Place p) const {
    static const std::vector<const Way*> kNone;
    const auto& ways = p.held == idle_ ? begin_ : step_;
    const auto at = ways.find(p.held == idle_ ? p.begun : p.held);
    return at == ways.end() ? kNone : at->second;
  }
  void lead(const At& from, const Way& w, uint32_t begun) {
    const Place place{w.to, begun + (w.begins ? 1 : 0)};
    At& to = at_[place];
    bool more = !to.known;
    std::array<int8_t, kInsides> counts = from.counts;
    for (size_t i = 0; i < kInsides; i++) counts[i] = static_cast<int8_t>(counts[i] + w.change[i]);
    const bool unknown = from.unknown || (to.known && to.counts != counts);
    if (unknown && !to.unknown) more = to.unknown = true;
    if (!to.known) to.counts = counts;
    to.known = true;
    if (more) todo_.push_back(place);
  }

  uint32_t idle_;
  std::map<uint32_t, std::vector<const Way*>> begin_, step_;
  std::map<Place, At> at_;
  std::deque<Place> todo_;
};

namespace {

using Uses = std::map<std::array<uint64_t, 3>, uint8_t>;  // kind, object, index

// The first cell on which they conflict.
const char* conflict_of(const Uses& a, const Uses& b) {
  for (const auto& [cell, uses] : a) {
    const auto other = b.find(cell);
    if (other != b.end() && !model::commute(uses, other->second)) {
      return words_of(static_cast<model::CellKind>(cell[0]));
    }
  }
  return nullptr;
}

std::array<uint64_t, 3> name_of(const Cell& c) {
  return {static_cast<uint64_t>(c.kind), c.object, c.index};
}

}  // namespace

Coverage StepOrders::coverage(const Scenario& scenario, std::span<const uint32_t> initial,
                              std::span<const uint32_t> idle, std::span<const Kinds> before) const {
  Coverage result;
  result.counted = !too_many_;
  result.ordered = !too_many_ && !before.empty();
  if (too_many_) return result;
  std::vector<Uses> uses(kinds_.size());
  std::vector<std::set<std::string>> operations(kinds_.size());
  for (size_t k = 0; k < kinds_.size(); k++) {
    for (const auto& [cell, how] : kinds_[k].uses) uses[k][name_of(cell)] = how;
  }
  std::vector<uint32_t> tids;
  for (const auto& [tid, list] : scenario.threads) {
    const auto thread = static_cast<unsigned>(tids.size());
    tids.push_back(tid);
    Places places(*this, thread, initial[thread], idle[thread]);
    places.for_each_way([&, &names = list](const Way& w, uint8_t inside, uint32_t begun) {
      for (size_t i = 0; i < kInsides; i++) {
        if ((w.asked & ~inside) >> i & 1) {
          uses[w.kind][name_of(SteppedState::inside_cell(i))] |= model::kRead;
        }
      }
      const size_t operation = w.begins ? begun : begun - 1;
      if (operation < names.size()) operations[w.kind].insert(names[operation].name);
    });
  }
  const auto kind = [&](Kind k) {
    StepKind named{tids[kinds_[k].thread], {}, kinds_[k].what};
    for (const std::string& o : operations[k]) {
      named.operations += (named.operations.empty() ? "" : ", ") + o;
    }
    return named;
  };
  for (Kind a = 0; a < kinds_.size(); a++) {
    for (Kind b = 0; b < kinds_.size(); b++) {
      if (kinds_[a].thread >= kinds_[b].thread) continue;
      if (const char* const cell = conflict_of(uses[a], uses[b]); cell != nullptr) {
        result.conflicts.push_back({kind(a), kind(b), cell, !before.empty() && before[b].has(a),
                                    !before.empty() && before[a].has(b)});
      }
    }
  }
  std::sort(result.conflicts.begin(), result.conflicts.end(), [](const auto& x, const auto& y) {
    return std::tie(x.first, x.second) < std::tie(y.first, y.second);
  });
  return result;
}

}  // namespace mmucheck::explore
