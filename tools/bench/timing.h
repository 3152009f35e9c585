// tools/bench: how the benchmarks measure.
//
// Contract: runs are alternated, so that a machine that slows down slows all of them; a result is
// the best of its runs in seconds of user and system time, and the spread is (worst - best) / best.
// A run in a child of its own also tells its peak resident memory.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace mmucheck::bench {

struct Usage {
  double seconds = 0;  // user and system
  long resident_kb = 0;
  int code = -1;
};

inline double seconds_of(const rusage& usage) {
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// `work` in a child process; its result is the child's exit code (0: well).
inline Usage in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  Usage usage;
  int status = 0;
  rusage spent{};
  if (child < 0 || ::wait4(child, &status, 0, &spent) != child) return usage;
  usage.seconds = seconds_of(spent);
  usage.resident_kb = spent.ru_maxrss;
  usage.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return usage;
}

struct Series {
  std::vector<double> seconds;
  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double spread() const {
    return (*std::max_element(seconds.begin(), seconds.end()) - best()) / best();
  }
};

}  // namespace mmucheck::bench
