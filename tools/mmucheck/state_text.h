// Layer: tools/mmucheck. Contract: the state of a VM's model as text and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "checker/replay/vm_state.h"

namespace mmucheck::cli {

// Lines that end in a newline; numbers are hexadecimal but for counts and epochs. The trees of a VM
// with a mirror root stand side by side, other roots below.
std::string state_text(const replay::VmState& vm);

// {"schema","vm","followed","slots":[…],"private":[…],"invalidation":{…},"roots":[…]}, and of a VM
// with a mirror root "td": {…,"rows":[…],"vcpus":[…]}; gfn, npages and pfn in 4 KiB frames.
nlohmann::ordered_json state_json(const replay::VmState& vm);

}  // namespace mmucheck::cli
