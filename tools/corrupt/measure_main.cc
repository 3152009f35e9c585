// mmucheck-measure: the table of what the replay notices, over the given recordings.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "tools/corrupt/measure.h"

namespace mmucheck::corrupt {
namespace {

int run(int argc, char** argv) {
  CLI::App app{"corrupt recordings in memory, replay them, count what is noticed"};
  uint64_t seed = 1;
  size_t count = 10;
  bool per_class = false, json = false, quiet = false;
  std::vector<std::string> paths;
  std::string json_file;
  app.add_option("--seed", seed, "first seed");
  app.add_option("--count", count, "corruptions of each recording")
      ->check(CLI::Range(size_t{1}, size_t{1000000}));
  app.add_flag("--per-class", per_class, "so many of each class instead of in all");
  app.add_flag("--json", json, "print JSON instead of the table");
  app.add_option("--json-file", json_file, "write the JSON there as well");
  app.add_flag("--quiet", quiet, "no progress");
  app.add_option("recordings", paths, "texts of recordings, may be compressed")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  try {
    Measurement measurement;
    uint64_t next_seed = seed;
    for (const std::string& path : paths) {
      if (!quiet) fmt::print(stderr, "{}\n", path);
      measure(path, next_seed, count, per_class, measurement);
      next_seed += count;  // other places in each recording
    }
    const std::string dumped =
        to_json(measurement).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (!json_file.empty()) {
      std::ofstream out(json_file);
      out << dumped << '\n';
      if (!out.flush()) {
        fmt::print(stderr, "mmucheck-measure: {}: cannot be written\n", json_file);
        return report::kExitInternal;
      }
    }
    fmt::print("{}", json ? dumped + '\n' : to_text(measurement));
    return measurement.rows.empty() ? report::kExitNothing : report::kExitOk;
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
