// checker/replay: hand-written and generated traces: stimuli that run against the model.
//
// A trace without capabilities is one. Its stimuli run in the order of the file: each one to its
// end before the next stimulus of any thread and the next observation of another one, unless its
// thread was told to `step` since, which is how a trace interleaves threads; what is left then runs at
// the thread's next stimulus or at the end. What is seen of an operation behind a stimulus or an
// observation of another thread says the same as a step (overlapping.h, where the source is one). Inputs stand behind their stimulus and hold until it ends.
// Page tables get frames from kFirstFrame on unless a new_table input names one, a fault gets the frame
// that is mapped at its gfn, else one from its gfn, and hosts map 4K pages unless the trace says
// otherwise. A BUSY that is seen of a hook's SEAMCALL is an input as in recordings: whoever holds the
// lock need not be in the trace.
// A `step` with `machine` counts the atomic steps of the model's machines instead of events: mmu_lock
// then excludes, and what is left at the end stays where it is (stepped_state.h, checker/explore);
// where the last steps of all that is left were tried in vain, they are stuck: MMU-LOCK-LIVE. The same
// where what stands behind a marker "loop" ends in the state in which it began, and each thread that
// is not over has stepped in it, or tried in vain: so it can go on for ever.
// An observation makes its thread go on to its next event of one of the kinds that were observed
// since the operation began, or that a trace shows that shows what comes before and behind
// (show_between), and is compared with that one. Where it differs and breaks an invariant
// the verdict is `violated`, otherwise `diverged`; that VM is then not followed any more.
// The design is that of the `design` packet (a row, or a row with changes: "naive,page_pins=yes"),
// else that of the kernel, unless the caller gives one, which then stays. Where a VM has private
// memory, choices that the model does not act on make the verdict inconclusive.
// Limits: kMaxSyntheticVms live VMs, kMaxSyntheticDesigns designs, kMaxSyntheticThreads threads,
// kMaxTasks chunks of 64 pages in one harvest of a dirty log, kMaxHostRanges ranges of host page
// sizes, kMaxShadowLeafs leafs of shadow pages.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checker/replay/operation.h"
#include "checker/replay/synthetic/primitive.h"
#include "checker/replay/vm_state.h"
#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "model/design/spec.h"
#include "model/shadow/shadow_leaf.h"

namespace mmucheck::replay {

inline constexpr size_t kMaxSyntheticVms = 256;
inline constexpr size_t kMaxSyntheticThreads = 4096;
inline constexpr size_t kMaxSyntheticDesigns = 64;
inline constexpr size_t kMaxTasks = 4096;
inline constexpr size_t kMaxHostRanges = 4096;
inline constexpr size_t kMaxShadowLeafs = 65536;     // of a VM
inline constexpr uint64_t kFirstFrame = 0x1000000;   // of page tables
inline constexpr uint64_t kBackingFrame = 0x200000;  // host frame of gfn 0

// Is this a trace that replay must run, rather than compare?
bool is_synthetic(const trace::TraceInfo& info);

class SyntheticReplayer {
 public:
  using Sink = std::function<void(const trace::Event& at, const Predicted& p)>;

  // `design`, where there is one, is what the model does whatever the trace names; it must outlive
  // the replayer.
  explicit SyntheticReplayer(const trace::TraceInfo& info, const model::Design* design = nullptr);
  ~SyntheticReplayer();

  // Every event of these kinds that the model predicts goes to the sink.
  void set_prediction_sink(Sink sink, const trace::KindSet& kinds);

  void event(const trace::Event& e);
  // Runs what began and was not stepped by machine steps to its end, as the next stimulus would.
  void settle();
  void finish(const trace::TraceInfo& info);
  report::Verdict& verdict() { return verdict_; }
  // Of every live VM, by number.
  std::vector<VmState> state() const;
  // That the trace has come to, or was given. Valid as long as this lives.
  const model::Design& design() const { return *host_.design; }
  // nullptr: there is no such VM.
  const VmModel* vm_model(uint32_t number) const {
    const auto at = vms_.find(number);
    return at == vms_.end() ? nullptr : at->second.model.get();
  }
  const invariant::Tally& tally() const { return tally_; }

 private:
  friend class SteppedState;
  struct Task {
    Operation op;
    std::optional<Primitive> primitive;
    bool stepped = false;      // the trace itself says when it goes on
    bool by_machine = false;   // by steps of its machine
    int windows = 0;           // how often a pre-fault has tried
    trace::KindSet observed;   // since it began
  };
  struct Thread {
    uint32_t tid = 0;
    uint64_t last_event = 0;
    uint8_t filter = 0;      // of the unmap that it began last; 0: it began something else
    bool recovers = false;   // huge pages, by what it began last
    bool harvests = false;   // a dirty log
    bool starts_log = false;
    bool ages = false;
    bool populates = false;  // a page of the initial image
    bool private_may_go = true;  // by what it began last
    uint64_t zap_start = 0, zap_end = 0;  // gfns of the last part of the notifier's range
    std::optional<model::Fault> fault;    // the one that it began last, if that was a fault
    std::vector<Task> stack;
    PendingInputs in;
    std::vector<uint64_t> frames;  // of new tables, in order
    std::vector<Predicted> queue;
    size_t queue_at = 0;
  };
  // A page of the shadow MMU: no store has it, and no machine of the model works on it.
  struct ShadowEntry {
    model::ShadowLeaf<> leaf;
    model::MakeSpte made;  // what it was made of last
  };
  struct ShadowPage {
    int level = 0;
    std::map<uint32_t, ShadowEntry> leafs;
  };
  struct Vm {
    std::unique_ptr<VmModel> model;
    std::unique_ptr<invariant::Monitor> monitor;
    std::map<uint64_t, uint64_t> gmem_holes;
    std::set<uint32_t> vcpus;  // created, and not destroyed
    std::map<uint64_t, ShadowPage> shadow_pages;  // by their frames
    size_t shadow_leafs = 0;
  };

