// tools/import/ftrace: what a recording workload's markers say about settings.
//
// Contract: reads the text of a tracing_mark_write line of the recordings' own workload programs:
//   PARAM kvm/parameters/NAME=VALUE       -> module_param_set{param, value}
//   ENABLE_CAP cap=168 arg0=0x3           -> enable_cap{name, value} (kvm.h: KVM_CAP_* numbers)
//   ENABLE_CAP MANUAL_DIRTY_LOG_PROTECT2 flags=3
// Field 0 of both kinds is the name, field 1 the value. Any other text gives nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "checker/trace/event_kinds.h"

namespace mmucheck::import {

struct MarkerFacts {
  trace::EventKind kind = trace::EventKind::kNone;
  uint64_t name = 0;
  uint64_t value = 0;
};

// How many of `facts` were filled.
size_t read_marker(std::string_view text, std::span<MarkerFacts, 2> facts);

// "kvm/parameters/nx_huge_pages" or "nx_huge_pages"; kUnknown for others.
trace::ModuleParam module_param(std::string_view name);

// "force" and "Y" are 1, "off" and "N" 0, numbers themselves.
std::optional<uint64_t> module_param_value(std::string_view value);

}  // namespace mmucheck::import
