// model/domain: the value domain of expression trees.
//
// A Term is an immutable expression over 64-bit unsigned variables. Its Bool is not bool, so a
// rule that branches on data without D::branch does not compile. Constructors fold constants.
// D::branch splits the path: it asks the current PathOracle which way to go; a caller enumerates
// all paths by running the rule again until the oracle has no path left (see for_each_path).
// Only checker/prove translates a Term further; nothing here knows a solver.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mmucheck::model {

enum class TermOp : uint8_t {
  kConst, kVar, kAnd, kOr, kXor, kNot, kAdd, kSub, kShl, kShr, kIte,  // of sort U64
  kBoolConst, kEq, kUlt, kBoolAnd, kBoolOr, kBoolNot,                 // of sort Bool
};

struct TermNode;
using TermPtr = std::shared_ptr<const TermNode>;

struct TermNode {
  TermOp op;
  uint64_t value = 0;     // kConst, kBoolConst; shift amount of kShl and kShr
  std::string name = {};  // kVar
  TermPtr a = {}, b = {}, c = {};
};

// Valuation of the variables of a Term; a missing variable is zero.
using TermEnv = std::vector<std::pair<std::string, uint64_t>>;
uint64_t evaluate(const TermPtr& t, const TermEnv& env);

TermPtr make_term(TermOp op, TermPtr a, TermPtr b = {}, TermPtr c = {}, uint64_t value = 0);

struct TermBool {
  TermPtr n;
  TermBool(bool v) : n(std::make_shared<TermNode>(TermNode{TermOp::kBoolConst, v ? 1u : 0u})) {}
  explicit TermBool(TermPtr p) : n(std::move(p)) {}
};

struct TermU64 {
  TermPtr n;
  TermU64(uint64_t v = 0) : n(std::make_shared<TermNode>(TermNode{TermOp::kConst, v})) {}
  explicit TermU64(TermPtr p) : n(std::move(p)) {}
  static TermU64 variable(std::string name) {
    return TermU64(std::make_shared<TermNode>(TermNode{TermOp::kVar, 0, std::move(name)}));
  }
  TermU64& operator|=(const TermU64& o) { return *this = TermU64(make_term(TermOp::kOr, n, o.n)); }
  TermU64& operator&=(const TermU64& o) { return *this = TermU64(make_term(TermOp::kAnd, n, o.n)); }
};

#define MMU_TERM_BINARY(sym, kind)                                    \
  inline TermU64 operator sym(const TermU64& a, const TermU64& b) {   \
    return TermU64(make_term(TermOp::kind, a.n, b.n));                \
  }
MMU_TERM_BINARY(&, kAnd)
MMU_TERM_BINARY(|, kOr)
MMU_TERM_BINARY(^, kXor)
MMU_TERM_BINARY(+, kAdd)
MMU_TERM_BINARY(-, kSub)
#undef MMU_TERM_BINARY
inline TermU64 operator~(const TermU64& a) { return TermU64(make_term(TermOp::kNot, a.n)); }
// Shift amounts are structural; 64 or more gives zero.
inline TermU64 operator<<(const TermU64& a, int s) {
  return TermU64(make_term(TermOp::kShl, a.n, {}, {}, static_cast<uint64_t>(s)));
}
inline TermU64 operator>>(const TermU64& a, int s) {
  return TermU64(make_term(TermOp::kShr, a.n, {}, {}, static_cast<uint64_t>(s)));
}
inline TermBool operator&&(const TermBool& a, const TermBool& b) {
  return TermBool(make_term(TermOp::kBoolAnd, a.n, b.n));
}
inline TermBool operator||(const TermBool& a, const TermBool& b) {
  return TermBool(make_term(TermOp::kBoolOr, a.n, b.n));
}
inline TermBool operator!(const TermBool& a) {
  return TermBool(make_term(TermOp::kBoolNot, a.n));
}
inline TermBool operator==(const TermU64& a, const TermU64& b) {
  return TermBool(make_term(TermOp::kEq, a.n, b.n));
}
inline TermBool operator!=(const TermU64& a, const TermU64& b) { return !(a == b); }
inline TermBool operator<(const TermU64& a, const TermU64& b) {
  return TermBool(make_term(TermOp::kUlt, a.n, b.n));
}
inline TermBool operator>(const TermU64& a, const TermU64& b) { return b < a; }
inline TermBool operator<=(const TermU64& a, const TermU64& b) { return !(b < a); }
inline TermBool operator>=(const TermU64& a, const TermU64& b) { return !(a < b); }

// Decides branches for one run of a rule and remembers them; next() moves to the next path.
class PathOracle {
 public:
  bool decide(const TermBool& cond);
  bool next();  // false when every path has been taken
  void rewind() { at_ = 0; condition_ = TermBool(true); }
  const TermBool& condition() const { return condition_; }

 private:
  std::vector<bool> taken_;
  size_t at_ = 0;
  TermBool condition_{true};
};

struct Term {
  using U64 = TermU64;
  using Bool = TermBool;

  static U64 ite(const Bool& c, const U64& a, const U64& b) {
    return U64(make_term(TermOp::kIte, c.n, a.n, b.n));
  }
  static bool branch(const Bool& c);

  template <size_t N>
  static U64 lookup(const std::array<uint64_t, N>& table, const U64& i) {
    U64 r = table[N - 1];
    for (size_t k = N - 1; k-- > 0;) r = ite(i == U64(k), U64(table[k]), r);
    return r;
  }
};

// Installs `oracle` for the calls of Term::branch inside `body` (one oracle at a time).
void with_oracle(PathOracle& oracle, void (*body)(void*), void* arg);

// Runs `rule` once for each feasible combination of branch decisions; `sink(result, condition)`
// gets the value of that path and the condition under which it is taken.
template <class Rule, class Sink>
void for_each_path(Rule rule, Sink sink) {
  PathOracle oracle;
  do {
    oracle.rewind();
    struct Call { Rule* rule; Sink* sink; PathOracle* oracle; } call{&rule, &sink, &oracle};
    with_oracle(oracle, [](void* p) {
      auto* c = static_cast<Call*>(p);
      auto result = (*c->rule)();
      (*c->sink)(result, c->oracle->condition());
    }, &call);
  } while (oracle.next());
}

}  // namespace mmucheck::model
