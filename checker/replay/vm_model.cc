#include "checker/replay/vm_model.h"

#include <algorithm>

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

namespace {

// Pages of the module's own that no recording names: TDR, S-EPT root, then the vCPUs' TDVPR.
constexpr uint64_t kTdPages = uint64_t{1} << 38;
constexpr uint64_t kPhysicalPages = uint64_t{1} << 40;

}  // namespace

void VmModel::become_td(int gpaw) {
  tds.push_back({.tdr = kTdPages, .sept_root = kTdPages + 1, .sept_levels = gpaw == 52 ? 5 : 4,
                 .gpaw = gpaw});
  platform.tdmr_pages = kPhysicalPages;
  platform.first_private_hkid = 1;
  platform.version = model::module_version(world.design);
  platform.tds = tds;
  world.platform = &platform;
  model::tdx_td_init(world);
  add_td_vcpu();  // TDCALLs are made by one
}

void VmModel::add_td_vcpu() {
  const auto vcpu = static_cast<uint32_t>(vcpus.size());
  vcpus.push_back({.tdvpr = kTdPages + 2 + vcpu});
  platform.vcpus = vcpus;
  auto module = model::tdx_module(world);
  model::tdx::set_up_vcpu(module, vcpu, model::tdx::kNone, 0);
}

bool VmModel::follow(uint64_t gpa) {
  if (std::find(followed.begin(), followed.end(), gpa) != followed.end()) return true;
  if (followed.size() >= kMaxFollowed) return false;
  followed.push_back(gpa);
  platform.followed = followed;
  return true;
}

void VmModel::reclaim(uint32_t table) {
  const auto state = static_cast<model::SpState>(
      store.get(model::cell::of(model::CellKind::kSpState, table)));
  if (state == model::SpState::kRemoved && model::rcu_run_callback(world, table)) missed_frees++;
}

}  // namespace mmucheck::replay
