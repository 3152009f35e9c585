#include "checker/prove/cvc5.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "checker/prove/smtlib.h"

namespace mmucheck::prove {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

[[noreturn]] void fail(const char* what, int error) {
  throw std::runtime_error(fmt::format("cvc5: {}: {}", what, std::strerror(error)));
}

struct CloseFile {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// The text as a file that has no name and goes with its last descriptor.
File unnamed_file(const std::string& text) {
  File f(std::tmpfile());
  if (f == nullptr || std::fwrite(text.data(), 1, text.size(), f.get()) != text.size() ||
      std::fflush(f.get()) != 0 || lseek(fileno(f.get()), 0, SEEK_SET) != 0) {
    fail("a temporary file", errno);
  }
  return f;
}

// Reads `text` as its standard input; is killed where it is still there at the end.
class Process {
 public:
  Process(const std::string& text, milliseconds limit) {
    const File input = unnamed_file(text);
    const File errors(std::fopen("/dev/null", "w"));
    int ends[2];
    if (errors == nullptr || pipe(ends) != 0) fail("a pipe", errno);
    out_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(input.get()), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(errors.get()), STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    // Its own limit, a second later: it must not outlive a program that is killed.
    std::string name = "cvc5", language = "--lang=smt2", many = "--incremental";
    std::string bound = fmt::format("--tlimit={}", limit.count() + 1000);
    std::array<char*, 5> arguments = {name.data(), language.data(), many.data(), bound.data(),
                                      nullptr};
    const int error = posix_spawnp(&pid_, "cvc5", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error != 0) {
      close(out_);
      fail("cannot be started", error);
    }
  }
  ~Process() {
    close(out_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      wait();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Appends what has come within `time`; no at the end.
  bool read(std::string& to, milliseconds time) {
    pollfd p = {out_, POLLIN, 0};
    const int ready = poll(&p, 1, static_cast<int>(time.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR)) return true;
    std::array<char, 4096> buffer;
    const ssize_t n = ::read(out_, buffer.data(), buffer.size());
    if (n > 0) to.append(buffer.data(), static_cast<size_t>(n));
    return n > 0 || (n < 0 && errno == EINTR);
  }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
};

std::optional<Answer> answer_of(std::string_view premise, std::string_view negation) {
  const auto known = [](std::string_view word) {
    return word == "sat" || word == "unsat" || word == "unknown";
  };
  if (!known(premise) || !known(negation)) return std::nullopt;
  if (premise == "unsat") return Answer::kVacuous;
  if (premise == "unknown" || negation == "unknown") return Answer::kUnknown;
  return negation == "unsat" ? Answer::kProved : Answer::kRefuted;
}

}  // namespace

bool cvc5_installed() {
  const char* path = std::getenv("PATH");
  if (path == nullptr) return false;
  for (std::string_view rest = path; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const auto program = std::filesystem::path(rest.substr(0, end)) / "cvc5";
    if (access(program.c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::vector<Answer> read_answers(std::string_view output, size_t queries) {
  std::vector<std::string_view> words;
  while (!output.empty()) {
    const size_t end = output.find('\n');
    if (end == std::string_view::npos) break;  // it was stopped within a word
    words.push_back(output.substr(0, end));
    output.remove_prefix(end + 1);
  }
  std::vector<Answer> answers(queries, Answer::kUnknown);
  for (size_t i = 0; i < words.size(); i += 2) {
    const std::string_view second = i + 1 < words.size() ? words[i + 1] : "unknown";
    const std::optional<Answer> a = answer_of(words[i], second);
    if (!a || i / 2 >= queries) {
      throw std::runtime_error(fmt::format("cvc5: \"{}\", \"{}\" is no answer to query {} of {}",
                                           words[i], second, i / 2 + 1, queries));
    }
    answers[i / 2] = *a;
  }
  return answers;
}

Cvc5Answers ask_cvc5(const Obligation& obligation, const std::vector<Query>& queries,
                     const Limits& limits) {
  std::string text;
  for (const Query& q : queries) {
    if (!text.empty()) text += "(reset)\n";
    text += to_smtlib(obligation, q);
  }
  const milliseconds limit(static_cast<int64_t>(limits.seconds * 1000));
  const Clock::time_point end = Clock::now() + limit;
  const auto stopped = [&] { return limits.stop != nullptr && limits.stop->load(); };
  Process cvc5(text, limit);
  std::string output;
  while (cvc5.read(output, milliseconds(50))) {
    if (stopped()) return {{}, true};
    if (Clock::now() >= end) return {read_answers(output, queries.size()), false};
  }
  const int status = cvc5.wait();
  if (stopped() || (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)) return {{}, true};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(fmt::format("cvc5: {}: ended with status {:#x}: {}", obligation.name,
                                         status, output.substr(0, 200)));
  }
  return {read_answers(output, queries.size()), false};
}

}  // namespace mmucheck::prove
