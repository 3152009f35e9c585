// checker/replay/module: what the module answered and changed against what the model did.
#pragma once

#include <optional>
#include <string>

#include "checker/replay/module/module_machine.h"

namespace mmucheck::replay {

struct ModuleDifference {
  int64_t i = -1;
  std::string leaf;
  std::string expected, got;
};

// The first difference, in this order: status, registers, exit, S-EPT entries, PAMT entries, TD.
// Compared is everything that a record has but the data of MEM.RD and MEM.WR.
std::optional<ModuleDifference> compare_module_call(ModuleMachine& m, const ModuleRecord& r);

}  // namespace mmucheck::replay
