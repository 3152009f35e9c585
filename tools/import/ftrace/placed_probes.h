// tools/import/ftrace: which hooks a recording would have shown, had KVM called them.
//
// Contract: the names of the events in `kprobe_events` (tracefs: kprobe_events, "p:GROUP/EVENT
// PLACE ARGS", "r10:GROUP/EVENT PLACE ARGS") tell which probes were set, also of those that never
// fired. Only those on hooks and SEAMCALLs are believed: kvm_x86_ops is called through pointers,
// while a compiler inlines what KVM calls in its own files, and a probe on such a function never
// fires. A list that lacks a probe that fired is another recording's and tells nothing.
#pragma once

#include <string>
#include <vector>

#include "checker/trace/event_source.h"

namespace mmucheck::import {

// Of hooks and SEAMCALLs, those that were probed and are not among the kinds that `occur`.
trace::KindSet silent_kinds(const std::vector<std::string>& probes, const trace::KindSet& occur);

}  // namespace mmucheck::import
