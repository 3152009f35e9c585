#include "tools/import/ftrace/config_packets.h"

#include "tools/import/ftrace/markers.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

// A PML buffer has 512 entries (vmx.h: PML_ENTITY_NUM -> kvm_arch::cpu_dirty_log_size).
constexpr uint64_t kPmlSize = 512;
// Direct maps of 4-level kernels lie in the top 128 TiB, those of 5-level kernels below.
constexpr uint64_t kFirst4LevelAddress = 0xffff800000000000u;

Event config(EventKind kind) {
  Event e;
  trace::start_event(e, kind);
  return e;
}

std::optional<uint64_t> value_at_start(const SideFiles& files, const FirstSettings& first,
                                       trace::ModuleParam param, std::string_view name) {
  const auto changed = first.find(param);
  if (changed == first.end()) {
    const auto text = files.param(name);
    return text ? module_param_value(*text) : std::nullopt;
  }
  for (const char* module : {"kvm.", "kvm_amd."}) {
    const auto boot = files.cmdline.find(module + std::string(name));
    if (boot == files.cmdline.end()) continue;
    if (const auto value = module_param_value(boot->second)) return value;
  }
  return changed->second != 0 ? 0 : 1;
}

uint64_t dropped(const SideFiles& files) {
  uint64_t sum = 0;
  for (const CpuDrops& cpu : files.drops) sum += cpu.dropped;
  return sum;
}

}  // namespace

void apply_overrides(const FtraceOptions& options, const SideFiles& files, Profile& profile) {
  if (files.kernel.starts_with("6.12")) profile.kernel = trace::KernelVersion::k6_12;
  // 7.3's TDP MMU does the same (its permission check was renamed).
  if (files.kernel.starts_with("7.2") || files.kernel.starts_with("7.3")) profile.kernel = trace::KernelVersion::k7_2;
  if (options.kernel) profile.kernel = *options.kernel;
  if (options.format) profile.format = *options.format;
  if (options.ad_bits) profile.ad_bits = *options.ad_bits;
  if (options.levels) profile.levels = *options.levels;
  if (options.direct_map_base) profile.direct_map_base = *options.direct_map_base;
}

std::string kernel_text(const Profile& profile, const SideFiles& files) {
  if (!files.kernel.empty()) return files.kernel;
  switch (profile.kernel) {
    case trace::KernelVersion::k6_12: return "6.12";
    case trace::KernelVersion::k7_2: return "7.2";
    case trace::KernelVersion::kUnknown: break;
  }
  return {};
}

trace::LossState loss_state(const Profile& profile, const SideFiles& files) {
  if (profile.lost_lines || dropped(files) != 0) return trace::LossState::kLost;
  if (profile.has_header && profile.header_kept != profile.header_written) {
    return trace::LossState::kLost;
  }
  // A full ring without overwrite drops the tail and tells nobody but its statistics.
  if (files.overwrite == false && files.drops.empty()) return trace::LossState::kUnknown;
  return trace::LossState::kNone;
}

std::vector<trace::LostEvents> losses_before_and_after(const Profile& profile,
                                                       const SideFiles& files) {
  std::vector<trace::LostEvents> losses;
  if (profile.has_header && profile.header_written > profile.header_kept) {
    losses.push_back(
        {profile.header_written - profile.header_kept, UINT32_MAX, trace::LossHow::kHeader, 0});
  }
  for (const CpuDrops& cpu : files.drops) {
    if (cpu.dropped != 0) {
      losses.push_back({cpu.dropped, cpu.cpu, trace::LossHow::kRingStats, 0});
    }
  }
  return losses;
}

