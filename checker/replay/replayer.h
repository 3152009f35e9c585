// checker/replay: events in, verdict out.
//
// Each stimulus becomes an operation (a machine of the model) on its thread; each observation makes
// its thread go on to the next thing that the recording could show, *before* the observation is
// looked at, and is then compared with it. Inputs wait at their thread until it goes on. Silent
// steps are taken as late as possible: directly before the thread's own next event, which is what
// the kernels' recordings need (prediction of reads that other threads' stores race with).
//
// After a divergence the VM that it belongs to is not followed any more. Limits: kMaxVms live VMs,
// kMaxThreads threads with an unfinished operation.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "checker/replay/operation.h"
#include "checker/replay/probe_arguments.h"
#include "checker/replay/seamcall_busy.h"
#include "checker/replay/vm_model.h"
#include "checker/replay/vm_state.h"
#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

inline constexpr size_t kMaxVms = 4096;
// Of a memslot or a change of attributes: its pages are looked at one by one. 256 GiB.
inline constexpr uint64_t kMaxRangePages = uint64_t{1} << 26;
inline constexpr size_t kMaxThreads = 65536;

// Does an observation of this kind mean that its thread went on to its next visible event? The rest
// is not looked at, or is no thread's (RCU callbacks).
bool is_step(trace::EventKind kind);

// A line of what the model predicts, for `predict`.
using PredictionSink = std::function<void(const trace::Event& at, const Predicted& p)>;

class Replayer {
 public:
  explicit Replayer(const trace::TraceInfo& info);
  ~Replayer();

  void set_prediction_sink(PredictionSink sink) { sink_ = std::move(sink); }

  void event(const trace::Event& e);
  // The end of the trace; `info` as it is then.
  void finish(const trace::TraceInfo& info);

  report::Verdict& verdict() { return verdict_; }
  // Of every live VM, by number.
  std::vector<VmState> state() const;

 private:
  struct SoftExit {
    uint64_t gpa = 0;
    uint64_t error_code = 0;
  };
  struct Thread {
    uint32_t tid = 0;
    uint32_t vm = 0;                    // last VM that it worked for
    uint32_t vcpu = 0;                  // last vCPU that it ran
    uint64_t last_event = 0;            // number of its last stimulus or observation
    trace::EventKind last_kind = trace::EventKind::kNone;  // of that one
    std::vector<Operation> stack;
    PendingInputs in;
    std::vector<Predicted> queue;
    size_t queue_at = 0;
    bool has_result = false;            // of the last page fault
    int64_t result = 0;
    std::optional<uint64_t> accepts;    // gfn that the CPU faulted on: its guest accepts that next
    std::optional<SoftExit> soft_exit;  // whose kvm_page_fault is to come
    int64_t owes_exit = 0;              // error of a vCPU's fault: KVM_RUN must return it
    trace::Event deferred;              // a stimulus whose VM is not known yet
    bool has_deferred = false;
  };

  void config(const trace::Event& e);
  void input(const trace::Event& e);
  void stimulus(const trace::Event& e);
  void observation(const trace::Event& e);
  void lost(const trace::Event& e);
  void doubt_findings();

  Thread& thread(const trace::Event& e);
  VmModel* vm(uint32_t id);
  VmModel* vm_of(const trace::Event& e, Thread& t);
  void create_vm(const trace::Event& e);
  void forget_dead_vms();
  void count_vm(const VmModel& v);
  void forget_operations_of(const VmModel& v);

  // --- operations (replay_start.cc) ---
  bool start(const trace::Event& e, Thread& t, VmModel& v);
  bool start_seamcall(const trace::Event& e, Thread& t, VmModel& v);
  bool too_large(const trace::Event& e, VmModel& v, uint64_t pages);
  void push(Thread& t, VmModel& v, const trace::Event& e, Machine machine);
  model::PageFault page_fault(VmModel& v, uint32_t vcpu, uint64_t gpa, uint64_t error_code);
  uint32_t vcpu_with_root(VmModel& v, const Thread& t, uint64_t root_hpa) const;
  static void settle_current_root(VmModel& v, uint32_t vcpu);
  void run_to_window(const trace::Event& e, Thread& t);
  bool finish_operations(const trace::Event& e, Thread& t);
  void operation_done(Thread& t, Operation& op);
  bool can_fail_with_efault(const Thread& t) const;
  static void take_fault_address(const trace::Event& e, Thread& t);
  static void name_gmem_file(const trace::Event& e, VmModel& v);
  static uint64_t gmem_file(VmModel& v, uint64_t name);

  // --- comparison (replay_compare.cc) ---
  const Predicted* advance(const trace::Event& e, Thread& t);
  void went_on(const trace::Event& e, Thread& t, trace::EventKind kind);
  void start_deferred(const trace::Event& e, Thread& t);
  bool stands_in_the_way(VmModel& v, const model::TdpMmuMap& mine,
                         const model::TdpMmuMap& theirs, bool froze) const;
  std::string busy_surprise(const trace::Event& e, const Thread& t);
  void run_others_first(const trace::Event& e, Thread& t);
  void witness(const trace::Event& e, VmModel& v, uint64_t sptep, uint64_t value);
  bool refs_may_differ(const Thread& t, uint64_t want, uint64_t seen) const;
  void compare(const trace::Event& e, Thread& t, const Predicted& p);
  void diverge(const trace::Event& e, Thread& t, const std::string& expected,
               const std::string& field, uint64_t want, uint64_t seen,
               trace::EventKind expected_kind = trace::EventKind::kNone,
               const Predicted* predicted = nullptr);
  static void explain(const trace::Event& e, VmModel& v, report::Divergence& d);
  void rcu_callback(const trace::Event& e);
  void take_findings(VmModel& v, const trace::Event& e, Thread* t);
  void take_missed(VmModel& v, const trace::Event& e, const Thread* t);
  bool take_violations(const trace::Event& e, const VmModel& v, const report::Divergence& d,
                       const Predicted* p);
  void watch(VmModel& v);
  report::Place place(const trace::Event& e) const;
  void predicted(const trace::Event& e, const Predicted& p);

  HostFacts host_;
  trace::KindSet visible_;
  trace::KindSet silent_;
  ProbeArguments arguments_;
  std::unordered_map<uint32_t, std::unique_ptr<VmModel>> vms_;
  std::unordered_map<uint32_t, trace::Event> vm_configs_;
  std::unordered_map<uint64_t, Thread> threads_;
  report::Verdict verdict_;
  invariant::Tally tally_;
  PredictionSink sink_;
  BusyRule busy_;
  std::optional<Predicted> rcu_expected_;
  // Of the kinds that were probed and never came, what should have come. A probe that missed two of
  // two did not work, whatever is said of it; what is missing once is a difference.
  struct Missed {
    uint64_t count = 0;
    report::Divergence first;
  };
  std::map<trace::EventKind, Missed> missed_;
  uint64_t events_ = 0;
  uint64_t missed_frees_ = 0;
  bool lossy_ = false;
  bool observed_ = false;  // the trace has observations, not stimuli and inputs alone
};

}  // namespace mmucheck::replay
