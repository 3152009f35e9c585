#include "tools/mmucheck/explore_forecast.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <memory>

#include "checker/report/text_writer.h"

namespace mmucheck::cli {
namespace {

using explore::Forecast;
using report::with_thousands;
using Clock = std::chrono::steady_clock;
using ForecastJson = nlohmann::ordered_json;

constexpr uint64_t kRateStates = 50'000;  // by which the speed is measured
constexpr double kBeforeForecast = 1;     // seconds

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Two digits: more would be a lie.
std::string about(double n) {
  if (n < 100) return fmt::format("{:.0f}", n);
  const double unit = std::pow(10, std::floor(std::log10(n)) - 1);
  return with_thousands(static_cast<uint64_t>(std::llround(n / unit) * std::llround(unit)));
}

std::string about_time(double seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 120) return fmt::format("about {:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("about {:.0f} min", seconds / 60);
  return fmt::format("about {:.0f} h", seconds / 3600);
}

// Beside a search: walks know neither what these leave out nor, before it is over, who is alike.
bool can_be_told(const explore::Bounds& b) {
  return !b.partial_order && !b.preemptions && !b.symmetry;
}

struct Shown {
  StatusLine line;
  LevelsSeen levels;
  Clock::time_point start = Clock::now();
  std::optional<Forecast> forecast;
  uint64_t states = 0;  // at the last tick
  bool first = true;    // search, of this tick
};

std::string expected_text(const Shown& shown, const explore::SearchProgress& p,
                          uint64_t max_states) {
  if (!shown.forecast || !shown.first) return "";
  double states = shown.forecast->states(shown.levels.so_far()).states;
  states = std::max(states, static_cast<double>(p.states));
  const double left =
      std::min(states, static_cast<double>(max_states)) - static_cast<double>(p.states);
  const double rate = static_cast<double>(p.states) / since(shown.start);
  return fmt::format(", of about {} states, {} left", about(states), about_time(left / rate));
}

}  // namespace

explore::SearchTick progress_tick(const Session& session, const explore::Scenario& scenario,
                                  const model::Design* design, const explore::Bounds& bounds,
                                  double seconds) {
  return [&session, &scenario, design, bounds, seconds,
          shown = std::make_shared<Shown>()](const explore::SearchProgress& p) -> std::string {
    shown->first = shown->first && p.states >= shown->states;
    shown->states = p.states;
    shown->levels.see(p);
    if (!shown->forecast && shown->line.enabled() && !session.json && can_be_told(bounds) &&
        since(shown->start) > kBeforeForecast) {
      const Clock::time_point begin = Clock::now();
      shown->forecast =
          explore::forecast(scenario, design, bounds, {}, [&session] { return session.stopped(); });
      shown->start += Clock::now() - begin;  // the search stood still
    }
    const double passed = since(shown->start);
    shown->line.show([&] {
      return fmt::format("{} states, {:.0f} transitions/s, depth {}, {} to go, {} MiB{}",
                         with_thousands(p.states), static_cast<double>(p.transitions) / passed,
                         p.depth, with_thousands(p.queue), p.memory >> 20,
                         expected_text(*shown, p, bounds.max_states));
    });
    if (session.stopped()) return explore::kInterrupted;
    return seconds != 0 && passed >= seconds ? "time" : "";
  };
}

int run_forecast(const Session& session, const explore::Scenario& scenario,
                 const model::Design* design, const std::string& design_name,
                 const explore::Bounds& bounds) {
  if (bounds.preemptions) {
    return session.fail(report::kExitUsage,
                        "there is no forecast with --preemptions: who moved last is then part of a "
                        "state, and the ways back that a forecast counts by are not told by that");
  }
  explore::Bounds few = bounds;
  few.max_states = std::min(few.max_states, kRateStates);
  few.coverage = 0;
  few.fair = few.self_check = false;
  LevelsSeen levels;
  const Clock::time_point begin = Clock::now();
  const explore::Exploration x =
      explore::explore(scenario, design, few, [&](const explore::SearchProgress& p) {
        levels.see(p);
        return session.stopped() ? explore::kInterrupted : "";
      });
  const double took = std::max(since(begin), 1e-3);
  if (!x.doubts.empty()) return session.fail(report::kExitInconclusive, x.doubts.front());
  if (x.bound == explore::kInterrupted) return report::kExitInterrupted;
  const bool counted = x.bound.empty();
  Forecast f;
  if (!counted) {
    f = explore::forecast(scenario, design, bounds, {}, [&] { return session.stopped(); },
                          x.symmetric);
  }
  const auto known = static_cast<double>(x.states);
  // Levels of a search that leaves out steps are not those of the walks.
  Forecast::Estimate e = f.states(bounds.partial_order ? explore::SearchedSoFar() : levels.so_far());
  if (counted) e = {known, known, known};
  const double seconds = took * e.states / known;
  if (session.json) {
    session.print_json(
        {{"schema", kJsonSchema},
         {"file", scenario.info.file},
         {"design", design_name.empty() ? ForecastJson(nullptr) : ForecastJson(design_name)},
         {"counted", counted},
         {"at_most", !counted && bounds.partial_order},
         {"symmetric", x.symmetric},
         {"states", std::llround(e.states)},
         {"states_low", std::llround(e.low)},
         {"states_high", std::llround(e.high)},
         {"walks", f.walks},
         {"steps", f.steps},
         {"breaks_a_rule", f.violated || x.violation.has_value()},
         {"seconds", seconds}});
    return report::kExitOk;
  }
  if (counted) {
    session.print(fmt::format("forecast  {} states: all were visited{}\n", with_thousands(x.states),
                              x.violation ? ", up to a violation" : ""));
    return report::kExitOk;
  }
  session.print(
      fmt::format("forecast  {}about {} states, between {} and {}{}\n"
                  "          {} random walks, {} steps, behind the first {} states\n",
                  bounds.partial_order ? "at most " : "", about(e.states), about(e.low),
                  about(e.high), f.violated ? ", or fewer: a walk broke a rule" : "",
                  with_thousands(f.walks), with_thousands(f.steps),
                  with_thousands(levels.so_far().states)));
  if (bounds.partial_order) {
    session.print(
        "          without --por: what that leaves out depends on all that threads can still do,\n"
        "          which no walk sees\n");
  }
  for (const auto& group : x.symmetric) {
    session.print(fmt::format("          of threads {} one order\n", fmt::join(group, " = ")));
  }
  session.print(fmt::format(
      "          {} at {} states/s{}\n", about_time(seconds), about(known / took),
      e.states > static_cast<double>(bounds.max_states)
          ? fmt::format("; --max-states {} comes before", with_thousands(bounds.max_states))
          : ""));
  return report::kExitOk;
}

}  // namespace mmucheck::cli
