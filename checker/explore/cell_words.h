// Layer: checker/explore. Contract: what kernel and module call what a cell holds, for readers.
#pragma once

#include "model/store/cell.h"

namespace mmucheck::explore {

const char* words_of(model::CellKind kind);

}  // namespace mmucheck::explore