std::vector<Event> config_packets(const FtraceOptions& options, const SideFiles& files,
                                  const Profile& profile, const FirstSettings& first,
                                  const std::string& text) {
  using trace::ModuleParam;
  std::vector<Event> packets;
  if (profile.kernel != trace::KernelVersion::kUnknown || !text.empty()) {
    Event e = config(EventKind::kKernel);
    if (profile.kernel != trace::KernelVersion::kUnknown) {
      e.set(f::kernel::version, static_cast<uint64_t>(profile.kernel));
    }
    e.text = text;
    packets.push_back(e);
  }

  Event format = config(EventKind::kMmuFormat);
  namespace m = f::mmu_format;
  if (profile.format != trace::SpteFormat::kUnknown) {
    format.set(m::format, static_cast<uint64_t>(profile.format));
  }
  if (profile.ad_bits) format.set(m::ad_bits, *profile.ad_bits);
  if (profile.levels != 0) format.set(m::levels, profile.levels);
  if (profile.maxphyaddr != 0) format.set(m::maxphyaddr, profile.maxphyaddr);
  if (profile.memtype_bits) format.set(m::memtype_bits, *profile.memtype_bits);
  if (profile.direct_map_base) {
    format.set(m::host_levels, *profile.direct_map_base >= kFirst4LevelAddress ? 4 : 5);
  }
  if (format.present != 0) packets.push_back(format);

  Event params = config(EventKind::kModuleParams);
  namespace p = f::module_params;
  const auto put = [&](size_t field, ModuleParam param, std::string_view name) {
    if (const auto v = value_at_start(files, first, param, name)) params.set(field, *v);
  };
  const auto put_bool = [&](size_t field, ModuleParam param, std::string_view name) {
    if (const auto v = value_at_start(files, first, param, name)) params.set(field, *v != 0);
  };
  put_bool(p::nx_huge_pages, ModuleParam::kNxHugePages, "nx_huge_pages");
  if (!params.has(p::nx_huge_pages) && profile.nx_workaround) {
    params.set(p::nx_huge_pages, *profile.nx_workaround);
  }
  put_bool(p::eager_page_split, ModuleParam::kEagerPageSplit, "eager_page_split");
  put_bool(p::mmio_caching, ModuleParam::kMmioCaching, "mmio_caching");
  put(p::nx_recovery_ratio, ModuleParam::kNxRecoveryRatio, "nx_huge_pages_recovery_ratio");
  put(p::nx_recovery_period_ms, ModuleParam::kNxRecoveryPeriodMs,
      "nx_huge_pages_recovery_period_ms");
  put(p::mock_busy_every, ModuleParam::kMockBusyEvery, "mock_busy_every");
  put(p::mock_busy_zap_every, ModuleParam::kMockBusyZapEvery, "mock_busy_zap_every");
  put_bool(p::tdp_mmu, ModuleParam::kUnknown, "tdp_mmu");
  // CONFIG_KVM_PROVE_MMU: tdp_mmu_zap_root() begins with the 1G pass.
  constexpr uint32_t k4k = 1u << 1, k2m = 1u << 2, k1g = 1u << 3;
  if ((profile.zap_levels & k1g) != 0 && (profile.zap_levels & (k4k | k2m)) == 0) {
    params.set(p::prove_mmu, 1);
  }
  if (profile.pml) {
    params.set(p::pml_size, kPmlSize);
  } else if (files.has_meta || profile.kinds.test(static_cast<size_t>(EventKind::kClearDirtyPt))) {
    params.set(p::pml_size, 0);
  }
  if (profile.format == trace::SpteFormat::kEpt && profile.ad_bits) {
    params.set(p::ept_ad_bits, *profile.ad_bits);
  }
  if (options.nx_huge_pages) params.set(p::nx_huge_pages, *options.nx_huge_pages);
  if (options.eager_page_split) params.set(p::eager_page_split, *options.eager_page_split);
  if (params.present != 0) packets.push_back(params);

  Event clock = config(EventKind::kClock);
  clock.set(f::clock::clock,
            static_cast<uint64_t>(profile.counter_clock ? trace::ClockKind::kCounter
                                                        : trace::ClockKind::kNanoseconds));
  packets.push_back(clock);

  Event loss = config(EventKind::kEventLoss);
  const trace::LossState state = loss_state(profile, files);
  loss.set(f::event_loss::state, static_cast<uint64_t>(state));
  if (state == trace::LossState::kLost) {
    uint64_t count = profile.lost_count + dropped(files);
    if (profile.header_written > profile.header_kept) {
      count += profile.header_written - profile.header_kept;
    }
    if (count != 0) loss.set(f::event_loss::count, count);
  }
  packets.push_back(loss);
  return packets;
}

}  // namespace mmucheck::import
