#include "tools/mmucheck/session.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::cli {

std::atomic<bool> Session::stop_{false};

void Session::catch_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { stop_.store(true, std::memory_order_relaxed); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // and the second signal ends the program
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Session::use_color() const {
  if (color != Color::kAuto) return color == Color::kAlways;
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && isatty(STDOUT_FILENO) == 1;
}

std::unique_ptr<trace::EventSource> Session::open(const std::string& path, bool keep_unknown,
                                                  const std::string& forced_format) const {
  std::vector<trace::Format> formats = trace::own_formats();
  formats.push_back(import::ftrace_format());
  trace::OpenOptions options;
  options.stop = &stop_;
  options.keep_unknown = keep_unknown;
  options.forced_format = forced_format;
  return trace::open_trace(path, formats, options);
}

void Session::print(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Session::print_json(const nlohmann::ordered_json& object) const {
  print(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void Session::finish() const {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::runtime_error("standard output: cannot be written");
  }
}

void Session::note(std::string_view text) const {
  std::fflush(stdout);
  std::fprintf(stderr, "mmucheck: %.*s\n", static_cast<int>(text.size()), text.data());
}

int Session::fail(const trace::TraceError& error) const {
  if (error.kind() == trace::TraceErrorKind::kInterrupted) {
    return fail(report::kExitInterrupted, error.what());
  }
  return fail(report::kExitInput, error.what());
}

int Session::fail(int code, std::string_view message) const {
  note(message);
  if (json) {
    const nlohmann::ordered_json object = {
        {"schema", kJsonSchema}, {"error", message}, {"exit_code", code}};
    print_json(object);
  }
  return code;
}

}  // namespace mmucheck::cli
