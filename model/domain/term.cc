#include "model/domain/term.h"

namespace mmucheck::model {
namespace {

bool is_const(const TermPtr& t) {
  return t && (t->op == TermOp::kConst || t->op == TermOp::kBoolConst);
}
bool is_value(const TermPtr& t, uint64_t v) { return is_const(t) && t->value == v; }

uint64_t apply(TermOp op, uint64_t a, uint64_t b, uint64_t c, uint64_t shift) {
  switch (op) {
    case TermOp::kAnd: return a & b;
    case TermOp::kOr: return a | b;
    case TermOp::kXor: return a ^ b;
    case TermOp::kNot: return ~a;
    case TermOp::kAdd: return a + b;
    case TermOp::kSub: return a - b;
    case TermOp::kShl: return shift > 63 ? 0 : a << shift;
    case TermOp::kShr: return shift > 63 ? 0 : a >> shift;
    case TermOp::kIte: return a ? b : c;
    case TermOp::kEq: return a == b;
    case TermOp::kUlt: return a < b;
    case TermOp::kBoolAnd: return a && b;
    case TermOp::kBoolOr: return a || b;
    case TermOp::kBoolNot: return !a;
    case TermOp::kConst: case TermOp::kVar: case TermOp::kBoolConst: break;
  }
  return 0;
}

thread_local PathOracle* current_oracle = nullptr;

}  // namespace

TermPtr make_term(TermOp op, TermPtr a, TermPtr b, TermPtr c, uint64_t value) {
  const bool sort_bool = op >= TermOp::kBoolConst;
  const TermOp constant = sort_bool ? TermOp::kBoolConst : TermOp::kConst;
  if (op == TermOp::kIte && is_const(a)) return a->value ? b : c;
  if (is_const(a) && (!b || is_const(b)) && (!c || is_const(c))) {
    const uint64_t v = apply(op, a->value, b ? b->value : 0, c ? c->value : 0, value);
    return std::make_shared<TermNode>(TermNode{constant, v});
  }
  const bool is_and = op == TermOp::kAnd || op == TermOp::kBoolAnd;
  const bool is_or = op == TermOp::kOr || op == TermOp::kBoolOr;
  const uint64_t ones = sort_bool ? 1 : ~uint64_t{0};
  if (is_and && (is_value(a, 0) || is_value(b, ones))) return a;
  if (is_and && (is_value(b, 0) || is_value(a, ones))) return b;
  if (is_or && (is_value(a, 0) || is_value(b, ones))) return b;
  if (is_or && (is_value(b, 0) || is_value(a, ones))) return a;
  if (op == TermOp::kBoolNot && a->op == TermOp::kBoolNot) return a->a;
  return std::make_shared<TermNode>(
      TermNode{op, value, {}, std::move(a), std::move(b), std::move(c)});
}

uint64_t evaluate(const TermPtr& t, const TermEnv& env) {
  if (!t) return 0;
  if (t->op == TermOp::kConst || t->op == TermOp::kBoolConst) return t->value;
  if (t->op == TermOp::kVar) {
    for (const auto& [name, v] : env)
      if (name == t->name) return v;
    return 0;
  }
  return apply(t->op, evaluate(t->a, env), evaluate(t->b, env), evaluate(t->c, env), t->value);
}

bool PathOracle::decide(const TermBool& cond) {
  if (is_const(cond.n)) return cond.n->value != 0;
  if (at_ == taken_.size()) taken_.push_back(true);
  const bool way = taken_[at_++];
  condition_ = condition_ && (way ? cond : !cond);
  return way;
}

bool PathOracle::next() {
  while (!taken_.empty() && !taken_.back()) taken_.pop_back();
  if (taken_.empty()) return false;
  taken_.back() = false;
  return true;
}

bool Term::branch(const Bool& c) {
  if (is_const(c.n)) return c.n->value != 0;  // needs no oracle
  return current_oracle ? current_oracle->decide(c) : true;
}

void with_oracle(PathOracle& oracle, void (*body)(void*), void* arg) {
  PathOracle* saved = std::exchange(current_oracle, &oracle);
  body(arg);
  current_oracle = saved;
}

}  // namespace mmucheck::model
