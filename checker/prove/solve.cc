#include "checker/prove/solve.h"

#include <chrono>
#include <stdexcept>

#include "checker/prove/translate.h"

namespace mmucheck::prove {
namespace {

class Questions {
 public:
  Questions(z3::context& context, const Query& query, const Limits& limits)
      : query_(query), context_(context), translate_(context_), solver_(context_, "QF_BV") {
    z3::params p(context_);
    p.set("rlimit", limits.rlimit);
    p.set("timeout", static_cast<unsigned>(limits.seconds * 1000));
    p.set("random_seed", 0u);
    // By default each check takes SIGINT over for the whole process, in every thread.
    p.set("ctrl_c", false);
    solver_.set(p);
  }

  QueryResult answer() {
    QueryResult r;
    solver_.add(translate_(query_.premise.n));
    z3::check_result c = solver_.check();
    if (c == z3::unsat) return {Answer::kVacuous, {}, {}, "nothing satisfies the premise"};
    if (c == z3::sat) {
      solver_.add(!translate_(query_.conclusion.n));
      c = solver_.check();
      if (c == z3::unsat) return {Answer::kProved, {}, {}, {}};
    }
    if (c == z3::unknown) return {Answer::kUnknown, {}, {}, solver_.reason_unknown()};
    r.answer = Answer::kRefuted;
    r.values = smallest();
    confirm(r.values);
    for (const Shown& s : query_.shown) {
      r.derived.emplace_back(s.name, model::evaluate(s.value.n, r.values));
    }
    return r;
  }

 private:
  uint64_t value(const z3::model& m, const z3::expr& v) {
    return m.eval(v, true).get_numeral_uint64();
  }

  // Bit by bit from the top, variable by variable: 0 wherever a counterexample is left.
  Values smallest() {
    Values values;
    z3::model m = solver_.get_model();
    for (const std::string& name : variables_of(query_)) {
      const z3::expr v = context_.bv_const(name.c_str(), 64);
      uint64_t now = value(m, v);
      for (unsigned bit = 64; bit-- > 0;) {
        const z3::expr is_zero = v.extract(bit, bit) == context_.bv_val(0, 1);
        if ((now >> bit & 1) != 0) {
          z3::expr_vector wish(context_);
          wish.push_back(is_zero);
          if (solver_.check(wish) != z3::sat) {
            solver_.add(!is_zero);
            continue;
          }
          m = solver_.get_model();
          now = value(m, v);
        }
        solver_.add(is_zero);
      }
      values.emplace_back(name, now);
    }
    return values;
  }

  // Term evaluates without Z3: a wrong translation cannot pass as a refutation.
  void confirm(const Values& values) const {
    if (model::evaluate(query_.premise.n, values) == 0 ||
        model::evaluate(query_.conclusion.n, values) != 0) {
      throw std::logic_error("Z3's counterexample is none for Term: " + query_.instance);
    }
  }

  const Query& query_;
  z3::context& context_;
  Translator translate_;
  z3::solver solver_;
};

// A context takes longer to make than most questions take to answer.
QueryResult decide_in(z3::context& context, const Query& query, const Limits& limits) {
  try {
    return Questions(context, query, limits).answer();
  } catch (const z3::exception& e) {
    return {Answer::kUnknown, {}, {}, e.msg()};
  }
}

}  // namespace

std::string_view name_of(Answer a) {
  switch (a) {
    case Answer::kProved: return "proved";
    case Answer::kUnknown: return "unknown";
    case Answer::kRefuted: return "refuted";
    case Answer::kVacuous: return "vacuous";
    case Answer::kDisagree: return "disagree";
  }
  return "?";
}

QueryResult decide(const Query& query, const Limits& limits) {
  z3::context context;
  return decide_in(context, query, limits);
}

void count_in(Result& r, const Query& query, QueryResult one) {
  r.queries++;
  r.answers.push_back(one.answer);
  if (one.answer == Answer::kProved) return;
  r.not_proved++;
  if (one.answer == Answer::kRefuted) r.refuted.push_back(query.instance);
  if (one.answer > r.answer) {
    r.answer = one.answer;
    r.instance = query.instance;
    r.first = std::move(one);
  }
}

Result decide(const Obligation& obligation, const Limits& limits) {
  using Seconds = std::chrono::duration<double>;
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] { return Seconds(std::chrono::steady_clock::now() - begin).count(); };
  Result r;
  z3::context context;
  for (const Query& query : obligation.queries()) {
    if (limits.stop != nullptr && limits.stop->load(std::memory_order_relaxed)) {
      r.interrupted = true;
      break;
    }
    Limits left = limits;
    left.seconds -= passed();
    if (left.seconds <= 0) {
      count_in(r, query, {Answer::kUnknown, {}, {}, "timeout"});
    } else {
      count_in(r, query, decide_in(context, query, left));
    }
  }
  r.milliseconds = passed() * 1000;
  return r;
}

}  // namespace mmucheck::prove
