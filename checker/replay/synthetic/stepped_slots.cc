// The state of stepped threads slot by slot: a search keeps each content once, and puts back only
// what differs.
#include <algorithm>
#include <cstring>

#include "checker/replay/synthetic/stepped_bytes.h"
#include "checker/replay/synthetic/stepped_state.h"

namespace mmucheck::replay {
namespace {

using model::Cell;
using model::CellKind;
using Slot = SteppedState::Slot;

// Cells that change together: what changes often is not with what many steps look at.
enum Group : Slot { kLocks, kInvalidation, kLists, kOfVm, kCounts, kModuleLocks, kPamt, kModule };
static_assert(kModule + 1 == SteppedState::kCellGroups);

constexpr Group group_of(CellKind kind) {
  switch (kind) {
    case CellKind::kLockReaders:
    case CellKind::kLockWriter:
    case CellKind::kWaitForSeptZap:
    case CellKind::kSeamcallLock:
    case CellKind::kMemCalls:
    case CellKind::kRcuLeft:
    case CellKind::kPamtSpinlock: return kLocks;
    case CellKind::kInvalidateSeq:
    case CellKind::kInvalidateInProgress:
    case CellKind::kInvalidateStart:
    case CellKind::kInvalidateEnd:
    case CellKind::kMnActive:
    case CellKind::kSrcuIndex:
    case CellKind::kSrcuReaders: return kInvalidation;
    case CellKind::kRootHead:
    case CellKind::kNxHead:
    case CellKind::kNxTail:
    case CellKind::kRcuHead:
    case CellKind::kRcuTail:
    case CellKind::kRcuCount:
    case CellKind::kRcuNext:
    case CellKind::kReapHead: return kLists;
    case CellKind::kNxCount:
    case CellKind::kNxShadowCount:
    case CellKind::kNxSplits:
    case CellKind::kTdpMmuPages:
    case CellKind::kPageStat:
    case CellKind::kNrPremapped:
    case CellKind::kPageAddSrc:
    case CellKind::kPinnedPages:
    case CellKind::kPagePins: return kCounts;
    case CellKind::kPamtLock:
    case CellKind::kTdOpStateLock:
    case CellKind::kTdSeptLock:
    case CellKind::kTdEpochLock:
    case CellKind::kKotLock: return kModuleLocks;
    case CellKind::kPamtType:
    case CellKind::kPamtOwner:
    case CellKind::kPamtBepoch:
    case CellKind::kPageUnflushed: return kPamt;
    default: return kind < model::kFirstModuleCell ? kOfVm : kModule;
  }
}

class Reader {
 public:
  explicit Reader(const std::string& bytes, size_t from = 0)
      : at_(bytes.data() + from), end_(bytes.data() + bytes.size()) {}
  bool more() const { return at_ != end_; }
  template <class T = uint64_t>
  T next() {
    T v;
    std::memcpy(&v, at_, sizeof v);
    at_ += sizeof v;
    return v;
  }
  // As StateBytes::one_of() told it.
  template <class... T>
  void one_of(std::variant<T...>& v) {
    size_t index = next();
    (void)((index-- == 0 ? (v.template emplace<T>(next<T>()), true) : false) || ...);
  }
  std::pair<Cell, uint64_t> cell() {
    const auto kind = next();
    const auto index = next();
    return {{static_cast<CellKind>(kind >> 32), static_cast<uint32_t>(kind), index}, next()};
  }

