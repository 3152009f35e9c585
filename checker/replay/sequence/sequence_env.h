// checker/replay: the environment of a scripted sequence: answers the model's questions from a
// record, and compares what the model does with the record, event by event.
//
// A record is one operation that the kernel's own tdp_mmu.c ran in user space, with everything it
// did in order (see SequenceRunner). Nested records are operations of other tasks at a defined
// place inside another one; the runner executes them when the environment asks for it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "checker/replay/sequence/sequence_json.h"
#include "model/store/radix_store.h"
#include "model/tdp/iter.h"

namespace mmucheck::replay {

// One expected event in numbers; kOther stays JSON.
struct ExpectedEvent {
  enum class Kind : uint8_t { kStore, kStoreTraced, kTraced, kOther };
  Kind kind = Kind::kOther;
  uint64_t page = 0, index = 0, old_spte = 0, new_spte = 0, as_id = 0, gfn = 0, level = 0;
  model::ev::How how = model::ev::How::kCas;
};

struct Difference {
  int64_t i = -1;
  std::string op;
  std::string expected;
  std::string got;
};

class SequenceEnv {
 public:
  using RunNested = std::function<void(const json& record)>;

  // `pool_pfn`: frame of page 0.
  SequenceEnv(model::RadixStore& store, uint64_t pool_pfn, RunNested run_nested)
      : store_(store), pool_pfn_(pool_pfn), run_nested_(std::move(run_nested)) {}

  // --- the frame of a record: nested ones stack ---
  void push(const json& record);
  void pop();  // also checks that nothing expected is left
  uint64_t polls() const { return frames_.back().polls; }
  uint64_t dirty_hints() const { return frames_.back().dirty_hints; }
  uint64_t accessed_hints() const { return frames_.back().accessed_hints; }

  const std::optional<Difference>& difference() const { return difference_; }

  // Where nested operations, or what the CPU does, stand in a row with nothing in between, the
  // record does not say at which of two places the later ones ran. A choice is how many run at the
  // earlier place: as many as possible, less the number here; made in order, kept for the caller to
  // vary.
  std::vector<uint32_t> choices;     // to take
  std::vector<uint32_t> choices_of;  // alternatives that each choice had
  void restore(const SequenceEnv& saved);
  void set_difference(const Difference& d) { difference_ = d; }
  void differ(const std::string& expected, const std::string& got);

  // --- what the sequence's header and inputs say about the host ---
  struct HostSlot {
    uint64_t base = 0, npages = 0, hva = 0;
    uint32_t as_id = 0;
    uint64_t id = 0;
  };
  std::vector<HostSlot> slots;  // every slot that an operation or a fault names is one of them
  // Host page tables, by hva: what two slots with one backing share.
  std::unordered_map<uint64_t, uint8_t> host_2m;  // hva >> 21: 1 or 2
  std::unordered_set<uint64_t> host_1g;           // hva >> 30: a 1G page
  uint64_t hva_of(uint32_t slot, uint64_t gfn) const;

  // --- the model's environment (model/tdp/world.h) ---
  bool pause() const { return false; }
  bool lock_steps() const { return false; }
  bool lock_free(bool) const { return true; }
  uint64_t begun_seq(uint64_t, uint64_t now) const { return now; }
  void before(model::Point point, uint32_t table, uint32_t index);
  bool need_resched(const model::TdpIter& it);
  uint64_t observe(uint32_t, uint32_t, uint64_t value) const { return value; }
  bool hardware_first(uint32_t, uint32_t, uint64_t) const { return false; }
  uint64_t refreshed(uint32_t, uint32_t, uint64_t value) const { return value; }
  uint64_t new_table_frame(model::ev::TableKind kind);
  int host_level(uint32_t slot, uint64_t gfn, bool level_unseen = false) const;
  bool nx_goes_on(bool) const { return true; }
  // What the record says that the hook answered: an input.
  int external_result(uint64_t, int, uint64_t, uint64_t) const { return hook_result_; }
  model::TdxHook& hook() { return hook_; }
  model::tdx::Status injected_status(model::tdx::Leaf) const { return {}; }
  uint64_t external_page(uint32_t, uint64_t page) const { return page; }

  void emit(const model::ev::Store& e);
  void emit(const model::ev::SpteChanged& e);
  void emit(const model::ev::CasFail& e);
  void emit(const model::ev::AllocTable& e);
  void emit(const model::ev::AllocFailed& e);
  void emit(const model::ev::AllocExternal& e);
  void emit(const model::ev::FreedExternal& e);
  void emit(const model::ev::ExternalSet& e);
  void emit(const model::ev::ExternalFree& e);
  void emit(const model::ev::InitSp& e);
  void emit(const model::ev::PrepareZapPage& e);
  void emit(const model::ev::RcuQueued& e);
  void emit(const model::ev::Freed& e);
  void emit(const model::ev::SpteRequested& e);
  void emit(const model::ev::SetSpte& e);
  void emit(const model::ev::MarkMmioSpte& e);
  void emit(const model::ev::SplitHugePage& e);
  void emit(const model::ev::FastPageFault& e);
  void emit(const model::ev::Flush& e);
  void emit(const model::ev::Lock& e);
  void emit(const model::ev::Unlock& e);
  void emit(const model::ev::Yield& e);
  void emit(const model::ev::MarkDirty& e);
  void emit(const model::ev::PfnHint& e);
  void emit(const model::ev::Warn& e);
  template <class E>
  void emit(const E&) {}  // probes at function entry are not in a sequence

  // Page number of a table, as the record names it.
  uint64_t page_of(uint32_t table) const;
  uint64_t pool_pfn() const { return pool_pfn_; }
  uint32_t table_of(uint64_t page) const { return store_.find_table(pool_pfn_ + page); }
  void hw_event(const json& entry) { apply_hw(entry); }
  void skip_events() { frames_.back().at = frames_.back().events->size(); }

 private:
  struct Frame {
    const json* events = nullptr;
    size_t at = 0;
    uint64_t run_left = 0;        // of an "R" entry
    ExpectedEvent run = {};
    bool trace_due = false;       // a "wc" whose tracepoint half is still to come
    ExpectedEvent due = {};
    uint64_t polls = 0, reads = 0, dirty_hints = 0, accessed_hints = 0;
    int64_t i = -1;
    std::string op;
  };

  int lock_mode() const;    // of mmu_lock: 1 read, 2 write
  const json* peek() const;  // the next entry that is not inside an "R"
  bool next_is(const char* kind) const;
  std::optional<ExpectedEvent> take_store();
  void expect(const json& got);
  void run_nested_here(bool at_least_one);
  bool run_next_nested();
  void apply_hw(const json& entry);

  model::RadixStore& store_;
  uint64_t pool_pfn_;
  RunNested run_nested_;
  std::vector<Frame> frames_;
  std::set<uint64_t> pages_;  // page numbers in use
  int hook_result_ = 0;       // of the external hook that is running
  model::TdxHook hook_;
  std::optional<Difference> difference_;
};

std::string hex(uint64_t v);

}  // namespace mmucheck::replay
