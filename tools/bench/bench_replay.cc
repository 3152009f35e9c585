// mmucheck-bench-replay: the rate of the replay against protobuf's parser on the same packets, and
// the memory of ten times the events.
#include <fmt/format.h>
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "checker/replay/replay_trace.h"
#include "checker/report/verdict.h"
#include "checker/trace/open_trace.h"
#include "checker/trace/parse_yardstick.h"
#include "tools/bench/synthesize.h"
#include "tools/bench/timing.h"

namespace mmucheck::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kTargetRatio = 0.35;
constexpr double kTargetGrowth = 1.10;
constexpr double kTargetOfBaseline = 0.50;

int replay_file(const std::string& path) {
  const auto source = trace::open_trace(path, trace::own_formats());
  const report::Verdict verdict = replay::replay_trace(*source);
  return report::exit_code_of(verdict);
}

// The bytes are in memory before the clock starts: the yardstick pays for no reading.
int parse_file(const std::string& path, uint64_t events, double* seconds) {
  std::string bytes(fs::file_size(path), '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) return 1;
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  const uint64_t packets = trace::parse_all_packets(bytes);
  ::getrusage(RUSAGE_SELF, &after);
  *seconds = seconds_of(after) - seconds_of(before);
  return packets >= events ? 0 : 1;
}

int run(int argc, char** argv) {
  CLI::App app{"replay a long synthesized trace"};
  std::string recording = "traces/recorded/full-basic/trace.txt.xz", baseline;
  uint64_t events = 5'000'000;
  size_t runs = 5;
  app.add_option("--recording", recording, "what is repeated");
  app.add_option("--baseline", baseline, "another one: its rate of replay is compared, too");
  app.add_option("--events", events, "at least so many")
      ->check(CLI::Range(uint64_t{1000}, uint64_t{1000000000}));
  app.add_option("--runs", runs, "of each side")->check(CLI::Range(size_t{1}, size_t{100}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  std::string folder = (fs::temp_directory_path() / "mmucheck-bench.XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    fmt::print(stderr, "mmucheck-bench-replay: {}: cannot be made\n", folder);
    return report::kExitInput;
  }
  // What a child measured itself comes back through shared memory.
  void* shared =
      ::mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return report::kExitInternal;
  auto* parse_seconds = static_cast<double*>(shared);
  int code = report::kExitOk;
  try {
    const std::string large = folder + "/large.pb", small = folder + "/small.pb";
    const uint64_t written = synthesize(recording, events, large);
    synthesize(recording, events / 10, small);
    const std::string other = folder + "/baseline.pb";
    const uint64_t others = baseline.empty() ? 0 : synthesize(baseline, events, other);
    fmt::print("{}: {} events, {:.0f} MB\n", recording, written,
               static_cast<double>(fs::file_size(large)) / 1e6);
    std::fflush(stdout);

    Series parse, replay, compared;
    long large_kb = 0, small_kb = 0;
    for (size_t i = 0; i < runs; ++i) {
      const Usage parsed = in_child([&] { return parse_file(large, written, parse_seconds); });
      const Usage replayed = in_child([&] { return replay_file(large); });
      if (parsed.code != 0 || replayed.code != 0) {
        fmt::print(stderr, "mmucheck-bench-replay: parsing gave {}, the replay {}\n", parsed.code,
                   replayed.code);
        code = report::kExitInternal;
        break;
      }
      if (others != 0)
        compared.seconds.push_back(in_child([&] { return replay_file(other); }).seconds);
      parse.seconds.push_back(*parse_seconds);
      replay.seconds.push_back(replayed.seconds);
      large_kb = std::max(large_kb, replayed.resident_kb);
      small_kb = std::max(small_kb, in_child([&] { return replay_file(small); }).resident_kb);
    }
    if (code == report::kExitOk) {
      const auto rate = [](const Series& s, uint64_t n) {
        return static_cast<double>(n) / s.best() / 1e6;
      };
      const auto line = [&](const char* name, const Series& s, uint64_t n) {
        fmt::print("{:16} {:7.3f} s  spread {:4.1f} %  {:6.2f} M events/s\n", name, s.best(),
                   100 * s.spread(), rate(s, n));
      };
      line("ParseFromArray", parse, written);
      line("replay", replay, written);
      if (others != 0) {
        line("baseline", compared, others);
        fmt::print("{}: {:.3f} of the baseline's rate (target {:.2f})\n", recording,
                   rate(replay, written) / rate(compared, others), kTargetOfBaseline);
      }
      fmt::print("ratio {:.3f} (target {:.2f})\n", parse.best() / replay.best(), kTargetRatio);
      fmt::print("peak memory {} KB, with a tenth of the events {} KB: {:.3f} (target {:.2f})\n",
                 large_kb, small_kb, static_cast<double>(large_kb) / static_cast<double>(small_kb),
                 kTargetGrowth);
    }
  } catch (const trace::TraceError& error) {
    fmt::print(stderr, "mmucheck-bench-replay: {}\n", error.what());
    code = report::kExitInput;
  }
  fs::remove_all(folder);
  return code;
}

}  // namespace
}  // namespace mmucheck::bench

int main(int argc, char** argv) {
  return mmucheck::bench::run(argc, argv);
}
