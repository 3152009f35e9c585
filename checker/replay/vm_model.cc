#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

VmModel::VmModel(uint32_t vm_id, const HostFacts& host, const trace::KindSet& visible)
    : id(vm_id),
      env(store, *host.design, visible),
      world{store, env, *host.design, model::make_spte_format(*host.design, host.mmu), host.mmu,
            {}} {
  env.format = &world.fmt;
  env.eager_split = host.eager_page_split;
  env.noinline_build = host.noinline_build;
  env.reclaim = [this](uint32_t table) { reclaim(table); };
}

void VmModel::reclaim(uint32_t table) {
  const auto state = static_cast<model::SpState>(
      store.get(model::cell::of(model::CellKind::kSpState, table)));
  if (state == model::SpState::kRemoved && model::rcu_run_callback(world, table)) missed_frees++;
}

}  // namespace mmucheck::replay
