// Layer: tools/mmucheck. Contract: what every subcommand shares: the global options, how files are
// opened, where output goes, whether the user asked to stop, and the exit code.
#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "checker/trace/open_trace.h"

namespace mmucheck::cli {

// The version of every JSON object that the program prints.
inline constexpr int kJsonSchema = 1;

enum class Color { kAuto, kAlways, kNever };

class Session {
 public:
  bool json = false;
  bool verbose = false;
  Color color = Color::kAuto;
  int exit_code = report::kExitOk;

  // Colour on standard output: a terminal without NO_COLOR, unless --color says otherwise.
  bool use_color() const;

  // Set by the first SIGINT or SIGTERM; the second one ends the program.
  bool stopped() const { return stop_.load(std::memory_order_relaxed); }
  const std::atomic<bool>* stop_flag() const { return &stop_; }
  static void catch_signals();

  // Any file that the program reads; throws trace::TraceError.
  std::unique_ptr<trace::EventSource> open(const std::string& path, bool keep_unknown = false,
                                           const std::string& forced_format = {}) const;

  // Standard output. finish() flushes it and throws std::runtime_error when bytes were lost.
  void print(std::string_view text) const;
  void print_json(const nlohmann::ordered_json& object) const;  // one line
  void finish() const;
  // Standard error, with the program's name in front; never mixed into JSON.
  void note(std::string_view text) const;

  // One clear error for the user, in JSON too where asked for. Returns the exit code.
  int fail(const trace::TraceError& error) const;
  int fail(int code, std::string_view message) const;

 private:
  static std::atomic<bool> stop_;
};

}  // namespace mmucheck::cli
