// Layer: checker/prove. Contract: many obligations, by one solver or by both, in several threads.
//
// Each obligation is decided by one thread in a context of its own, so its result is the same with
// any number of threads; results are handed out by place in the list.
#pragma once

#include <atomic>
#include <future>
#include <string_view>
#include <thread>
#include <vector>

#include "checker/prove/solve.h"

namespace mmucheck::prove {

enum class Solver : uint8_t { kZ3, kCvc5, kBoth };

// With both, a query that one of them gives up on is unknown, and one on which they differ is
// `disagree`; `first.why` says who said what. Values of a counterexample come from Z3 alone.
Result decide_by(Solver solver, const Obligation& obligation, const Limits& limits = {});

// Z3's result with the answers of cvc5 to the same queries.
Result both(const Obligation& obligation, Result z3, const std::vector<Answer>& cvc5);

// As many threads as are of use on this machine.
unsigned default_workers();

class Deciding {
 public:
  Deciding(std::vector<const Obligation*> list, Solver solver, const Limits& limits,
           unsigned workers);
  ~Deciding();  // starts no other obligation, and waits for those that are being decided
  Deciding(const Deciding&) = delete;
  Deciding& operator=(const Deciding&) = delete;

  // Of the k-th of the list, once each; waits for it. After Limits::stop those that are not decided
  // are `interrupted`. Throws what their decision threw.
  Result result(size_t k) { return results_[k].get_future().get(); }

 private:
  void work();

  std::vector<const Obligation*> list_;
  Solver solver_;
  Limits limits_;
  std::vector<std::promise<Result>> results_;
  std::atomic<size_t> next_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace mmucheck::prove
