#include "checker/prove/translate.h"

namespace mmucheck::prove {

using model::TermNode;
using model::TermOp;
using model::TermPtr;

z3::expr Translator::operator()(const TermPtr& t) {
  const auto found = done_.find(t.get());
  if (found != done_.end()) return found->second;
  const z3::expr e = translate(*t);
  done_.emplace(t.get(), e);
  kept_.push_back(t);
  return e;
}

z3::expr Translator::translate(const TermNode& t) {
  const auto shift = [&] { return context_.bv_val(t.value, 64); };
  const auto a = [&] { return (*this)(t.a); };
  const auto b = [&] { return (*this)(t.b); };
  switch (t.op) {
    case TermOp::kConst: return context_.bv_val(t.value, 64);
    case TermOp::kVar: return context_.bv_const(t.name.c_str(), 64);
    case TermOp::kAnd: return a() & b();
    case TermOp::kOr: return a() | b();
    case TermOp::kXor: return a() ^ b();
    case TermOp::kNot: return ~a();
    case TermOp::kAdd: return a() + b();
    case TermOp::kSub: return a() - b();
    case TermOp::kShl: return z3::shl(a(), shift());
    case TermOp::kShr: return z3::lshr(a(), shift());
    case TermOp::kIte: return z3::ite(a(), b(), (*this)(t.c));
    case TermOp::kBoolConst: return context_.bool_val(t.value != 0);
    case TermOp::kEq: return a() == b();
    case TermOp::kUlt: return z3::ult(a(), b());
    case TermOp::kBoolAnd: return a() && b();
    case TermOp::kBoolOr: return a() || b();
    case TermOp::kBoolNot: return !a();
  }
  throw std::logic_error("a Term of no known kind");
}

}  // namespace mmucheck::prove
