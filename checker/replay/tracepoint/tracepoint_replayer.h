// checker/replay/tracepoint: replay of what lacks probes, or events: tracepoints alone, lossy or
// partial recordings.
//
// No VM, root or table is named there, but where kprobes are recorded as well (probes.cc), and why
// an entry is zapped is not said. So nothing is predicted; each change must be *legal*: `old` is
// what the entry can have, `new` follows from it and from the request in flight on that thread by
// the rules of model/spte, and the events of a thread stand in the order in which the kernel's
// functions emit them. Where two tables answer to one gfn, both explanations are kept
// (entry_book.h).
//
// A tracepoint is printed some time after its store, so another thread's next change of the entry
// may come first: what does not fit waits for kLateEvents events (or while the removal of a table
// is under way) for the change that explains it, which must be the other thread's next event; then
// it is a divergence at its own place.
//
// After lost events the state is forgotten: a change that does not fit is counted as unknown then,
// while the rules that need no history still bind. Bounds: what exceeds EntryBook's
// or kMaxTpThreads makes the verdict inconclusive; kMaxHeld changes that wait are judged at once;
// kMaxFindings are kept.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "checker/replay/tracepoint/doubt.h"
#include "checker/replay/tracepoint/entry_book.h"
#include "checker/replay/tracepoint/execution_log.h"
#include "checker/replay/tracepoint/legal_values.h"
#include "checker/replay/tracepoint/missing.h"
#include "checker/replay/tracepoint/rules.h"
#include "checker/replay/tracepoint/step.h"
#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

inline constexpr uint64_t kLateEvents = 4096;
// Between a store under mmu_lock and its tracepoint other CPUs tell of fewer events.
inline constexpr uint64_t kSurelyLate = 256;
inline constexpr size_t kMaxHeld = 4096;
inline constexpr size_t kMaxTpThreads = 65536;
inline constexpr size_t kMaxFindings = 256;
inline constexpr size_t kMaxPassed = 65536;

class TracepointReplayer {
 public:
  // `execution`: also say which operations explain the recording.
  explicit TracepointReplayer(const trace::TraceInfo& info, bool execution = false);

  void event(const trace::Event& e);
  void finish(const trace::TraceInfo& info);

  report::Verdict& verdict() { return verdict_; }

  // Events may be lost from here on. What waits for another thread's tracepoint waits in vain then,
  // but where that may still be under way, or was not made under mmu_lock.
  void losses_begin();
  // Every divergence with what it lacks, as it is found.
  void set_lacking_sink(LackingSink sink) { lacking_sink_ = std::move(sink); }
  int root_level() const { return root_level_; }
  // Are all tables known that are there now? Of TDs and with 5 levels: no.
  bool knows_tables() const;
  // How many of them have an entry of that level for the gfn; a root that nothing used yet counts
  // for each address space.
  size_t tables_at(int as_id, int level, uint64_t gfn) const;
  const ValueFacts& values() const { return values_; }

  // Forgets what events that these CPUs lost here may have changed; see doubt.h.
  void doubt(const Doubts& doubts, const LostCpus& lost);
  // What an entry holds, in each table that has one at the place.
  struct EntryValue {
    int as_id = -1;
    uint32_t vm = 0;
    uint64_t table = 0, spte = 0;  // the table's page, 0 for none that is known
    bool operator==(const EntryValue&) const = default;
  };
  std::vector<EntryValue> entries_at(const EntryPlace& entry) const;
  // Of a map of the entry, of a link there and of the removal of the table below, on one of these
  // CPUs: was the request, the kvm_mmu_get_page, the kvm_mmu_prepare_zap_page told, and the rest
  // not yet? How many entries are present in the table and below it, at least?
  struct Pending {
    bool request = false, link = false, removal = false;
    size_t present = 0;
  };
  Pending pending_at(const EntryPlace& entry, const LostCpus& lost) const;
  // May the recording have such events, and does it?
  bool tells(trace::EventKind k) const { return sees(k); }
  bool records(trace::EventKind k) const {
    return caps_known_ && caps_.test(static_cast<size_t>(k));
  }
  // Probes of threads on these CPUs may be missing from here on, and so which table they are at.
  void forget_probes(const LostCpus& lost);
  // The bits of gfns that tell shared from private, as far as known.
  uint64_t direct_bits() const { return direct_bits_; }
  void learn_direct_bits(uint64_t bits) {
    direct_bits_ |= bits;
    values_.td = values_.td || bits != 0;
  }

