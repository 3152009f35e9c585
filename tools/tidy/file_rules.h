// Layer: tools/tidy. Contract: rules that a file keeps by itself.
//   length    at most kMaxLines lines (the licence text excepted)
//   open ends the words for unfinished work name an owner: "TO" "DO(name)"
//   header    the first thing in a .h is a comment of at least kMinContract characters: its layer
//             and contract
//   paths     no absolute path of somebody's machine
#pragma once

#include <vector>

#include "tools/tidy/source_tree.h"

namespace mmucheck::tidy {

inline constexpr size_t kMaxLines = 600;
inline constexpr size_t kMinContract = 60;

std::vector<Finding> check_files(const SourceTree& tree);

}  // namespace mmucheck::tidy
