#include "tools/import/ftrace/markers.h"

#include "tools/import/ftrace/meta.h"
#include "tools/import/ftrace/text.h"

namespace mmucheck::import {
namespace {

constexpr uint64_t kCapManualDirtyLogProtect2 = 168;  // linux/kvm.h
constexpr uint64_t kCapDirtyLogRing = 192;
constexpr uint64_t kCapDirtyLogRingAcqRel = 223;
constexpr uint64_t kManualProtectEnable = 1, kInitiallySet = 2;

size_t manual_protect(uint64_t flags, std::span<MarkerFacts, 2> facts) {
  using trace::CapabilityName;
  facts[0] = {trace::EventKind::kEnableCap, static_cast<uint64_t>(CapabilityName::kManualProtect),
              (flags & kManualProtectEnable) != 0};
  facts[1] = {trace::EventKind::kEnableCap, static_cast<uint64_t>(CapabilityName::kInitiallySet),
              (flags & kInitiallySet) != 0};
  return 2;
}

size_t enable_cap(Cursor c, std::span<MarkerFacts, 2> facts) {
  uint64_t cap = 0;
  uint64_t argument = 0;
  if (c.take("MANUAL_DIRTY_LOG_PROTECT2 flags=")) {
    return c.take_number(argument) ? manual_protect(argument, facts) : 0;
  }
  if (!c.take("cap=") || !c.take_number(cap) || !c.take_word("arg0=") || !c.take_number(argument)) {
    return 0;
  }
  if (cap == kCapManualDirtyLogProtect2) return manual_protect(argument, facts);
  if (cap == kCapDirtyLogRing || cap == kCapDirtyLogRingAcqRel) {
    facts[0] = {trace::EventKind::kEnableCap,
                static_cast<uint64_t>(trace::CapabilityName::kDirtyRing), argument};
    return 1;
  }
  return 0;
}

}  // namespace

trace::ModuleParam module_param(std::string_view name) {
  using trace::ModuleParam;
  const size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) name = name.substr(slash + 1);
  if (name == "nx_huge_pages") return ModuleParam::kNxHugePages;
  if (name == "eager_page_split") return ModuleParam::kEagerPageSplit;
  if (name == "mmio_caching") return ModuleParam::kMmioCaching;
  if (name == "nx_huge_pages_recovery_ratio") return ModuleParam::kNxRecoveryRatio;
  if (name == "nx_huge_pages_recovery_period_ms") return ModuleParam::kNxRecoveryPeriodMs;
  if (name == "pml") return ModuleParam::kPml;
  if (name == "mock_busy_every") return ModuleParam::kMockBusyEvery;
  if (name == "mock_busy_zap_every") return ModuleParam::kMockBusyZapEvery;
  return ModuleParam::kUnknown;
}

std::optional<uint64_t> module_param_value(std::string_view value) {
  Cursor c(value);
  uint64_t number = 0;
  if (c.take_number(number) && c.at_end()) return number;
  if (const auto truth = param_bool(value)) return *truth ? 1 : 0;
  return std::nullopt;
}

size_t read_marker(std::string_view text, std::span<MarkerFacts, 2> facts) {
  Cursor c(text);
  if (c.take("ENABLE_CAP ")) return enable_cap(c, facts);
  if (!c.take("PARAM ")) return 0;
  const std::string_view setting = c.take_token();
  const size_t equals = setting.find('=');
  if (equals == std::string_view::npos) return 0;
  const trace::ModuleParam param = module_param(setting.substr(0, equals));
  const auto value = module_param_value(setting.substr(equals + 1));
  if (param == trace::ModuleParam::kUnknown || !value) return 0;
  facts[0] = {trace::EventKind::kModuleParamSet, static_cast<uint64_t>(param), *value};
  return 1;
}

}  // namespace mmucheck::import