 private:
  struct Fault {  // kvm_page_fault
    bool on = false, used = false;
    uint64_t gfn = 0, at = 0;
  };
  struct Request {  // kvm_mmu_spte_requested
    bool on = false, installed = false, mmio = false, shared = false;
    uint64_t gfn = 0, pfn = 0, value = 0, at = 0;
    int level = 0;
  };
  struct Expect {  // an event that must be the thread's next
    bool on = false;
    uint64_t gfn = 0, value = 0;
    int level = 0;
    report::Place place;
  };
  struct Block {  // the removal of a table
    uint64_t gfn = 0, pfn = 0, first_leaf = 0;
    int level = 0;
    size_t next = 0, seen = 0;
    bool gap = false, hole = false;
    bool resumed = false;  // where it began is not told
    int as_id = -1;        // -1: not told yet
    report::Place place;
  };
  struct Passed {  // the thread's last changes, for the order of a walk
    uint64_t gfn = 0;
    int level = 0, as_id = 0;
    Step step = Step::kNone;
  };
  struct Walk {  // the table and the leaf that the thread zapped last, nothing else since
    uint64_t table = 0, gfn = 0;
    int level = 0;
  };
  struct Attributes {  // kvm_vm_set_mem_attributes: nothing else of the thread since but zaps
    uint64_t first = 0, end = 0;
  };
  struct Probed {  // handle_changed_spte was entered, its tracepoint has not come
    int as_id = -1, level = 0;
    uint64_t gfn = 0, old_spte = 0, new_spte = 0;
    uint64_t table = 0;  // page; 0: not recorded
    bool mirror = false;
  };
  struct Walked {  // tdp_iter_start, and no other since
    bool on = false;
    bool begins = false;  // its first tdp_iter_restart is to come
    uint16_t called = 0;  // kinds of changes that came with a call of handle_changed_spte
    int as_id = 0;
    uint64_t root = 0;  // page; 0: not recorded
    // The last change, with the shared bit if it is printed.
    uint64_t gfn = 0;
    int level = 0;  // 0: none
  };
  struct NewTable {  // tdp_mmu_init_sp, and no kvm_mmu_get_page since
    uint64_t page = 0, gfn = 0;
    int level = 0;
  };
  struct Thread {
    Fault fault;
    Request req;
    Expect link;   // kvm_mmu_get_page came, its link has not
    Expect split;  // the link of a split came, its own event has not
    Expect zap;    // 6.12: the parent's change came, prepare_zap_page has not
    Expect mmio;   // an MMIO entry was installed, mark_mmio_spte has not come
    std::vector<Block> blocks;
    Passed last, before;
    Walk walk;
    Attributes attributes;
    int run = 0;                     // changes in one go of one kind
    bool unsure = false;             // events of it may be missing,
    bool removal_unsure = false;     // and since then it may be removing a table
    bool no_fault = false;           // what fault it is in may be missing
    uint64_t now = 0, previous = 0;  // numbers of its last two events
    uint64_t link_at = 0;            // of the last kvm_mmu_get_page
    uint32_t cpu = 0;
    bool stayed = false;             // another CPU lost events since its last one,
    bool fault_may_be_lost = false;  // and since its last fault
    // Of kprobes, where these are recorded.
    std::vector<Probed> entered;
    bool answered = false;  // a call was followed by its tracepoint
    Walked walked;
    NewTable made;
  };
  struct Change {
    int as_id = 0;  // -1: any
    uint64_t gfn = 0;
    int level = 0;
    uint64_t old_spte = 0, new_spte = 0;
    uint32_t thread = 0, vm = 0;
    uint64_t at = 0;               // number of its event
    uint64_t table = 0, root = 0;  // pages of the entry's table and of its root; 0: not told
  };
  struct Entry {
    uint64_t gfn = 0;
    int level = 0;
  };
  struct Held {  // waits for another thread's event
    Change c;
    bool witness = false;                      // only a value that was read
    bool excused = false;                      // what it waits for may be lost
    bool late = false;                         // it may be told long behind
    uint64_t since = 0, at = 0, deadline = 0;  // event numbers
    report::Place place;
    std::vector<Missing> lacks;
  };

  // --- tracepoint_replayer.cc ---
  void take(const trace::Event& e);
  void tick(const trace::Event& e, Thread& t);
  void moved(const trace::Event& e, Thread& t);
  void config(const trace::Event& e);
  void lost();
  Thread& thread(const trace::Event& e);
  static Thread unknown_thread();
  uint64_t plain_gfn(uint64_t gfn) const;
  void learn_direct_bit(const Thread& t, uint64_t gfn);
  void learn_direct_bit_of_zap(const trace::Event& e, const Thread& t);
  void settle(const trace::Event& e, Thread& t);
  void settle_change(const trace::Event& e, Thread& t);
  bool sees(trace::EventKind k) const { return !caps_known_ || caps_.test(static_cast<size_t>(k)); }

