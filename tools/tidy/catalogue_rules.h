// Layer: tools/tidy. Contract: every invariant is explained and covered. Reads the catalogue
// (checker/invariant/catalogue.def) as text: each INVARIANT(id, ...) has at least a statement and a
// source as non-empty strings, and under traces/ there are a .txtpb that expects
// VIOLATED with `invariant: "id"` and one that expects HOLDS with it (the nearly violating trace).
// An entry may say kNoTrace as long as that pair is missing, and not longer; those are counted.
#pragma once

#include <string>
#include <vector>

#include "tools/tidy/source_tree.h"

namespace mmucheck::tidy {

struct CatalogueCheck {
  bool catalogue_found = false;
  std::vector<std::string> ids;
  size_t untraced = 0;
  std::vector<Finding> findings;
};

CatalogueCheck check_catalogue(const SourceTree& tree);

}  // namespace mmucheck::tidy
