// Checks the house rules that a compiler does not: tidy ROOT. Exit codes: 0 tidy; 1 a rule is
// broken; 2 usage; 3 the tree cannot be read; 4 there is nothing to check.
#include <cstdio>
#include <exception>

#include "tools/tidy/catalogue_rules.h"
#include "tools/tidy/file_rules.h"
#include "tools/tidy/layering.h"

int main(int argc, char** argv) {
  using namespace mmucheck::tidy;
  if (argc != 2) {
    std::fprintf(stderr, "usage: tidy ROOT\n");
    return 2;
  }
  try {
    const SourceTree tree = read_tree(argv[1]);
    std::vector<Finding> findings = check_layering(tree);
    const std::vector<Finding> files = check_files(tree);
    findings.insert(findings.end(), files.begin(), files.end());
    const CatalogueCheck catalogue = check_catalogue(tree);
    findings.insert(findings.end(), catalogue.findings.begin(), catalogue.findings.end());

    for (const Finding& finding : findings) {
      std::printf("%s:%zu: %s\n", finding.path.c_str(), finding.line, finding.message.c_str());
    }
    if (catalogue.catalogue_found) {
      std::printf("%zu invariants in the catalogue, %zu without traces yet\n",
                  catalogue.ids.size(), catalogue.untraced);
    } else {
      std::printf("note: checker/invariant/catalogue.def is not there; its rules were skipped\n");
    }
    std::printf("%zu files, %zu findings\n", tree.size(), findings.size());
    if (tree.empty()) return 4;
    return findings.empty() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tidy: %s\n", error.what());
    return 3;
  }
}
