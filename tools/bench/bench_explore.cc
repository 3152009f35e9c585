// The race of explore-vs-peers/, searched by the engine of `explore`: one instance, or all that the
// other checkers have given numbers of.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "checker/trace/open_trace.h"
#include "model/design/spec.h"
#include "tools/bench/race_instances.h"
#include "tools/bench/sept_projection.h"

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

struct ProjectOptions {
  std::string file, design = "upstream-7.x";
  uint64_t first_gfn = 0x10;
};

void print_alone(const char* side, const std::map<SharedState, std::string>& states,
                 unsigned leafs) {
  for (const auto& [state, reason] : states) {
    fmt::print("{:5} alone  {}\n             {}\n", side, text_of(state, leafs),
               reason.empty() ? "NOT EXPLAINED" : reason);
  }
}

int project(const SeptRace& race, const ProjectOptions& o) {
  const auto source = trace::open_trace(o.file, trace::own_formats());
  const model::ParsedDesign parsed = model::parse_design_spec(o.design);
  if (parsed.design == nullptr) throw std::runtime_error(parsed.error);
  const Projection x = compare(
      race, states_of(explore::read_scenario(*source), &parsed.design->design, o.first_gfn, race.k));
  fmt::print("race: {} states, model under {}: {}, both: {}\n", x.of_race, o.design, x.of_model,
             x.both);
  print_alone("race", x.race_only, race.k);
  print_alone("model", x.model_only, race.k);
  return x.explained() ? 0 : 1;
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
  bench::ProjectOptions to;
  CLI::App* project = app.add_subcommand(
      "project", "the shared states of the race (V=2, Z=1, R=1, RMP=0) and of a scenario");
  project->add_option("FILE", to.file, "traces/scenarios/sept-race/two-vcpus.txtpb")->required();
  project->add_option("--design", to.design, "a row of designs; naive: the race's too")
      ->capture_default_str();
  project->add_option("--leafs", race.k, "K")->check(CLI::Range(1, 4));
  CLI11_PARSE(app, argc, argv);
  race.check = !count;
  if (project->parsed()) {
    race.rmp = false;
    race.naive = to.design.starts_with("naive");
  }
  try {
    if (project->parsed()) return bench::project(race, to);
    return all->parsed() ? bench::run_instances(file, largest, bounds)
                         : bench::run_one(race, bounds, reductions);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
