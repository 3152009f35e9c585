#include "checker/prove/obligation.h"

#include <algorithm>
#include <set>

#include "checker/prove/groups.h"

namespace mmucheck::prove {
namespace {

void collect(const model::TermPtr& t, std::set<const model::TermNode*>& seen,
             std::vector<std::string>& names) {
  if (!t || !seen.insert(t.get()).second) return;
  if (t->op == model::TermOp::kVar &&
      std::find(names.begin(), names.end(), t->name) == names.end()) {
    names.push_back(t->name);
  }
  collect(t->a, seen, names);
  collect(t->b, seen, names);
  collect(t->c, seen, names);
}

}  // namespace

const std::vector<Obligation>& obligations() {
  static const std::vector<Obligation> all = [] {
    std::vector<Obligation> r;
    for (const auto group :
         {address_obligations, walk_obligations, iter_obligations, range_obligations,
          root_obligations, filter_obligations, slot_obligations, change_obligations,
          spte_obligations, shadow_obligations, sept_obligations, sept_call_obligations,
          tlb_obligations, lock_obligations, freeze_obligations, order_obligations,
          busy_obligations}) {
      for (Obligation& o : group()) r.push_back(o);
    }
    return r;
  }();
  return all;
}

std::optional<std::vector<const Obligation*>> select(const std::vector<std::string>& names,
                                                     std::string& unknown) {
  const auto fits = [](const Obligation& o, const std::string& name) {
    return o.name == name || o.group() == name;
  };
  for (const std::string& name : names) {
    if (std::none_of(obligations().begin(), obligations().end(),
                     [&](const Obligation& o) { return fits(o, name); })) {
      unknown = name;
      return std::nullopt;
    }
  }
  std::vector<const Obligation*> chosen;
  for (const Obligation& o : obligations()) {
    if (names.empty() || std::any_of(names.begin(), names.end(),
                                     [&](const std::string& name) { return fits(o, name); })) {
      chosen.push_back(&o);
    }
  }
  return chosen;
}

std::vector<std::string> variables_of(const Query& query) {
  std::set<const model::TermNode*> seen;
  std::vector<std::string> names;
  collect(query.premise.n, seen, names);
  collect(query.conclusion.n, seen, names);
  return names;
}

}  // namespace mmucheck::prove
