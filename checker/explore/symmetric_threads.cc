#include "checker/explore/symmetric_threads.h"

#include <algorithm>

#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {
namespace {

using trace::Event;
using trace::FieldType;

bool same_but_names(const Event& a, const Event& b) {
  if (a.kind != b.kind || a.text != b.text) return false;
  const auto fields = trace::kind_info(a.kind).fields;
  for (size_t i = 0; i < fields.size(); i++) {
    if (fields[i].type == FieldType::kHex || fields[i].name == "vcpu_id") continue;
    if (a.has(i) != b.has(i) || a.get(i) != b.get(i)) return false;
  }
  return true;
}

bool same_but_names(const std::vector<Operation>& a, const std::vector<Operation>& b) {
  const auto packet = [](const Packet& x, const Packet& y) {
    return same_but_names(x.event(), y.event());
  };
  const auto operation = [&](const Operation& x, const Operation& y) {
    return std::equal(x.packets.begin(), x.packets.end(), y.packets.begin(), y.packets.end(),
                      packet);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), operation);
}

}  // namespace

ThreadGroups candidates(const Scenario& scenario, const ThreadPairs& apart) {
  ThreadGroups groups;
  uint64_t permutations = 1;
  for (const auto& [tid, operations] : scenario.threads) {
    const auto joins = [&](const std::vector<uint32_t>& group) {
      return permutations * (group.size() + 1) <= kMostPermutations &&
             same_but_names(operations, scenario.threads.at(group.front())) &&
             std::none_of(group.begin(), group.end(),
                          [&](uint32_t other) { return apart.contains(std::minmax(other, tid)); });
    };
    const auto group = std::find_if(groups.begin(), groups.end(), joins);
    if (group == groups.end()) {
      groups.push_back({tid});
    } else {
      group->push_back(tid);
      permutations *= group->size();
    }
  }
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  return groups;
}

}  // namespace mmucheck::explore
