#include "checker/invariant/catalogue.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace mmucheck::invariant {
namespace {

using enum Kind;
using enum Scope;

constexpr Invariant kCatalogue[] = {
#define INVARIANT(id, kind, scope, statement, source, status) \
  {id, kind, scope, statement, source, status},
#include "checker/invariant/catalogue.def"
#undef INVARIANT
};

// What unreached.def says, in words.
constexpr std::string_view kSeen =
    "no choice of a design makes KVM do it: a trace breaks it that shows a kernel which does";
constexpr std::string_view kModule =
    "the TDX module of the model keeps it whatever its host does: a trace breaks it that shows another "
    "one";
constexpr std::string_view kBehind =
    "what breaks it breaks another rule in the same step, or before: a search that looks at it alone "
    "finds it (explore --only)";
constexpr std::string_view kShadow = "shadow pages are no part of what is explored";
constexpr std::string_view kEnd = "it is about the end of a VM or of a TD, which no thread comes to";
constexpr std::string_view kCreation =
    "it is about how a VM, a file or a slot is set up, which is done before threads start";

struct Unreached {
  std::string_view id, why;
};
constexpr Unreached kUnreached[] = {
#define UNREACHED(id, why) {id, why},
#include "checker/invariant/unreached.def"
#undef UNREACHED
};

}  // namespace

std::string_view why_unreached(std::string_view id) {
  const auto* at = std::find_if(std::begin(kUnreached), std::end(kUnreached),
                                [&](const Unreached& u) { return u.id == id; });
  return at == std::end(kUnreached) ? std::string_view() : at->why;
}

std::span<const Invariant> catalogue() { return kCatalogue; }

const Invariant* find(std::string_view id) {
  const auto* at = std::find_if(std::begin(kCatalogue), std::end(kCatalogue),
                                [&](const Invariant& i) { return i.id == id; });
  return at == std::end(kCatalogue) ? nullptr : at;
}

std::string_view name_of(Kind kind) {
  constexpr std::array<std::string_view, 3> kNames{"state", "step", "point"};
  return kNames[static_cast<size_t>(kind)];
}

std::string_view name_of(Scope scope) {
  constexpr std::array<std::string_view, 9> kNames{"entry", "table", "root", "walk", "fault",
                                                   "TLB",   "lock",  "slot", "VM"};
  return kNames[static_cast<size_t>(scope)];
}

}  // namespace mmucheck::invariant
