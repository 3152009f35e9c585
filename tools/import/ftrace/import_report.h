// tools/import/ftrace: what an import found, for people.
//
// Contract: counts grow while the source is read and are complete at its end. Printing is
// deterministic: by number descending, then by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checker/trace/event_source.h"

namespace mmucheck::import {

struct ImportReport {
  std::map<std::string, uint64_t> read;     // recorded events by kernel name
  std::map<std::string, uint64_t> written;  // packets that the importer adds, by kind
  std::map<std::string, uint64_t> skipped;  // unknown events by name
  std::map<std::string, uint64_t> bad;      // known events with unreadable text, by name
  uint64_t lines = 0;
  uint64_t malformed = 0;  // lines that are no event at all
  uint64_t first_malformed_line = 0;
  uint64_t overlong = 0;            // lines above the length limit, skipped
  uint64_t outside_direct_map = 0;  // addresses that could not be made physical
  uint64_t untracked_vms = 0;       // sightings of VMs beyond the limit
  uint32_t vms = 0;
  trace::KernelVersion kernel = trace::KernelVersion::kUnknown;
  std::vector<trace::LostEvents> lost;
  trace::KindSet capabilities;
};

// A kind of event whose absence takes something from a checker, and what.
struct CapabilityGap {
  trace::EventKind kind;
  std::string_view missing;
};

// What `capabilities` lack, of what the kernel could have recorded.
std::vector<CapabilityGap> capability_gaps(const trace::KindSet& capabilities,
                                           trace::KernelVersion kernel);

std::string format_report(const ImportReport& report);

}  // namespace mmucheck::import