  void config(const trace::Event& e);
  void choose_design(const trace::Event& e);
  void input(const trace::Event& e);
  void stimulus(const trace::Event& e);
  void observation(const trace::Event& e);
  void flush_before_end(const trace::Event& e, Thread& t);
  void set_module_param(const trace::Event& e, Thread& t);
  Thread& thread(const trace::Event& e);
  Vm* vm(const trace::Event& e);
  void create_vm(const trace::Event& e);
  void refuse(const trace::Event& e, const std::string& why);

  // --- what a stimulus starts (synthetic_start.cc, synthetic_access.cc) ---
  void start(const trace::Event& e, Thread& t, Vm& v);
  void start_slot(const trace::Event& e, Thread& t, Vm& v);
  void start_range(const trace::Event& e, Thread& t, Vm& v);
  void start_table(const trace::Event& e, Thread& t, Vm& v);
  void start_dirty(const trace::Event& e, Thread& t, Vm& v);
  void start_vcpu(const trace::Event& e, Thread& t, Vm& v);
  void start_fault(const trace::Event& e, Thread& t, Vm& v);
  void start_td(const trace::Event& e, Thread& t, Vm& v);
  void shadow_set_spte(const trace::Event& e, Vm& v);
  void shadow_split(const trace::Event& e, Vm& v);
  void check_shadow(Vm& v, const trace::Event& e, invariant::Id rule, uint64_t given,
                    uint64_t kept);
  void check_gpaw(const trace::Event& e) const;
  bool private_access(const trace::Event& e, Thread& t, Vm& v);
  void destroy_vm(const trace::Event& e, Thread& t, Vm& v);
  void load_root(const trace::Event& e, Thread& t, Vm& v, uint32_t vcpu);
  void guest_access(const trace::Event& e, Thread& t, Vm& v);
  void hw_access(const trace::Event& e, Vm& v);
  void page_fault(const trace::Event& e, Thread& t, Vm& v, model::PageFault m);
  void private_backing(Thread& t, const Vm& v, uint64_t gfn) const;
  uint64_t backing_frame(const Vm& v, uint32_t as_id, uint64_t gfn, bool is_private) const;
  int host_level(const Vm& v, uint32_t as_id, uint64_t gfn) const;
  std::optional<uint32_t> slot_of(const trace::Event& e, Vm& v, size_t slot, size_t as_id);
  void push(Thread& t, Vm& v, const trace::Event& e, Machine machine);
  void push(Thread& t, Vm& v, const trace::Event& e, Primitive primitive);
  void check(Vm& v, const trace::Event& e, invariant::Id rule, bool holds);

  // --- running ---
  model::Run run(const trace::Event& e, Thread& t, Task& task);
  void given_up(VmModel& v, const trace::Event& e, Thread& t, const Operation& op);
  void busy_as_seen(const trace::Event& e, Thread& t) const;
  bool run_to_end(const trace::Event& e, Thread& t);
  model::Run machine_step(const trace::Event& e, Thread& t);
  void look_for(Thread& t, trace::EventKind kind);
  const Predicted* advance(const trace::Event& e, Thread& t);
  void task_done(Thread& t);
  void compare(const trace::Event& e, Thread& t, Vm& v, const Predicted* p);
  void take_findings(VmModel& v, const trace::Event& e, const Thread* t);
  void look_for_stuck();
  void begin_loop(const trace::Event& e);
  void look_for_loop();
  void violated(const trace::Event& e, const Thread* t, invariant::Id rule, std::string before,
                std::string after);

  std::map<std::string, std::unique_ptr<model::OwnedDesign>, std::less<>> own_designs_;
  HostFacts host_;
  bool design_given_ = false;
  bool told_not_modelled_ = false;
  bool names_frames_ = false;  // a packet has named the frame of a page
  uint64_t levels_ = 4;
  bool maxphyaddr_told_ = false;
  trace::KindSet visible_, printed_;
  trace::KindSet shown_;  // observations of the trace so far
  std::map<std::string, trace::KindSet, std::less<>> shown_of_;  // by operation
  Sink sink_;
  invariant::Tally tally_;
  std::map<uint32_t, Vm> vms_;
  std::map<uint32_t, trace::Event> vm_configs_;
  std::map<uint32_t, Thread> threads_;
  report::Verdict verdict_;
  uint64_t events_ = 0;
  model::Run last_run_ = model::Run::kDone;  // of a machine step
  std::set<uint32_t> waiting_;  // threads that could not step since anything changed
  trace::Event last_wait_;
  struct Loop {  // of steps by machine
    std::vector<std::string> begin;   // the state in which it began
    std::set<uint32_t> ran, waited;  // threads that stepped since, or could not
    trace::Event last;
  };
  std::optional<Loop> loop_;
};

}  // namespace mmucheck::replay