  // --- probes.cc: what kprobes tell of changes ---
  void probe(const trace::Event& e, Thread& t);
  void entered_change(const trace::Event& e, Thread& t);
  void no_call_left(const trace::Event& e, Thread& t);
  void told_by_probes(const trace::Event& e, Thread& t, Change& c);
  bool lacks_call(Thread& t, const Change& c, bool called);
  bool may_be_of(const TableRow& row, const Change& c) const;
  bool is_surely_of(const TableRow& row, const Change& c) const;
  const TableRow* surely_of(const Change& c) const;
  void learn_page(TableRow& row, const Change& c);
  bool fits(const TableRow& row, const Change& c) const {
    return row.fits(c.as_id, c.vm) && may_be_of(row, c);
  }

  // --- protocol.cc: the events of a thread but changes ---
  void page_fault(const trace::Event& e, Thread& t);
  static void doubt_fault(Thread& t);
  void requested(const trace::Event& e, Thread& t);
  void set_spte(const trace::Event& e, Thread& t);
  void check_private(const trace::Event& e, const Thread& t, const Request& req,
                     const TableRow& row);
  void fast_page_fault(const trace::Event& e, Thread& t);
  void get_page(const trace::Event& e, Thread& t);
  void split_huge_page(const trace::Event& e, Thread& t);
  void mark_mmio(const trace::Event& e, Thread& t);
  void check_mmio(const trace::Event& e);

  // --- changes.cc: one change of one entry ---
  void spte_changed(const trace::Event& e, Thread& t);
  Step judge(const trace::Event& e, Thread& t, const Change& c, bool removed_below,
             uint64_t first_leaf);
  Step judge_leaf(const trace::Event& e, Thread& t, const Change& c, bool removed_below,
                  uint64_t first_leaf);
  Step judge_link(const trace::Event& e, Thread& t, const Change& c);
  void new_table(const trace::Event& e, const Change& c, uint32_t root);

  // --- walk.cc: a walk over the leafs of a range, and where its changes are logged ---
  void check_order(const trace::Event& e, Thread& t, const Change& c, Step step);
  void walk_on(const trace::Event& e, Thread& t, const Change& c, Step step);
  bool pass(const trace::Event& e, const Thread& t, const Change& c, const TableRow& row,
            size_t from);
  report::Place place_left(const TableRow& row, size_t index, const report::Place& otherwise) const;
  void not_passed(const TableRow& row, size_t index);
  void log_event(const trace::Event& e, const Thread& t);

  // --- removal.cc ---
  void prepare_zap(const trace::Event& e, Thread& t);
  void removed_child(const trace::Event& e, Thread& t, const Change& c, bool below);
  void resume_removal(const trace::Event& e, Thread& t, const Change& c);
  void close_block(const trace::Event& e, Thread& t, uint64_t pfn);
  void drop_table(const trace::Event& e, const Block& b, uint64_t pfn);
  void close_all(const trace::Event& e, Thread& t);

  // --- chain.cc: old and new ---
  void apply(const trace::Event& e, const Change& c, TableRow* hint);
  bool fit(const Change& c, TableRow* hint);
  void guess(const Change& c);
  bool guessed_wrong(const Change& c, const TableRow& sure);
  void store(TableRow& row, const Change& c);
  void witness(const trace::Event& e, Change c, uint64_t since);
  bool seen_since(const Change& c, uint64_t since) const;
  void retry_held();
  void expire(bool all);
  bool waits_for(const Held& h) const;
  bool may_be_fixed(const Held& h, uint64_t from) const;
  bool may_come_late(const Held& h) const;
  bool is_being_removed(int level, uint64_t gfn) const;

  // --- doubt.cc ---
  void doubt_threads(const LostCpus& lost);
  enum class Doubted : uint8_t { kChange, kLink, kRelink };
  void doubt_entries(const Doubts& doubts, bool link);
  void doubt_entry(const EntryPlace& entry, Doubted how, size_t links, bool split);
  void doubt_link(const EntryPlace& entry, uint64_t fill, size_t links);
  void doubt_removed(const EntryPlace& entry);
  void settle_link(const Change& c);
  bool may_hold(const TableRow& row, const Change& c) const;
  void learn_linked(const Change& c);
  bool must_link(const TableRow& row, size_t i) const;
  void erase(TableRow* row);
  void erase_below(TableRow* row);
  TableRow* table_below(const TableRow& row, size_t i) const;
  size_t present_in(const TableRow& row) const;
  bool doubted_since(int level, uint64_t gfn, uint64_t since) const;
  bool may_be_linked(int level, uint64_t gfn) const;

