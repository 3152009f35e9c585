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

}  // namespace

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
