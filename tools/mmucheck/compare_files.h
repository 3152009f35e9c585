// Layer: tools/mmucheck. Contract: what run-tdp and run-module share: files of scripted steps, each
// run against the model, with the count of those that agree and the first that does not.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checker/trace/byte_stream.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

// What a step is called: in JSON its count and its name, in text one and many.
struct StepWords {
  const char *count, *name, *one, *many;
};

struct StepDifference {
  int64_t i = 0;
  std::string name, expected, got;
};

struct ComparedFile {
  uint64_t steps = 0, agree = 0;
  std::optional<StepDifference> first_difference;
};

// Prints a line a file, or {"files":[…]}. Returns the exit code; a file that cannot be read is noted
// and the next one is taken. `compare` throws trace::TraceError.
int compare_files(const std::vector<std::string>& files, Session& session, const StepWords& words,
                  const std::function<ComparedFile(trace::ByteStream& in)>& compare);

}  // namespace mmucheck::cli
