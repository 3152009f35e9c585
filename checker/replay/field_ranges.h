// checker/replay: what a packet's numbers may be at all, before anybody asks what they mean.
//
// Of stimuli and inputs: levels, vCPU numbers, address spaces, frames and guest addresses that no
// machine has, and SEAMCALL operands that are no page. They are bad input, not a doubt about the
// verdict. What the operands of a SEAMCALL mean is for the TDX module to say.
#pragma once

#include <cstdint>
#include <string>

#include "checker/trace/event.h"

namespace mmucheck::replay {

inline constexpr uint64_t kVcpuNumbers = 4096 * 4;  // KVM_MAX_VCPU_IDS
inline constexpr uint64_t kFrameLimit = uint64_t{1} << 40;  // 52 address bits
inline constexpr uint64_t kAddressLimit = kFrameLimit << 12;

// Throws trace::TraceError that names the packet, its place and the field.
void check_field_ranges(const std::string& file, const trace::Event& e);

// The same for what only an engine knows.
[[noreturn]] void bad_packet(const std::string& file, const trace::Event& e,
                             const std::string& why);

}  // namespace mmucheck::replay
