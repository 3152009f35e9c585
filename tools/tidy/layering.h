// Layer: tools/tidy. Contract: who may include whom. A room is a directory (model/spte,
// checker/trace, tools/mmucheck). The rules:
//   tools -> checker -> model; model/tdp, shadow -> tdx -> vm -> store -> spte, design -> address ->
//   domain; checker/{replay,explore,prove,shrink} -> report -> {trace,invariant}; no circles;
//   generated protobuf headers only in checker/trace; Z3 only in checker/prove; model includes the
//   standard library and itself, without clocks, randomness, threads and files.
// A test beside the code may use the test libraries and the headers of the standard library, but
// keeps to the layers.
#pragma once

#include <vector>

#include "tools/tidy/source_tree.h"

namespace mmucheck::tidy {

std::vector<Finding> check_layering(const SourceTree& tree);

}  // namespace mmucheck::tidy
