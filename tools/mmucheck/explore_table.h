// Layer: tools/mmucheck. Contract: many explorations as a table: scenarios by the designs that each
// of them names, or by every row of the design table. What a scenario pins is compared; each
// counterexample is replayed and must break the same rule in its last step.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/explore/pinned.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

// Given on the command line in place of what the scenario says.
struct BoundOptions {
  std::optional<uint64_t> max_states, max_depth;
  std::optional<unsigned> busy, preemptions;
  uint64_t memory_mib = 0;  // 0: none
  unsigned workers = 1;
  bool all = false, self_check = false, like_pages = false, fair = false, partial_order = false;
  bool symmetry = false, hash_compact = false;
  std::string only;  // an invariant; empty: all of them

  explore::Bounds of(const explore::Scenario& scenario) const;
};

// A scenario of a file; throws trace::TraceError.
explore::Scenario read_scenario_file(const Session& session, const std::string& path);

// Where a counterexample goes: `output`, or, where that is empty, NAME-counterexample.txtpb.
std::string counterexample_name(const explore::Scenario& scenario, const std::string& output);
// The file's name.
std::string write_counterexample(const explore::Scenario& scenario,
                                 const std::vector<explore::Packet>& packets,
                                 const std::string& output);

struct TableFile {
  std::string path;
  bool named = false;  // and not found in a directory
};
// Traces of directories are looked up below them, in the order of their names.
std::vector<TableFile> scenario_files(const std::vector<std::string>& paths);

// Stops a search when the user has had enough.
explore::SearchTick stopped_by(const Session& session);

// `paths` are scenarios and directories with some. `designs`: nothing: those that a scenario has
// pinned; a scenario that has none and is named goes by its own, one that was found in a directory
// is passed over.
struct TableRequest {
  std::vector<std::string> paths, designs;
  BoundOptions bounds;
  bool timings = false;
};

// Of an exploration that was not interrupted.
int exit_code_of(const explore::Exploration& x);

// Conflicts that the scenario is about and that were not seen.
nlohmann::ordered_json conflicts_json(const explore::Exploration& x);

// Prints and returns the exit code: 0 where all is as pinned, and where nothing is pinned nothing
// is violated.
int explore_table(const Session& session, const TableRequest& request);

}  // namespace mmucheck::cli
