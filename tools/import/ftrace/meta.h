// tools/import/ftrace: what a recording's side files add to its text.
//
// Contract: `meta.txt` beside the trace ("key: value" lines: kernel, trace_clock, options, cmdline,
// "param MODULE/parameters/NAME: VALUE" as they were when the recording ended), `ring-stats.txt`
// (the per_cpu stats files of tracefs) and `kprobe_events` (as tracefs prints it). All are
// optional; what is absent or unreadable stays unset; nothing here fails. At most 1 MiB of each is
// read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::import {

struct CpuDrops {
  uint32_t cpu = 0;
  uint64_t dropped = 0;  // events refused because the buffer was full (options/overwrite = 0)
  uint64_t overrun = 0;  // events overwritten, missing at the start
};

struct SideFiles {
  bool has_meta = false;
  std::string kernel;  // "6.12.117"
  std::optional<bool> overwrite;
  std::map<std::string, std::string, std::less<>> params;   // "kvm/parameters/nx_huge_pages" -> "N"
  std::map<std::string, std::string, std::less<>> cmdline;  // "kvm.nx_huge_pages" -> "force"
  std::vector<CpuDrops> drops;
  std::vector<std::string> probes;  // by the names of their events; see placed_probes.h

  // The parameter NAME of any module: kvm before kvm_amd and kvm_intel.
  std::optional<std::string> param(std::string_view name) const;
};

// "Y", "1", "on", "force" and "auto" are true (kvm: set_nx_huge_pages), "N", "0", "off", "never"
// false.
std::optional<bool> param_bool(std::string_view value);

void parse_meta(std::string_view text, SideFiles& files);
void parse_ring_stats(std::string_view text, SideFiles& files);
void parse_kprobe_events(std::string_view text, SideFiles& files);

// Side files of the trace at `trace_path`; empty ones for "-".
SideFiles read_side_files(const std::string& trace_path);

}  // namespace mmucheck::import