  // --- missing.cc: what the next divergence lacks; nothing without a sink ---
  // Before: 0 is the event of now. The result is valid until the next; nullptr: nothing is noted.
  Missing* lack(std::vector<trace::Event> events, uint64_t before = 0, uint64_t since = 0);
  // Nothing else of the thread comes in between.
  void lack_next(const Thread& t, std::vector<trace::Event> events);
  void lack_prepare_zap(const trace::Event& e, const Thread& t, const Expect& zap);
  void lack_split(const trace::Event& e, const Thread& t, const Expect& split);
  void lack_mmio(const trace::Event& e, const Thread& t, const Expect& mmio);
  void lack_set_spte(const trace::Event& e, const Thread& t, const Request& req);
  void lack_unlink(const trace::Event& e, uint64_t gfn, int level, bool nested);
  void lack_children(const trace::Event& e, const Block& b, size_t from, size_t end);
  std::vector<Missing> lacking_now(const trace::Event& e, const Change& c);
  void lack_step(const trace::Event& e, const TableRow& row, const Change& c);
  void lack_table(const trace::Event& e, const Change& c);
  void lack_another(const trace::Event& e, const Change& c);
  void lack_tables(const trace::Event& e, const Change& c, int top, bool root);
  std::vector<trace::Event> missing_map(const trace::Event& e, const Change& c, bool ahead) const;
  void missing_removal(const trace::Event& e, const TableRow& row, size_t index, uint64_t becomes,
                       std::vector<trace::Event>& events) const;

  report::Place place(const trace::Event& e) const;
  void diverge(const trace::Event& e, TpRule rule, std::string expected,
               std::string value_expected = {}, std::string value_seen = {});
  void diverge_at(report::Place at, std::string observed, TpRule rule, std::string expected,
                  std::string value_expected, std::string value_seen);
  void inconclusive(const std::string& reason);

  trace::KindSet caps_;
  bool caps_known_ = false;
  bool late_parent_ = false;  // 7.x: a removed table's parent entry is traced last
  bool early_spurious_ = false;
  int root_level_ = 4;
  ValueFacts values_;
  uint64_t direct_bits_ = 0;

  std::unordered_set<uint32_t> mirrored_vms_;

  EntryBook book_;
  ExecutionLog log_;
  uint32_t applied_root_ = 0;          // of the last change that found its table
  const TableRow* applied_ = nullptr;  // nullptr: none, or gone
  // By table and index: where a walk last went past a leaf that it left.
  std::unordered_map<uint64_t, report::Place> passed_;
  std::unordered_map<uint64_t, Thread> threads_;
  std::deque<Held> held_;
  std::vector<Change> recent_;
  size_t recent_at_ = 0;
  uint64_t now_ = 0;
  uint64_t previous_ = 0;  // event before this one of its thread
  Entry early_;            // whose change is told only now, long after its store
  bool forgot_ = false;    // events are missing somewhere before: tables may exist unseen
  bool lossy_ = false;     // events are missing somewhere
  bool started_ = false;
  bool nx_ever_ = false;  // the NX workaround was on at some time

  struct Counts {
    uint64_t unknown = 0, host_writable = 0, prefetch = 0, root = 0, cause = 0, ad = 0, late = 0,
             failed = 0;
    uint64_t changes = 0, bad = 0;
    std::array<uint64_t, 16> broken{};
  } n_;
  std::vector<uint64_t> last_line_;  // by CPU
  std::unordered_set<std::string> reasons_;
  LackingSink lacking_sink_;
  std::vector<Missing> lacks_;
  std::optional<EntryPlace> about_;    // of the next divergence
  std::optional<uint64_t> seen_;       // the same
  uint32_t about_vm_ = 0;              // the same
  uint64_t about_table_ = 0;           // the same
  uint64_t known_at_ = 0, until_ = 0;  // of the next divergence; 0: the event of now
  // With doubts only.
  bool doubting_ = false;
  uint64_t losses_over_ = 0;  // number of the last event beside a lost one; 0: not known
  std::map<std::pair<int, uint64_t>, uint64_t> doubted_;  // level and gfn: last event before
  std::set<std::pair<int, uint64_t>> pending_removals_;   // tables
  bool sharing_doubted_ = false;  // whether a table maps shared memory, or how many roots there are
  uint64_t cut_at_ = 0;           // rows that had been added when the doubted ones were marked
  uint64_t fresh_ = 0;            // tables that may have been linked
  report::Verdict verdict_;
};

}  // namespace mmucheck::replay
