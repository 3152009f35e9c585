// mmucheck-measure: the table of what the replay notices, over the given recordings; with --lose
// what `complete` says of them when events are missing.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "tools/corrupt/measure.h"
#include "tools/corrupt/measure_lost.h"

namespace mmucheck::corrupt {
namespace {

struct MeasureOptions {
  uint64_t seed = 1;
  size_t count = 10, lose = 0;
  bool per_class = false, alone = false, json = false, quiet = false;
  std::vector<std::string> paths;
  std::string json_file;
};

// The measurement of one recording after the other, printed and written.
template <class Measured, class One>
int measure_all(const MeasureOptions& options, Measured& measurement, const One& one) {
  uint64_t next_seed = options.seed;
  for (const std::string& path : options.paths) {
    if (!options.quiet) fmt::print(stderr, "{}\n", path);
    one(path, next_seed, measurement);
    next_seed += options.count;  // other places in each recording
  }
  const std::string dumped =
      to_json(measurement).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (!options.json_file.empty()) {
    std::ofstream out(options.json_file);
    out << dumped << '\n';
    if (!out.flush()) {
      fmt::print(stderr, "mmucheck-measure: {}: cannot be written\n", options.json_file);
      return report::kExitInternal;
    }
  }
  fmt::print("{}", options.json ? dumped + '\n' : to_text(measurement));
  return measurement.recordings == 0 ? report::kExitNothing : report::kExitOk;
}

int run(int argc, char** argv) {
  CLI::App app{"corrupt recordings in memory, replay them, count what is noticed"};
  MeasureOptions o;
  app.add_option("--seed", o.seed, "first seed");
  app.add_option("--count", o.count, "corruptions of each recording")
      ->check(CLI::Range(size_t{1}, size_t{1000000}));
  app.add_flag("--per-class", o.per_class, "so many of each class instead of in all");
  app.add_option("--lose", o.lose,
                 "take so many events in a row away, too, and ask `mmucheck complete`: COUNT "
                 "times\nas it stands, and for COUNT corruptions of each class")
      ->check(CLI::Range(size_t{1}, size_t{100000}));
  app.add_flag("--alone", o.alone, "with --lose: only as it stands");
  app.add_flag("--json", o.json, "print JSON instead of the table");
  app.add_option("--json-file", o.json_file, "write the JSON there as well");
  app.add_flag("--quiet", o.quiet, "no progress");
  app.add_option("recordings", o.paths, "texts of recordings, may be compressed")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  try {
    if (o.lose != 0) {
      LostMeasurement measurement;
      measurement.lost = o.lose;
      return measure_all(o, measurement,
                         [&](const std::string& path, uint64_t seed, LostMeasurement& into) {
                           measure_lost(path, seed, o.count, o.alone, into);
                         });
    }
    Measurement measurement;
    return measure_all(o, measurement,
                       [&](const std::string& path, uint64_t seed, Measurement& into) {
                         measure(path, seed, o.count, o.per_class, into);
                       });
  } catch (const trace::TraceError& error) {
    fmt::print(stderr, "mmucheck-measure: {}\n", error.what());
    return report::kExitInput;
  }
}

}  // namespace
}  // namespace mmucheck::corrupt

int main(int argc, char** argv) {
  return mmucheck::corrupt::run(argc, argv);
}
