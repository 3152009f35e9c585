#include "checker/explore/difference.h"

#include <algorithm>
#include <deque>
#include <unordered_set>

#include "checker/explore/chart.h"

namespace mmucheck::explore {
namespace {

struct Done {  // a move under one design
  bool moved = false;
  std::string shows, breaks;
};

Done make(Stepper& s, const Move& m) {
  Done d;
  d.moved = s.apply(m);
  if (!d.moved) return d;
  if (m.kind != MoveKind::kBegin) {
    for (const std::string& e : event_texts(s.replayer(), m.thread)) {
      d.shows += (d.shows.empty() ? "" : "; ") + e;
    }
  }
  for (const report::Violation& v : s.take_violations()) {
    d.breaks += (d.breaks.empty() ? "" : ", ") + v.invariant;
  }
  return d;
}

std::string text_of(const Done& d) {
  if (!d.moved) return "cannot move";
  std::string text = d.shows.empty() ? "shows nothing" : d.shows;
  if (!d.breaks.empty()) text += "; violates " + d.breaks;
  return text;
}

std::string key_of(const Stepper& a, const Stepper& b) {
  std::string all;
  for (const Stepper* s : {&a, &b}) {
    for (const std::string& p : s->parts()) all += std::to_string(p.size()) + ":" + p;
  }
  return all;
}

bool same(const Move& x, const Move& y) {
  return x.thread == y.thread && x.kind == y.kind;
}

// Those of both, in the order of threads.
std::vector<Move> moves_of(const Stepper& a, const Stepper& b) {
  std::vector<Move> all = a.moves();
  for (const Move& m : b.moves()) {
    if (std::none_of(all.begin(), all.end(), [&](const Move& o) { return same(o, m); })) {
      all.push_back(m);
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Move& x, const Move& y) {
    return x.thread != y.thread ? x.thread < y.thread : x.kind < y.kind;
  });
  return all;
}

bool offers(const Stepper& s, const Move& m) {
  const std::vector<Move> all = s.moves();
  return std::any_of(all.begin(), all.end(), [&](const Move& o) { return same(o, m); });
}

struct Pair {
  size_t parent = 0;
  Move move;
};

}  // namespace

Difference first_difference(const Scenario& scenario, const model::Design* a,
                            const model::Design* b, const Bounds& bounds, uint64_t max_pairs,
                            const Tick& tick) {
  Difference d;
  Stepper in_a(scenario, a, bounds.busy), in_b(scenario, b, bounds.busy);
  struct Waiting {
    size_t at;
    Stepper::State a, b;
  };
  std::vector<Pair> pairs(1);
  std::unordered_set<std::string> seen = {key_of(in_a, in_b)};
  std::deque<Waiting> frontier;
  frontier.push_back({0, in_a.save(), in_b.save()});
  while (!frontier.empty() && d.bound.empty()) {
    if (tick && !tick()) {
      d.bound = kInterrupted;
      break;
    }
    const Waiting now = std::move(frontier.front());
    frontier.pop_front();
    in_a.restore(now.a);
    in_b.restore(now.b);
    for (const Move& m : moves_of(in_a, in_b)) {
      in_a.restore(now.a);
      in_b.restore(now.b);
      const Done da = offers(in_a, m) ? make(in_a, m) : Done{};
      const Done db = offers(in_b, m) ? make(in_b, m) : Done{};
      if (!da.moved && !db.moved) continue;
      d.in_a = text_of(da);
      d.in_b = text_of(db);
      if (d.in_a != d.in_b) {
        d.found = true;
        d.path.push_back(m);
        for (size_t at = now.at; at != 0; at = pairs[at].parent) d.path.push_back(pairs[at].move);
        std::reverse(d.path.begin(), d.path.end());
        d.pairs = seen.size();
        return d;
      }
      if (!da.breaks.empty() || !seen.insert(key_of(in_a, in_b)).second) continue;
      pairs.push_back({now.at, m});
      frontier.push_back({pairs.size() - 1, in_a.save(), in_b.save()});
      if (seen.size() >= max_pairs) {
        d.bound = "max-states";
        break;
      }
    }
  }
  d.in_a.clear();
  d.in_b.clear();
  d.pairs = seen.size();
  return d;
}

}  // namespace mmucheck::explore
