#include "checker/replay/gfn_walk.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT

GfnWalk walk_root(const VmModel& v, uint32_t root, uint64_t gfn) {
  GfnWalk walk;
  if (root == kNoTable) return walk;
  const uint64_t index = gfn | gfn_root_bits(v.world, root);
  int level = walk.top = role_level(v.world.role(root));
  for (uint32_t table = root; table != kNoTable && level >= kPgLevel4K; level--) {
    walk.entry[level] = v.store.get(cell::pte(table, spte_index<>(index, level)));
    walk.end = level;
    if (level > kPgLevel4K) table = v.world.child_table(walk.entry[level], level);
  }
  return walk;
}

GfnWalk walk_sept(const VmModel& v, uint64_t gfn) {
  GfnWalk walk;
  if (v.world.platform == nullptr) return walk;
  const tdx::TdConfig& td = v.world.platform->tds[0];
  uint32_t table = v.store.find_table(td.sept_root);
  if (table == kNoTable) return walk;
  int level = walk.top = td.top_level() + 1;
  for (; table != kNoTable && level >= kPgLevel4K; level--) {
    const uint64_t e = v.store.get(
        cell::pte(table, static_cast<uint32_t>(tdx::sept_index(gfn << kPageShift, level - 1))));
    walk.entry[level] = e;
    walk.end = level;
    if (!tdx::walk_continues<>(e)) break;
    table = v.store.find_table(tdx::sept_hpa<>(e, level - 1) >> kPageShift);
  }
  return walk;
}

}  // namespace mmucheck::replay
