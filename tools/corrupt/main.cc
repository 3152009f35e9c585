// mmucheck-corrupt: a recording in, a corrupted one out, and what was done as JSON on standard
// output, one object a line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <set>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "checker/trace/output_file.h"
#include "tools/corrupt/corruption.h"

namespace mmucheck::corrupt {
namespace {

int run(int argc, char** argv) {
  CLI::App app{"corrupt a recording in a consistent, seeded way"};
  uint64_t seed = 1;
  size_t count = 1;
  std::string class_name, input, output;
  app.add_option("--seed", seed, "first seed")->required();
  app.add_option("--class", class_name, "only this class (default: any, uniformly)");
  app.add_option("--count", count, "how many corruptions, on different lines")
      ->check(CLI::Range(size_t{1}, size_t{10000}));
  app.add_option("input", input, "text of a recording, may be compressed")->required();
  app.add_option("-o,--output", output, "the corrupted text")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  const std::optional<Class> cls = class_named(class_name);
  if (!class_name.empty() && !cls) {
    std::string known;
    for (Class each : kAllClasses) known += std::string(" ") + name_of(each);
    fmt::print(stderr, "mmucheck-corrupt: unknown class {}; known are{}\n", class_name, known);
    return report::kExitUsage;
  }
  try {
    const RecordingText recording(read_text(input));
    const Corrupter corrupter(recording);
    std::vector<Corruption> done;
    std::set<size_t> touched;
    // A seed whose lines are taken gives way to the next; a small recording has only so many lines.
    for (uint64_t tries = 0; done.size() < count && tries < 100 * count; ++tries) {
      std::optional<Corruption> one = corrupter.make(seed + tries, cls);
      if (!one) break;
      bool free = !one->edits.empty();
      for (const Edit& edit : one->edits) free = free && !touched.contains(edit.line);
      if (!free) continue;
      for (const Edit& edit : one->edits) touched.insert(edit.line);
      done.push_back(std::move(*one));
    }
    if (done.size() < count) {
      fmt::print(stderr, "mmucheck-corrupt: {}: only {} of {} corruptions of this class fit\n",
                 input, done.size(), count);
      return report::kExitNothing;
    }
    trace::OutputFile file(output);
    file.write(corrupt::apply(recording, done).text);
    file.commit();
    for (const Corruption& one : done) {
      fmt::print("{}\n", to_json(recording, one).dump(-1, ' ', false,
                                                      nlohmann::json::error_handler_t::replace));
    }
    return report::kExitOk;
  } catch (const trace::TraceError& error) {
    fmt::print(stderr, "mmucheck-corrupt: {}\n", error.what());
    return report::kExitInput;
  }
}

}  // namespace
}  // namespace mmucheck::corrupt

int main(int argc, char** argv) {
  return mmucheck::corrupt::run(argc, argv);
}
