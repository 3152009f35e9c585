// checker/replay: runs a scripted sequence against the model, operation by operation.
//
// A sequence is JSON Lines: a header (kernel, format, masks, memslots), then one record an
// operation: name, arguments, result, every store, tracepoint, lock, flush, allocation and free in
// order, operations of other tasks nested at the place where they ran, and the state of roots, NX
// list, statistics and a hash of all entries afterwards. The kernel's own tdp_mmu.c wrote it. The
// model gets the arguments, the yields and failures, and must do the rest by itself.
#pragma once

#include <memory>
#include <string_view>

#include "checker/replay/sequence/sequence_env.h"

namespace mmucheck::replay {

class SequenceRunner {
 public:
  SequenceRunner();
  ~SequenceRunner();

  // Feeds one line. False when the line is no valid record; error() says why, and the runner must
  // not be fed further. Limits: sequence_json.h.
  bool line(std::string_view text);

  const std::string& error() const { return error_; }
  uint64_t ops() const { return ops_; }
  uint64_t agree() const { return agree_; }
  bool mirror() const { return mirror_; }
  bool ended() const { return ended_; }
  const std::optional<Difference>& first_difference() const { return first_; }

 private:
  struct State;
  void header(const json& h);
  void record(const json& r);

  std::unique_ptr<State> state_;
  std::string error_;
  std::optional<Difference> first_;
  uint64_t ops_ = 0;
  uint64_t agree_ = 0;
  bool mirror_ = false;
  bool ended_ = false;
};

}  // namespace mmucheck::replay
