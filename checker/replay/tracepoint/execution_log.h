// checker/replay/tracepoint: the operations that the replay takes a recording's events for, as one
// legal execution (report/execution.h): each event of a thread goes to the operation that is under
// way on it, each change by the step that the rules found it to be.
//
// What an operation demands is checked when it ends, and is a gap where it is not met: tables are
// unlinked by the zap of a whole root, which is then empty, or by the recovery of huge pages, where
// that exists; A is cleared for an ageing event; a leaf is installed for a request. Walks go up: one
// that comes back, or passes a leaf that is there, is another operation (or, under one unmap of
// hvas, another memslot). Bounds: kMaxExecution operations and ranges are kept, more are counted in
// left_out; kMaxGaps gaps.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "checker/replay/tracepoint/step.h"
#include "checker/report/execution.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

inline constexpr size_t kMaxExecution = size_t{1} << 18;
inline constexpr size_t kMaxGaps = 64;

// What an operation is taken for.
enum class Op : uint8_t {
  kFault,
  kPreFault,
  kFastFault,
  kUnmap,
  kAge,
  kTestAge,
  kAttributes,
  kZapAll,
  kZapRange,
  kZapRoot,
  kRecovery,
  kProtect,
  kClearDirty,
  kSplit,
  kNewRoot,
  kMmio,
};

struct LoggedChange {
  int as_id = 0;
  uint64_t gfn = 0;
  int level = 0;
  uint32_t root = 0;
  Step step = Step::kNone;
  bool asked = false;   // by the request of this thread
  bool near = false;    // no leaf that is there lies between it and the walk's last change
  bool passed = false;  // one does
};

class ExecutionLog {
 public:
  explicit ExecutionLog(bool on) : on_(on) {}

  // An event that asks for an operation; `first` and `end` of its range, 0 without.
  void begin(const trace::Event& e, Op op, uint64_t first = 0, uint64_t end = 0);
  // kvm_page_fault, or (no fault before) kvm_mmu_spte_requested.
  void fault(const trace::Event& e, uint64_t gfn);
  void request(const trace::Event& e, uint64_t gfn);
  // Belongs to what is under way, or to what begins with the next change.
  void touch(const trace::Event& e);
  void ahead(const trace::Event& e);
  void change(const trace::Event& e, const LoggedChange& c);
  void fast_fault(const trace::Event& e, uint64_t gfn, int level, uint32_t root, bool fixed);
  void installed_in(const trace::Event& e, uint64_t gfn, uint32_t root);
  void failed_split(const trace::Event& e, uint64_t gfn, int level);
  void mmio(const trace::Event& e);
  // The thread is back in user space.
  void end(const trace::Event& e);

  void root_linked(uint32_t root) { roots_.insert(root); }
  void root_emptied(uint32_t root) { roots_.erase(root); }
  // Tables may be unlinked to recover huge pages.
  void may_recover(bool may) { may_recover_ = may; }
  void ages_are_told(bool told) { ages_told_ = told; }

  report::Execution finish();

 private:
  struct Ahead {  // events whose operation shows later
    bool on = false;
    uint64_t first_line = 0, last_line = 0, changes = 0;
    uint32_t cpu = 0;
  };
  struct Running {
    bool on = false;
    bool committed = false;  // a fault: its request came; a zap of a root: a table went
    Op op = Op::kFault;
    report::Operation text;
    uint64_t zaps_line = 0;   // line of the first zap
    uint64_t zaps = 0;        // in the last root
    uint32_t zap_root = 0;
    std::unordered_set<uint32_t> roots;  // where tables were unlinked
    Ahead ahead;
    size_t kept = SIZE_MAX;  // the thread's operation before, in done_
    Op kept_op = Op::kFault;
  };

  Running& of(const trace::Event& e);
  void open(const trace::Event& e, Running& r, Op op);
  void want(const trace::Event& e, Running& r, Op op);
  void zap(const trace::Event& e, Running& r, const LoggedChange& c);
  void unlink(const trace::Event& e, Running& r);
  void add(Running& r, const LoggedChange& c, const char* effect, bool near);
  void close(Running& r);
  bool join(const Running& r);
  void gap(std::string text);

  bool on_;
  bool may_recover_ = false, ages_told_ = true;
  std::unordered_map<uint64_t, Running> threads_;
  std::unordered_set<uint32_t> roots_;  // with something linked
  report::Execution done_;
  size_t kept_ = 0;
};

}  // namespace mmucheck::replay
