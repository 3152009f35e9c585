// What becomes of obligations in a mutated tree: "VERDICT NAME" a line, for tools/mutants/run. Not
// a part of the command line, whose build takes ten times as long.
// usage: obligation_verdicts [NAME|GROUP...]
#include <cstdio>

#include "checker/prove/solvers.h"

int main(int argc, char** argv) {
  using namespace mmucheck::prove;
  std::string unknown;
  const auto chosen = select({argv + 1, argv + argc}, unknown);
  if (!chosen) {
    std::fprintf(stderr, "obligation_verdicts: there is no %s\n", unknown.c_str());
    return 2;
  }
  Deciding deciding(*chosen, Solver::kZ3, {}, default_workers());
  for (size_t k = 0; k < chosen->size(); k++) {
    const std::string_view verdict = name_of(deciding.result(k).answer);
    const std::string_view name = (*chosen)[k]->name;
    std::printf("%.*s %.*s\n", static_cast<int>(verdict.size()), verdict.data(),
                static_cast<int>(name.size()), name.data());
  }
  return 0;
}
