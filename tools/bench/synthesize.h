// tools/bench: a long trace out of a short recording.
//
// Contract: the recording, again and again: each time other VMs live from init_vm to destroy_vm,
// after those of the time before, with other VM numbers and later times, so that the whole is a
// legal trace that maps no more memory at once than the recording does. The packets that describe
// the host come once. Throws trace::TraceError.
#pragma once

#include <cstdint>
#include <string>

namespace mmucheck::bench {

// Writes at least `events` events to `out` (.pb); the number written.
uint64_t synthesize(const std::string& recording, uint64_t events, const std::string& out);

}  // namespace mmucheck::bench
