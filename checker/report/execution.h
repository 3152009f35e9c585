// Layer: checker/report. Contract: a legal execution that explains a recording which does not name
// its operations: what each thread is taken to have done, in the order of the first lines. The lines
// of one thread belong to at most one operation each; every SPTE change is counted in exactly one.
// Alike operations of a thread in a row stand as one, with their count. gfns are the
// first ones that the entries map, of the range's first and of its last entry.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mmucheck::report {

struct OperationRange {
  std::string effect;  // "map", "zap", "link table", ...
  int as_id = 0;
  uint64_t root = 0;  // 1.. in the order in which roots came into use, as assumed; 0: not known
  int level = 0;
  uint64_t first_gfn = 0, last_gfn = 0;
  uint64_t changes = 0;  // of entries, those of removed tables with them
};

struct Operation {
  std::string kind;
  std::string stimulus;  // the event that asked for it; empty: none is recorded
  uint64_t stimulus_first = 0, stimulus_end = 0;  // its range: bytes of hva, or gfns
  uint32_t thread = 0, cpu = 0;                   // CPU of its first event
  uint64_t first_line = 0, last_line = 0;
  uint64_t count = 1;  // alike ones
  uint64_t changes = 0;
  std::vector<OperationRange> ranges;
};

struct Execution {
  bool asked = false;
  std::vector<Operation> operations;
  uint64_t left_out = 0;           // operations beyond the engine's bound
  uint64_t changes = 0;            // in all operations, those left out with them
  std::vector<std::string> gaps;   // what no operation explains

  bool complete() const { return asked && left_out == 0 && gaps.empty(); }
};

}  // namespace mmucheck::report
