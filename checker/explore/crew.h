// Layer: checker/explore. Contract: worker threads that run one piece of work each and wait for one
// another. The caller is worker 0; with one worker no thread is started. An exception of a worker
// is thrown by run(), that of the first worker that had one.
#pragma once

#include <barrier>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace mmucheck::explore {

class Crew {
 public:
  explicit Crew(unsigned workers);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  unsigned size() const { return static_cast<unsigned>(failures_.size()); }
  // work(0), ..., work(size() - 1), at once; returns when all are done.
  void run(const std::function<void(unsigned)>& work);

 private:
  void do_work(unsigned worker);

  const std::function<void(unsigned)>* work_ = nullptr;  // null: go home
  std::vector<std::exception_ptr> failures_;
  std::barrier<> start_;
  std::barrier<> end_;
  std::vector<std::jthread> threads_;
};

}  // namespace mmucheck::explore
