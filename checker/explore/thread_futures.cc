#include "checker/explore/thread_futures.h"

#include <algorithm>
#include <stdexcept>

namespace mmucheck::explore {

using replay::SteppedState;

namespace {

constexpr uint64_t kMix = 0x9e3779b97f4a7c15ull;

uint64_t mixed(uint64_t h, uint64_t v) {
  h = (h ^ v) * kMix;
  return h ^ h >> 29;
}

}  // namespace

ThreadFutures::ThreadFutures(const PartialOrderFaults& faults) : faults_(faults) {
  for (size_t i = 0; i < StepNote::kInsides; i++) {
    if (number(SteppedState::inside_cell(i)) != number_of_inside(i)) {
      throw std::logic_error("the first cells are not those that threads are inside of");
    }
  }
}

size_t ThreadFutures::KeyHash::operator()(const Key& k) const {
  return mixed(mixed(k.thread, k.begun), k.content);
}

size_t ThreadFutures::NameHash::operator()(const Name& n) const {
  return mixed(mixed(0, n[0]), n[1]);
}

size_t ThreadFutures::StepHash::operator()(const Step& s) const {
  const KeyHash of_key;
  return mixed(mixed(of_key(s.from), of_key(s.to)), reinterpret_cast<uintptr_t>(s.note));
}

uint32_t ThreadFutures::number(model::Cell c) const {
  const Name name = {static_cast<uint64_t>(c.kind) << 32 | c.object, c.index};
  return cells_.try_emplace(name, static_cast<uint32_t>(cells_.size())).first->second;
}

const StepNote* ThreadFutures::note(const model::Footprint& footprint,
                                    std::span<const model::Cell> extra,
                                    const std::array<uint64_t, StepNote::kInsides>& before,
                                    const std::array<uint64_t, StepNote::kInsides>& after) const {
  const std::lock_guard<std::mutex> hold(lock_);
  StepNote n;
  for (const model::Touch& t : footprint.touches()) {
    uint8_t uses = t.uses;
    const auto& forgets = faults_.forgets_reads;
    if (forgets && SteppedState::slot_of(t.cell) == *forgets) uses &= ~uint8_t{model::kRead};
    for (size_t i = 0; i < StepNote::kInsides; i++) {
      if (!(t.cell == SteppedState::inside_cell(i)) || (uses & model::kRead) == 0) continue;
      if (before[i] == 0) n.found_none |= static_cast<uint8_t>(1 << i);
      if (uses != model::kRead) continue;
      n.asked |= static_cast<uint8_t>(1 << i);
      uses = 0;
    }
    if (uses == 0) continue;
    const uint32_t cell = number(t.cell);
    n.uses.push_back({cell, uses});
    const auto looked = static_cast<uint8_t>(uses & (model::kRead | model::kReadLock));
    if (looked != 0) n.looked.push_back({cell, looked});
  }
  for (const model::Cell& c : extra) n.uses.push_back({number(c), model::kRead | model::kWrite});
  for (size_t i = 0; i < StepNote::kInsides; i++) {
    n.change[i] = static_cast<int8_t>(after[i] - before[i]);
  }
  const auto less = [](const CellUse& x, const CellUse& y) { return x.cell < y.cell; };
  std::sort(n.uses.begin(), n.uses.end(), less);
  std::sort(n.looked.begin(), n.looked.end(), less);
  uint64_t hash = static_cast<uint64_t>(n.asked) << 8 | n.found_none;
  for (const CellUse& u : n.uses) hash = mixed(hash, uint64_t{u.cell} << 8 | u.uses);
  for (const int8_t c : n.change) hash = mixed(hash, static_cast<uint64_t>(c));
  const auto [from, to] = notes_.equal_range(hash);
  for (auto at = from; at != to; ++at) {
    if (*at->second == n) return at->second.get();
  }
  return notes_.emplace(hash, std::make_unique<const StepNote>(std::move(n)))->second.get();
}

bool ThreadFutures::conflict(Place mine, const StepNote& step, Place other) const {
  if (other == kUnseen) return false;  // what it does will be news
  unsigned kind = kFree;
  if (is_inside(mine, 0)) kind = kReaderInside;
  if (is_inside(mine, 1)) kind = kWriterInside;
  const CellUses& theirs =
      faults_.next_steps_only ? futures_.own(other) : futures_.future(other, kind);
  for (size_t i = 0; i < StepNote::kInsides; i++) {
    if (asks(mine, step, i) && theirs.conflict({number_of_inside(i), model::kRead})) return true;
  }
  return std::any_of(step.uses.begin(), step.uses.end(),
                     [&](const CellUse& u) { return theirs.conflict(u); });
}

bool ThreadFutures::tell(Seen& seen, const Step& step) const {
  if (!seen.insert(step).second) return false;
  const std::lock_guard<std::mutex> hold(lock_);
  told_.push_back(step);
  return true;
}

ThreadFutures::Place ThreadFutures::made_place(const Key& k) {
  const auto [at, made] = places_.try_emplace(k, static_cast<Place>(places_.size()));
  if (made) {
    inside_.emplace_back();
    // Nothing has begun: it is inside of nothing.
    inside_.back().known = k.begun == 0;
  }
  return at->second;
}

// What is inside at `from` leads to what is inside at `to`.
bool ThreadFutures::follow(Place from, Place to, const StepNote& note) {
  bool news = false;
  std::vector<std::pair<Place, std::pair<Place, const StepNote*>>> todo = {{from, {to, &note}}};
  while (!todo.empty()) {
    const auto [at, step] = todo.back();
    todo.pop_back();
    const Inside& before = inside_[at];
    if (!before.known || step.first == at) continue;
    Inside after;
    after.unknown = before.unknown;
    for (size_t i = 0; i < StepNote::kInsides; i++) {
      after.counts[i] = static_cast<int8_t>(before.counts[i] + step.second->change[i]);
    }
    Inside& there = inside_[step.first];
    if (there.unknown || (there.known && !after.unknown && there.counts == after.counts)) continue;
    there.unknown = after.unknown || there.known;
    there.known = true;
    there.counts = after.counts;
    news = true;
    if (there.unknown) {
      for (size_t i = 0; i < StepNote::kInsides; i++) {
        const CellUse any{number_of_inside(i), model::kRead};
        futures_.learn(step.first, std::span<const CellUse>(&any, 1), step.first);
      }
    }
    for (const auto& next : there.steps) todo.push_back({step.first, next});
  }
  return news;
}

bool ThreadFutures::learn() {
  bool news = false;
  std::vector<Step> fresh;
  for (const Step& s : std::exchange(told_, {})) {
    if (!learned_.insert(s).second) continue;
    fresh.push_back(s);
    const Place from = made_place(s.from), to = made_place(s.to);
    inside_[from].steps.emplace_back(to, s.note);
    news |= follow(from, to, *s.note);
  }
  for (const Step& s : fresh) {
    const Place from = place(s.from);
    std::vector<CellUse> uses = s.note->uses, looked = s.note->looked;
    for (size_t i = 0; i < StepNote::kInsides; i++) {
      if (!asks(from, *s.note, i)) continue;
      uses.push_back({number_of_inside(i), model::kRead});
      looked.push_back(uses.back());
    }
    const unsigned barred = (s.note->found_none & 1u) << kReaderInside |
                            (s.note->found_none >> 1 & 1u) << kWriterInside;
    news |= futures_.learn(from, std::span<const CellUse>(uses), place(s.to), barred,
                           std::span<const CellUse>(looked));
  }
  // Closing takes a while: not for a few steps more.
  if (futures_.edges() > futures_.closed() + futures_.closed() / 4) news |= futures_.close();
  return news;
}

}  // namespace mmucheck::explore
