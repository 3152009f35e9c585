// checker/replay: what a configuration, input or stimulus packet says, for the engines that run the
// model. What they read differently (the format, a page frame's defaults) stays theirs.
#pragma once

#include "checker/replay/vm_model.h"
#include "model/design/design.h"

namespace mmucheck::replay {

// The design of a kernel; one that is not known counts as the newest.
const model::Design* design_of(trace::KernelVersion kernel);

// mmu_format without its format.
void take_mmu_format(const trace::Event& e, model::HostMmu& host);
void take_module_params(const trace::Event& e, HostFacts& host);
// module_param_set: `host` from now on; a VM that lives already follows with follow_host().
void take_module_param_set(const trace::Event& e, HostFacts& host);
void follow_host(const HostFacts& host, VmModel& v);

// An input that waits for the next step of its thread; false: `e` is none of these.
bool take_pending_input(const trace::Event& e, PendingInputs& in);

// vcpu_role or capability.
void take_vm_fact(const trace::Event& e, VmModel& v);

}  // namespace mmucheck::replay
