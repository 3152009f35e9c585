#include "checker/shrink/shrink.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "checker/trace/event_kinds.h"

namespace mmucheck::shrink {
namespace {

using trace::Event;

class Search {
 public:
  Search(Packets packets, const Fails& fails, const Bounds& bounds, const Tick& tick)
      : fails_(fails), bounds_(bounds), tick_(tick) {
    best_.packets = std::move(packets);
  }

  Shrunk run() {
    do {
      again_ = false;
      drop_packets();
      smaller_together();
      smaller_fields();
    } while (again_ && !over());
    return std::move(best_);
  }

 private:
  bool over() const { return best_.bounded || best_.interrupted; }

  // Keeps `trial` if it fails too.
  bool keeps(Packets trial) {
    if (over()) return false;
    if (best_.runs >= bounds_.max_runs) {
      best_.bounded = true;
      return false;
    }
    if (tick_ && !tick_(best_.runs, best_.packets.size())) {
      best_.interrupted = true;
      return false;
    }
    best_.runs++;
    if (!fails_(trial)) return false;
    best_.packets = std::move(trial);
    again_ = true;
    return true;
  }

  // From the end: what comes last depends on what comes first.
  void drop_packets() {
    size_t size = std::bit_ceil(best_.packets.size());
    while (size > 0 && !over()) {
      bool dropped = false;
      for (size_t end = best_.packets.size(); end > 0 && !over();) {
        const size_t begin = end > size ? end - size : 0;
        Packets trial = best_.packets;
        trial.erase(trial.begin() + static_cast<std::ptrdiff_t>(begin),
                    trial.begin() + static_cast<std::ptrdiff_t>(end));
        dropped |= keeps(std::move(trial));
        end = begin;
      }
      // What could not go before may go now.
      if (!dropped || size > 1) size /= 2;
    }
  }

  static bool is_number(const Event& e, size_t field) {
    const trace::KindInfo& kind = trace::kind_info(e.kind);
    return e.has(field) && ((kind.bool_mask | kind.enum_mask) >> field & 1) == 0;
  }
  // Numbers, and in how many places each of them stands.
  std::map<uint64_t, size_t> numbers() const {
    std::map<uint64_t, size_t> places;
    for (const trace::OwnedEvent& p : best_.packets) {
      const Event e = p.event();
      for (size_t i = 0; i < trace::kMaxFields; i++) {
        if (is_number(e, i)) places[e.f[i]]++;
      }
    }
    return places;
  }
  bool keeps_instead(uint64_t from, uint64_t to) {
    Packets trial = best_.packets;
    for (trace::OwnedEvent& p : trial) {
      const Event e = p.event();
      for (size_t i = 0; i < trace::kMaxFields; i++) {
        if (is_number(e, i) && e.f[i] == from) p.set(i, to);
      }
    }
    return keeps(std::move(trial));
  }
  void smaller_together() {
    for (const auto& [value, places] : numbers()) {
      if (value == 0 || places < 2 || over() || keeps_instead(value, 0)) continue;
      smaller_by_steps(value, [&, now = value](uint64_t to) mutable {
        if (!keeps_instead(now, to)) return false;
        now = to;
        return true;
      });
    }
  }
  // The largest step down that still fails, again and again.
  template <class Try>
  void smaller_by_steps(uint64_t value, Try&& fails_with) {
    for (uint64_t now = value; now > 1 && !over();) {
      uint64_t step = std::bit_floor(now);
      for (; step > 0 && !over(); step /= 2) {
        if (step < now && fails_with(now - step)) break;
      }
      if (step == 0) return;
      now -= step;
    }
  }

  bool keeps_event(size_t at, const Event& e) {
    Packets trial = best_.packets;
    trial[at] = trace::OwnedEvent(e);
    return keeps(std::move(trial));
  }

  void smaller_fields() {
    for (size_t at = 0; at < best_.packets.size() && !over(); at++) {
      for (uint32_t Event::*place : {&Event::cpu, &Event::context}) drop_place(at, place);
      for (size_t field = 0; field < trace::kMaxFields && !over(); field++) {
        smaller_field(at, field);
      }
    }
  }

  void drop_place(size_t at, uint32_t Event::*place) {
    Event e = best_.packets[at].event();
    if (e.*place == 0) return;
    e.*place = 0;
    keeps_event(at, e);
  }

  void smaller_field(size_t at, size_t field) {
    Event e = best_.packets[at].event();
    if (!e.has(field)) return;
    const uint64_t value = e.f[field];
    e.f[field] = 0;
    e.present &= ~(uint32_t{1} << field);
    if (keeps_event(at, e)) return;
    e.set(field, value);
    if (!is_number(e, field) || value == 0) return;
    const auto fails_with = [&](uint64_t v) {
      e.set(field, v);
      return keeps_event(at, e);
    };
    if (!fails_with(0)) smaller_by_steps(value, fails_with);
  }

  const Fails& fails_;
  const Bounds& bounds_;
  const Tick& tick_;
  Shrunk best_;
  bool again_ = false;
};

}  // namespace

Shrunk shrink(Packets packets, const Fails& fails, const Bounds& bounds, const Tick& tick) {
  return Search(std::move(packets), fails, bounds, tick).run();
}

uint64_t field_count(const Packets& packets) {
  uint64_t n = 0;
  for (const trace::OwnedEvent& p : packets) {
    n += static_cast<uint64_t>(std::popcount(p.event().present));
  }
  return n;
}

}  // namespace mmucheck::shrink
