#include "checker/prove/smtlib.h"

#include <fmt/format.h>

#include <unordered_map>

namespace mmucheck::prove {
namespace {

using model::TermNode;
using model::TermOp;
using model::TermPtr;

const char* symbol_of(TermOp op) {
  switch (op) {
    case TermOp::kAnd: return "bvand";
    case TermOp::kOr: return "bvor";
    case TermOp::kXor: return "bvxor";
    case TermOp::kNot: return "bvnot";
    case TermOp::kAdd: return "bvadd";
    case TermOp::kSub: return "bvsub";
    case TermOp::kShl: return "bvshl";
    case TermOp::kShr: return "bvlshr";
    case TermOp::kIte: return "ite";
    case TermOp::kEq: return "=";
    case TermOp::kUlt: return "bvult";
    case TermOp::kBoolAnd: return "and";
    case TermOp::kBoolOr: return "or";
    case TermOp::kBoolNot: return "not";
    case TermOp::kConst:
    case TermOp::kVar:
    case TermOp::kBoolConst: break;
  }
  return "";
}

class Writer {
 public:
  // The text of `t`; definitions of shared nodes go to out() first.
  std::string text(const TermPtr& t) {
    if (t->op == TermOp::kConst) return fmt::format("#x{:016x}", t->value);
    if (t->op == TermOp::kBoolConst) return t->value != 0 ? "true" : "false";
    if (t->op == TermOp::kVar) return t->name;
    const auto found = names_.find(t.get());
    if (found != names_.end()) return found->second;
    std::string body = fmt::format("({}", symbol_of(t->op));
    for (const TermPtr& part : {t->a, t->b, t->c}) {
      if (part) body += " " + text(part);
    }
    if (t->op == TermOp::kShl || t->op == TermOp::kShr) body += fmt::format(" #x{:016x}", t->value);
    body += ")";
    if (uses_[t.get()] < 2) return body;
    const std::string name = fmt::format("t{}", names_.size());
    out_ += fmt::format("(define-fun {} () {} {})\n", name,
                        t->op >= TermOp::kBoolConst ? "Bool" : "(_ BitVec 64)", body);
    names_.emplace(t.get(), name);
    return name;
  }

  void count(const TermPtr& t) {
    if (!t || uses_[t.get()]++ > 0) return;
    count(t->a);
    count(t->b);
    count(t->c);
  }

  std::string take() { return std::exchange(out_, {}); }

 private:
  std::string out_;
  std::unordered_map<const TermNode*, std::string> names_;
  std::unordered_map<const TermNode*, size_t> uses_;
};

}  // namespace

std::string to_smtlib(const Obligation& o, const Query& q) {
  std::string s = fmt::format("; {}: {}\n; {}\n", o.name, o.statement, o.source);
  if (!q.instance.empty()) s += fmt::format("; {}\n", q.instance);
  s += "(set-logic QF_BV)\n";
  for (const std::string& name : variables_of(q)) {
    s += fmt::format("(declare-const {} (_ BitVec 64))\n", name);
  }
  Writer w;
  w.count(q.premise.n);
  w.count(q.conclusion.n);
  const std::string premise = w.text(q.premise.n);
  s += w.take() + fmt::format("(assert {})\n(check-sat) ; the premise: sat\n", premise);
  const std::string conclusion = w.text(q.conclusion.n);
  s += w.take() + fmt::format("(assert (not {}))\n(check-sat) ; unsat is a proof\n", conclusion);
  return s;
}

std::string smtlib_file_name(const Obligation& obligation, size_t k) {
  return fmt::format("{}.{}.smt2", obligation.name, k);
}

}  // namespace mmucheck::prove
