// mmucheck-fuzz: damaged input for one reader, for a bounded number of inputs or seconds.
//
// The inputs are a function of the seed, so that a failure can be made again: on a crash the number
// of the input is printed, and --only N --save FILE writes it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "tools/fuzz/mutator.h"
#include "tools/fuzz/targets.h"

namespace mmucheck::fuzz {
namespace {

char g_current[96];  // what the signal handler prints

void on_crash(int signal) {
  const ssize_t ignored = ::write(STDERR_FILENO, g_current, std::strlen(g_current));
  static_cast<void>(ignored);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

void note_current(const char* what, uint64_t seed, uint64_t number) {
  const auto end = fmt::format_to_n(g_current, sizeof g_current - 1,
                                    "mmucheck-fuzz: {}: seed {}, input {}\n", what, seed, number);
  *end.out = '\0';
}

int run(int argc, char** argv) {
  CLI::App app{"feed damaged input to a reader and to what follows it"};
  const std::map<std::string, Target> targets{{"pb", Target::kPb},
                                              {"txtpb", Target::kTxtpb},
                                              {"ftrace", Target::kFtrace},
                                              {"sequence", Target::kSequence},
                                              {"module", Target::kModule},
                                              {"handwritten", Target::kHandwritten},
                                              {"scenario", Target::kScenario},
                                              {"design", Target::kDesign},
                                              {"ledger", Target::kLedger}};
  Target target = Target::kPb;
  std::string corpus = "traces", save;
  uint64_t seed = 1, inputs = UINT64_MAX, only = UINT64_MAX;
  double seconds = 10;
  unsigned slow = 10;
  app.add_option("target", target, "which reader")
      ->option_text("pb|txtpb|handwritten|ftrace|sequence|module|scenario|design|ledger")
      ->required()
      ->transform(CLI::CheckedTransformer(targets));
  app.add_option("--corpus", corpus, "the folder traces/");
  app.add_option("--seed", seed, "first of all");
  app.add_option("--inputs", inputs, "stop after so many");
  app.add_option("--seconds", seconds, "stop after this time");
  app.add_option("--slow", slow, "an input that takes longer (seconds) is a hang")
      ->check(CLI::Range(1u, 3600u));
  app.add_option("--only", only, "feed the input of this number alone");
  app.add_option("--save", save, "write the last input fed to this file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGALRM}) std::signal(signal, on_crash);

  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  try {
    Mutator mutator(seed, seeds_of(target, corpus));
    uint64_t fed = 0, refused = 0;
    const auto start = Clock::now();
    for (uint64_t number = 0; number < inputs && (only != UINT64_MAX || since(start) < seconds);
         ++number) {
      const std::string bytes = mutator.next(is_text(target));
      if (only != UINT64_MAX && number < only) continue;
      if (number > only) break;
      note_current("crash or hang", seed, number);
      ::alarm(slow);
      if (!save.empty()) std::ofstream(save, std::ios::binary) << bytes;
      try {
        refused += feed(target, bytes).refused ? 1 : 0;
      } catch (const std::exception& error) {
        fmt::print(stderr, "mmucheck-fuzz: seed {}, input {}: {}\n", seed, number, error.what());
        return report::kExitInternal;
      }
      ::alarm(0);
      ++fed;
    }
    fmt::print("{} inputs, {} refused, {} read to their end\n", fed, refused, fed - refused);
    return fed > 0 && fed > refused ? report::kExitOk : report::kExitNothing;
  } catch (const trace::TraceError& error) {
    fmt::print(stderr, "mmucheck-fuzz: {}\n", error.what());
    return report::kExitInput;
  }
}

}  // namespace
}  // namespace mmucheck::fuzz

int main(int argc, char** argv) {
  return mmucheck::fuzz::run(argc, argv);
}
