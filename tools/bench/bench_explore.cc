// The race of explore-vs-peers/, searched by the engine of `explore`: one instance, or all that the
// other checkers have given numbers of.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "tools/bench/race_instances.h"

namespace mmucheck::bench {
namespace {

int run_one(const SeptRace& race, const explore::SearchBounds& bounds,
            const explore::Reductions& reductions) {
  const RaceResult x = search_race(race, bounds, reductions);
  const std::string property = property_name(x.property);
  const auto or_null = [&](const std::string& text) { return property.empty() ? "null" : text; };
  fmt::print(
      "{{\"verdict\":\"{}\",\"property\":{},\"states\":{},\"transitions\":{},\"depth\":{},"
      "\"end_states\":{},\"trace_steps\":{},\"state_bytes\":{},\"stored_bytes\":{}}}\n",
      !property.empty()  ? "violated"
      : !x.bound.empty() ? x.bound
      : race.check       ? "holds"
                         : "unchecked",
      or_null('"' + property + '"'), x.states, x.transitions, x.depth, x.end_states,
      or_null(std::to_string(x.trace_steps)), x.bytes, x.memory);
  return property.empty() ? 0 : 1;
}

int run_instances(const std::string& file, uint64_t largest, const explore::SearchBounds& bounds) {
  uint64_t agree = 0, differ = 0, left_out = 0;
  for (const RaceInstance& i : read_race_instances(file)) {
    if (i.states.value_or(0) > largest) {
      left_out++;
      continue;
    }
    const std::string other = disagreement(i, bounds);
    other.empty() ? agree++ : differ++;
    if (!other.empty()) fmt::print("{}: {}\n", i.name, other);
  }
  fmt::print("{} instances agree, {} differ, {} left out\n", agree, differ, left_out);
  return differ == 0 && agree != 0 ? 0 : 1;
}

}  // namespace
}  // namespace mmucheck::bench

int main(int argc, char** argv) {
  using namespace mmucheck;
  bench::SeptRace race;
  explore::SearchBounds bounds;
  explore::Reductions reductions;
  bool count = false;
  std::string file;
  uint64_t largest = ~uint64_t{0};
  CLI::App app("search the populate/zap race of explore-vs-peers/README.md");
  app.require_subcommand(1);
  app.add_option("--threads", bounds.workers, "worker threads")->check(CLI::Range(1, 64));
  app.add_option("--max-states", bounds.max_states, "0: no bound");
  app.add_option("--memory", bounds.max_memory, "bytes; 0: no bound");
  app.fallthrough();
  CLI::App* one = app.add_subcommand("one", "one instance; prints one JSON object");
  one->add_option("V", race.v, "vCPU threads")->required()->check(CLI::Range(1, 8));
  one->add_option("K", race.k, "leaves")->required()->check(CLI::Range(1, 4));
  one->add_option("Z", race.z, "zap threads")->required()->check(CLI::Range(1, 8));
  one->add_option("R", race.r, "rounds")->required()->check(CLI::Range(1, 8));
  one->add_option("LOCKW", race.lockw, "SEAMCALLs in two steps")->required();
  one->add_option("SHARED", race.shared, "zap under the read lock")->required();
  one->add_option("DESIGN", race.naive, "0: freeze, 1: naive")->required();
  one->add_option("RMP", race.rmp, "zap may remove the parent")->required();
  one->add_option("KICK", race.kick, "TRACK kicks");
  one->add_flag("--count", count, "no properties: the whole graph");
  one->add_flag("--partial-order", reductions.partial_order, "with that reduction");
  one->add_flag("--symmetry", reductions.symmetry, "with that reduction");
  one->add_flag("--self-check", reductions.self_check, "of the reductions; slow");
  CLI::App* all = app.add_subcommand("instances", "compares with the numbers of a file");
  all->add_option("FILE", file, "explore-vs-peers/instances.csv")->required();
  all->add_option("--largest", largest, "leave out those of more states");
  CLI11_PARSE(app, argc, argv);
  race.check = !count;
  try {
    return all->parsed() ? bench::run_instances(file, largest, bounds)
                         : bench::run_one(race, bounds, reductions);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