 private:
  const char *at_, *end_;
};

void add_cell(StateBytes& b, Cell c, uint64_t v) {
  b.number(static_cast<uint64_t>(c.kind) << 32 | c.object);
  b.number(c.index);
  b.number(v);
}

// Entries of a table, all but the last one, are told where they are not as that one is: the module
// fills its tables with a value that is not KVM's.
constexpr uint64_t kEntries = 512, kAllEntries = ~uint64_t{0};

void add_table(StateBytes& b, const model::RadixStore& store, uint32_t table) {
  const auto entry = [&](uint64_t i) { return store.get(model::cell::pte(table, i)); };
  store.for_table(table, [&](Cell c, uint64_t v) {
    if (c.kind != CellKind::kPte) add_cell(b, c, v);
  });
  add_cell(b, model::cell::pte(table, kAllEntries), entry(kEntries - 1));
  for (uint64_t i = 0; i < kEntries; i++) {
    if (entry(i) != entry(kEntries - 1)) add_cell(b, model::cell::pte(table, i), entry(i));
  }
}

// One table, or several, as add_table() told them.
struct TableIn {
  uint32_t table = 0;
  uint64_t frame = 0, entries = 0;
  std::vector<std::pair<Cell, uint64_t>> fields, differing;
};

std::vector<TableIn> tables_in(const std::string& bytes) {
  std::vector<TableIn> all;
  for (Reader in(bytes); in.more();) {
    const auto [c, v] = in.cell();
    if (all.empty() || all.back().table != c.object) all.emplace_back().table = c.object;
    TableIn& t = all.back();
    if (c.kind == CellKind::kSpPfn) t.frame = v;
    if (c.kind != CellKind::kPte) {
      t.fields.emplace_back(c, v);
    } else if (c.index == kAllEntries) {
      t.entries = v;
    } else {
      t.differing.emplace_back(c, v);
    }
  }
  return all;
}

void set_entries(model::RadixStore& store, const TableIn& t) {
  for (uint64_t i = 0; i < kEntries; i++) store.set(model::cell::pte(t.table, i), t.entries);
}

// The table lives, in the same frame, and becomes another.
void change_table(model::RadixStore& store, const TableIn& from, const TableIn& to) {
  for (const auto& [c, v] : from.fields) {
    if (c.kind != CellKind::kSpPfn) store.set(c, 0);
  }
  if (from.entries == to.entries) {
    for (const auto& [c, v] : from.differing) store.set(c, to.entries);
  } else {
    set_entries(store, to);
  }
  for (const auto& [c, v] : to.fields) store.set(c, v);
  for (const auto& [c, v] : to.differing) store.set(c, v);
}

void new_table(model::RadixStore& store, const TableIn& to) {
  store.put_table(to.table, to.fields);
  if (to.entries != model::kNonpresent) set_entries(store, to);
  for (const auto& [c, v] : to.differing) store.set(c, v);
}

}  // namespace

Slot SteppedState::slot_of(Cell c) {
  if (c.kind > model::kLastTableField) return kFirstGroupSlot + group_of(c.kind);
  if (c.kind == invariant::Monitor::kMemoryKind && c.object == model::kNoTable) return kMonitorSlot;
  if (c.object != model::kNoTable) return std::min(kFirstTableSlot + c.object, kSlots - 1);
  constexpr uint64_t kLives = model::RadixStore::kLives;
  if (c.kind == CellKind::kSpRole && c.index >> 32 == kLives >> 32) {
    return std::min(kFirstTableSlot + static_cast<uint32_t>(c.index), kSlots - 1);
  }
  return kFramesSlot;
}

std::string SteppedState::content(const SyntheticReplayer& r, Slot slot) {
  const SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  const model::RadixStore& store = vm.model->store;
  StateBytes b;
  if (slot == kMonitorSlot) {
    b.plain(vm.monitor->memory());
  } else if (slot == kFramesSlot) {
    const auto& roles = vm.model->env.roles;
    b.number(vm.model->env.next_provisional_);
    for (const ReplayEnv::TableNumbers& n : vm.model->env.numbers_) b.number(n.used);
    b.number(roles.size());
    for (const auto& [vcpu, role] : std::map<uint32_t, uint32_t>(roles.begin(), roles.end())) {
      b.number(uint64_t{vcpu} << 32 | role);
    }
    for (uint32_t table = 0; table < store.table_bound(); table++) {
      if (!store.is_live(table)) continue;
      b.number(table);
      b.number(store.get(model::cell::of(CellKind::kSpPfn, table)));
    }
  } else if (slot < kFirstTableSlot) {
    store.for_others([&](Cell c, uint64_t v) { add_cell(b, c, v); },
                     [&](CellKind kind) { return kFirstGroupSlot + group_of(kind) == slot; });
  } else {
    const uint32_t first = slot - kFirstTableSlot;
    const uint32_t end = slot + 1 == kSlots ? store.table_bound() : first + 1;
    for (uint32_t table = first; table < end; table++) {
      if (store.is_live(table)) add_table(b, store, table);
    }
  }
  return b.take();
}

std::string SteppedState::content_of_thread(const SyntheticReplayer& r, uint32_t thread) {
  const auto at = r.threads_.find(thread);
  if (at == r.threads_.end() || at->second.stack.empty()) return {};
  const SyntheticReplayer::Thread& t = at->second;
  StateBytes b;
  b.number(t.stack.size());
  for (const SyntheticReplayer::Task& task : t.stack) {
    b.number(task.primitive.has_value());
    b.number(static_cast<uint64_t>(task.windows));
    if (task.primitive) {
      b.one_of(*task.primitive);
    } else {
      b.one_of(task.op.machine);
    }
  }
  add(b, t.in);
  b.number(t.frames.size());
  for (const uint64_t frame : t.frames) b.number(frame);
  const auto& hooks = r.vms_.begin()->second.model->env.hooks_;
  if (const auto hook = hooks.find(thread); hook != hooks.end()) b.plain(hook->second);
  return b.take_packed();
}

SteppedState::KeptThread SteppedState::keep_thread(const SyntheticReplayer& r, uint32_t thread) {
  const auto at = r.threads_.find(thread);
  if (at == r.threads_.end() || at->second.stack.empty()) return nullptr;
  const SyntheticReplayer::Thread& t = at->second;
  Running kept;
  for (const SyntheticReplayer::Task& task : t.stack) {
    kept.stack.push_back(
        {task.op.line, task.op.name, task.stepped, task.by_machine, task.observed});
  }
  kept.last_event = t.last_event;
  kept.in = t.in;
  kept.frames = t.frames;
  kept.in_hook = r.vms_.begin()->second.model->env.hooks_.contains(thread);
  return std::make_shared<const Running>(std::move(kept));
}

size_t SteppedState::bytes_of(const Running& thread) {
  return sizeof thread + thread.stack.size() * sizeof(Running::Begun);
}

void SteppedState::put(SyntheticReplayer& r, std::span<const Change> changes) {
  SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  model::RadixStore& store = vm.model->store;
  std::vector<TableIn> born;
  for (const Change& change : changes) {
    if (change.slot == kMonitorSlot) {
      vm.monitor->remember(Reader(*change.to).next<invariant::Monitor::Memory>());
    } else if (change.slot == kFramesSlot) {
      put_frames(r, *change.to);
    } else if (change.slot >= kFirstTableSlot) {
      const std::vector<TableIn> from = tables_in(*change.from), to = tables_in(*change.to);
      if (from.size() == 1 && to.size() == 1 && from[0].table == to[0].table &&
          from[0].frame == to[0].frame) {
        change_table(store, from[0], to[0]);
        continue;
      }
      for (const TableIn& t : from) store.free_table(t.table);
      born.insert(born.end(), to.begin(), to.end());
    } else {
      for (Reader in(*change.from); in.more();) store.set(in.cell().first, 0);
      for (Reader in(*change.to); in.more();) {
        const auto [c, v] = in.cell();
        store.set(c, v);
        if (c.kind == CellKind::kLpTranslation) {
          vm.model->follow(model::tdx::translated_gpa(c.index));
        }
      }
    }
  }
  // Last: a frame may go from one table to another.
  for (const TableIn& t : born) new_table(store, t);
}

void SteppedState::put_frames(SyntheticReplayer& r, const std::string& bytes) {
  ReplayEnv& env = r.vms_.begin()->second.model->env;
  Reader in(bytes);
  env.next_provisional_ = in.next();
  for (ReplayEnv::TableNumbers& n : env.numbers_) n.used = in.next();
  env.roles.clear();
  for (uint64_t n = in.next(); n > 0; n--) {
    const uint64_t role = in.next();
    env.roles[static_cast<uint32_t>(role >> 32)] = static_cast<uint32_t>(role);
  }
}

void SteppedState::put_thread(SyntheticReplayer& r, uint32_t thread, const std::string& content,
                              const KeptThread& kept) {
  VmModel& vm = *r.vms_.begin()->second.model;
  auto& hooks = vm.env.hooks_;
  if (kept == nullptr) {
    r.threads_.erase(thread);
    hooks.erase(thread);
    return;
  }
  const std::string bytes = unpacked(content);
  Reader in(bytes);
  SyntheticReplayer::Thread& t = r.threads_[thread];
  t.tid = thread;
  t.last_event = kept->last_event;
  t.in = kept->in;
  t.frames = kept->frames;
  t.queue.clear();
  t.queue_at = 0;
  t.stack.resize(in.next());
  for (size_t i = 0; i < t.stack.size(); i++) {
    SyntheticReplayer::Task& task = t.stack[i];
    const Running::Begun& begun = kept->stack[i];
    task.op.vm = &vm;
    task.op.line = begun.line;
    task.op.name = begun.name;
    task.stepped = begun.stepped;
    task.by_machine = begun.by_machine;
    task.observed = begun.observed;
    const bool primitive = in.next() != 0;
    task.windows = static_cast<int>(in.next());
    task.primitive.reset();
    if (primitive) {
      in.one_of(task.primitive.emplace());
    } else {
      in.one_of(task.op.machine);
    }
  }
  if (kept->in_hook) {
    hooks[thread] = Reader(bytes, bytes.size() - sizeof(model::TdxHook)).next<model::TdxHook>();
  } else {
    hooks.erase(thread);
  }
}

SteppedState::OwnSlots SteppedState::number_by_thread(SyntheticReplayer& r,
                                                      std::span<const uint32_t> threads) {
  constexpr uint64_t kFar = 0x10000;
  VmModel& vm = *r.vms_.begin()->second.model;
  const uint32_t first = vm.store.table_bound();
  const uint32_t free_slots = kSlots - kFirstTableSlot - std::min(first, kSlots - kFirstTableSlot);
  const uint32_t each = std::max(1u, free_slots / static_cast<uint32_t>(threads.size()));
  for (uint32_t i = 0; i < threads.size(); i++) {
    ReplayEnv::TableNumbers n;
    n.thread = threads[i];
    n.first_table = first + i * each;
    n.first_frame = vm.env.next_provisional_ + i * ReplayEnv::TableNumbers::kNear;
    n.far_frame = vm.env.next_provisional_ + (i + 1) * kFar;
    vm.env.numbers_.push_back(n);
  }
  if (each * threads.size() > free_slots) return {};
  return {kFirstTableSlot + first, each};
}

model::Cell SteppedState::inside_cell(size_t which) {
  switch (which) {
    case 0: return model::cell::of(CellKind::kLockReaders);
    case 1: return model::cell::of(CellKind::kLockWriter);
    default: return invariant::Monitor::cell_of(invariant::Monitor::kHooksOpen);
  }
}

std::array<uint64_t, SteppedState::kInsides> SteppedState::inside(const SyntheticReplayer& r) {
  const SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  const auto [readers, writer] = lock(r);
  return {readers, writer, vm.monitor->memory()[invariant::Monitor::kHooksOpen]};
}

void SteppedState::record(SyntheticReplayer& r, model::Footprint* footprint) {
  r.vms_.begin()->second.model->store.record(footprint);
}

}  // namespace mmucheck::replay
