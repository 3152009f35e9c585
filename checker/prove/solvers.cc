#include "checker/prove/solvers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "checker/prove/cvc5.h"

namespace mmucheck::prove {
namespace {

std::string gave_up(const Limits& limits) {
  return fmt::format("cvc5: no answer within {:g} s", limits.seconds);
}

Result by_cvc5(const Obligation& o, const Limits& limits) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Query> queries = o.queries();
  const Cvc5Answers cvc5 = ask_cvc5(o, queries, limits);
  Result r;
  r.interrupted = cvc5.interrupted;
  for (size_t i = 0; i < cvc5.answers.size(); i++) {
    QueryResult one{cvc5.answers[i], {}, {}, {}};
    if (one.answer == Answer::kUnknown) one.why = gave_up(limits);
    if (one.answer == Answer::kVacuous) one.why = "nothing satisfies the premise";
    count_in(r, queries[i], one);
  }
  r.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return r;
}

}  // namespace

Result both(const Obligation& o, Result z3, const std::vector<Answer>& cvc5) {
  const std::vector<Query> queries = o.queries();
  for (size_t i = 0; i < z3.answers.size(); i++) {
    const Answer mine = z3.answers[i];
    const Answer other = i < cvc5.size() ? cvc5[i] : Answer::kUnknown;
    const bool open = other == Answer::kUnknown;
    if (mine == other || mine == Answer::kUnknown) continue;
    if (open && mine == Answer::kRefuted) continue;  // Term has confirmed its values
    const Answer now = open ? Answer::kUnknown : Answer::kDisagree;
    if (mine == Answer::kProved) z3.not_proved++;
    z3.answers[i] = now;
    if (now <= z3.answer) continue;
    z3.answer = now;
    z3.instance = queries[i].instance;
    z3.first = {now,
                {},
                {},
                fmt::format("Z3: {}; cvc5: {}", name_of(mine),
                            open ? "no answer in time" : name_of(other))};
  }
  return z3;
}

Result decide_by(Solver solver, const Obligation& o, const Limits& limits) {
  if (solver == Solver::kCvc5) return by_cvc5(o, limits);
  Result z3 = decide(o, limits);
  if (solver == Solver::kZ3 || z3.interrupted) return z3;
  const Result cvc5 = by_cvc5(o, limits);
  z3.interrupted = cvc5.interrupted;
  z3.milliseconds += cvc5.milliseconds;
  return cvc5.interrupted ? z3 : both(o, std::move(z3), cvc5.answers);
}

unsigned default_workers() {
  return std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
}

Deciding::Deciding(std::vector<const Obligation*> list, Solver solver, const Limits& limits,
                   unsigned workers)
    : list_(std::move(list)), solver_(solver), limits_(limits), results_(list_.size()) {
  for (unsigned i = 0; i < workers && i < list_.size(); i++) {
    threads_.emplace_back([this] { work(); });
  }
}

Deciding::~Deciding() {
  next_ = list_.size();
}

void Deciding::work() {
  for (size_t k = next_++; k < list_.size(); k = next_++) {
    try {
      results_[k].set_value(decide_by(solver_, *list_[k], limits_));
    } catch (...) {
      results_[k].set_exception(std::current_exception());
    }
  }
}

}  // namespace mmucheck::prove
