// mmucheck-bench-import: reading the text of a recording against trace-cmd printing the same data.
#include <fcntl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "checker/report/verdict.h"
#include "checker/trace/open_trace.h"
#include "tools/bench/timing.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kTarget = 3.0;

int print_with_trace_cmd(const std::string& data, const std::string& out) {
  const int file = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int null = ::open("/dev/null", O_WRONLY);
  if (file < 0 || ::dup2(file, 1) < 0 || ::dup2(null, 2) < 0) return 1;
  ::execlp("trace-cmd", "trace-cmd", "report", "-i", data.c_str(), nullptr);
  return 127;
}

uint64_t import_all(const std::string& path) {
  const std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source = trace::open_trace(path, formats);
  trace::Event event;
  uint64_t events = 0;
  while (source->next(event)) {
    const bool added =
        event.cls == trace::PacketClass::kConfig || event.cls == trace::PacketClass::kInput;
    events += added ? 0 : 1;
  }
  return events;
}

int run(int argc, char** argv) {
  CLI::App app{"import text against trace-cmd report"};
  std::string data = "traces/recorded/full-private/trace.dat";
  size_t runs = 5, times = 10;
  app.add_option("--data", data, "a recording in trace-cmd's binary format");
  app.add_option("--runs", runs, "of each side")->check(CLI::Range(size_t{1}, size_t{100}));
  app.add_option("--times", times, "repetitions in a run")
      ->check(CLI::Range(size_t{1}, size_t{1000}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? report::kExitOk : report::kExitUsage;
  }
  std::string folder = (fs::temp_directory_path() / "mmucheck-bench.XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    fmt::print(stderr, "mmucheck-bench-import: {}: cannot be made\n", folder);
    return report::kExitInput;
  }
  int code = report::kExitOk;
  const std::string text = folder + "/trace.txt";
  try {
    if (in_child([&] { return print_with_trace_cmd(data, text); }).code != 0) {
      fmt::print(stderr, "mmucheck-bench-import: trace-cmd cannot print {}\n", data);
      fs::remove_all(folder);
      return report::kExitInput;
    }
    const uint64_t events = import_all(text);
    Series print, read;
    for (size_t i = 0; i < runs; ++i) {
      double printed = 0, imported = 0;
      for (size_t k = 0; k < times; ++k) {
        printed += in_child([&] { return print_with_trace_cmd(data, "/dev/null"); }).seconds;
        imported += in_child([&] { return import_all(text) == events ? 0 : 1; }).seconds;
      }
      print.seconds.push_back(printed);
      read.seconds.push_back(imported);
    }
    const auto line = [&](const char* name, const Series& s) {
      fmt::print("{:18} {:7.3f} s  spread {:4.1f} %  {:6.0f} ns an event\n", name, s.best(),
                 100 * s.spread(),
                 s.best() * 1e9 / static_cast<double>(times) / static_cast<double>(events));
    };
    fmt::print("{}: {} events, {} times a run\n", data, events, times);
    line("trace-cmd report", print);
    line("import", read);
    fmt::print("ratio {:.2f} (target {:.2f})\n", print.best() / read.best(), kTarget);
  } catch (const trace::TraceError& error) {
    fmt::print(stderr, "mmucheck-bench-import: {}\n", error.what());
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
