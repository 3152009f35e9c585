// checker/replay: a directory of traces, each compared with the verdict that it must give.
//
// A trace (.txtpb, .pb, also compressed) states its expectation itself; without one it must hold. A
// recording stands in a folder with `expect.json`:
//   {"verdict": "holds", "spte_changes": {"observed": 5674, "predicted": 5674}}
// where each part but the verdict may be missing; the recording is that folder's trace.txt.xz,
// trace.txt.zst, trace.txt.gz or trace.txt. A `designs.json` is a case of its own
// (corpus_designs.h). Folders without expectation are not looked at. Cases run in the order of their
// paths, so the result does not depend on the file system.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

struct CorpusCase {
  std::string path;          // below the directory, with '/'
  std::string trace;         // file that is replayed; empty: those that expect_file names
  std::string expect_file;   // expect.json or designs.json; empty: the trace says it
};

struct CorpusResult {
  CorpusCase what;
  std::string expected;  // e.g. "violated MMU-SPTE-PFN"
  std::string got;
  std::string problem;   // empty: as expected
  int code = report::kExitOk;  // worst of it: 3 for unreadable files, 1 for a wrong verdict
  report::Verdict verdict;
  bool ok() const { return problem.empty(); }
};

using OpenTrace = std::function<std::unique_ptr<trace::EventSource>(const std::string& path)>;

// Throws trace::TraceError when `directory` cannot be listed.
std::vector<CorpusCase> find_corpus(const std::string& directory);

// Never throws for a bad trace or expectation: that is a result.
CorpusResult run_corpus_case(const CorpusCase& what, const OpenTrace& open);

std::string corpus_text(const std::vector<CorpusResult>& results, bool all);
std::string corpus_json(const std::vector<CorpusResult>& results);
std::string corpus_junit(const std::vector<CorpusResult>& results);

}  // namespace mmucheck::replay
