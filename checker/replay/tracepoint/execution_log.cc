#include "checker/replay/tracepoint/execution_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/trace/event_kinds.h"
#include "model/spte/spte.h"

namespace mmucheck::replay {

using trace::Event;

namespace {

const char* name_of(Op op) {
  switch (op) {
    case Op::kFault: return "fault";
    case Op::kPreFault: return "pre-fault";
    case Op::kFastFault: return "fast page fault";
    case Op::kUnmap: return "unmap by the notifier";
    case Op::kAge: return "ageing";
    case Op::kTestAge: return "test of the age";
    case Op::kAttributes: return "memory attributes";
    case Op::kZapAll: return "all roots invalid";
    case Op::kZapRange: return "zap of a range";
    case Op::kZapRoot: return "zap of a root";
    case Op::kRecovery: return "recovery of huge pages";
    case Op::kProtect: return "write protection";
    case Op::kClearDirty: return "dirty bits";
    case Op::kSplit: return "split of huge pages";
    case Op::kNewRoot: return "new root";
    case Op::kMmio: return "MMIO";
  }
  return "";
}

bool is_fault(Op op) { return op == Op::kFault || op == Op::kPreFault; }
bool is_of_hvas(Op op) { return op == Op::kUnmap || op == Op::kAge || op == Op::kTestAge; }
// Operations under which leafs may go.
bool zaps_leafs(Op op) {
  return op == Op::kUnmap || op == Op::kAttributes || op == Op::kZapAll || op == Op::kZapRange ||
         op == Op::kZapRoot;
}

uint64_t pages_of(int level) { return level == 0 ? 1 : model::pages_per_hpage(level); }

// May the two stand as one range? `near` bridges what lies between.
bool adjoins(const report::OperationRange& a, const report::OperationRange& b, bool near) {
  return a.effect == b.effect && a.as_id == b.as_id && a.root == b.root && a.level == b.level &&
         b.first_gfn > a.last_gfn &&
         (near || b.first_gfn == a.last_gfn + pages_of(a.level));
}

}  // namespace

ExecutionLog::Running& ExecutionLog::of(const Event& e) {
  return threads_[e.thread != 0 ? e.thread : (uint64_t{1} << 32 | e.cpu)];
}

void ExecutionLog::open(const Event& e, Running& r, Op op) {
  close(r);
  r.on = true;
  r.committed = false;
  r.op = op;
  r.text = {};
  r.text.thread = e.thread;
  r.text.cpu = e.cpu;
  r.text.first_line = r.text.last_line = e.source_line;
  r.zaps = r.zap_root = 0;
  r.zaps_line = 0;
  r.roots.clear();
}

void ExecutionLog::want(const Event& e, Running& r, Op op) {
  if (!r.on || r.op != op) open(e, r, op);
}

void ExecutionLog::begin(const Event& e, Op op, uint64_t first, uint64_t end) {
  if (!on_) return;
  Running& r = of(e);
  open(e, r, op);
  if (op != Op::kNewRoot && op != Op::kMmio) {
    r.text.stimulus = trace::kind_info(e.kind).kernel_name;
    r.text.stimulus_first = first;
    r.text.stimulus_end = end;
  }
}

void ExecutionLog::fault(const Event& e, uint64_t gfn) {
  if (!on_) return;
  Running& r = of(e);
  open(e, r, Op::kFault);
  add(r, {.gfn = gfn}, "at", false);
}

void ExecutionLog::request(const Event& e, uint64_t gfn) {
  if (!on_) return;
  Running& r = of(e);
  // One request a fault; the next one without a kvm_page_fault is a pre-fault.
  const bool used = r.on && is_fault(r.op) && r.committed;
  if (!r.on || !is_fault(r.op) || used) {
    open(e, r, Op::kPreFault);
    add(r, {.gfn = gfn}, "at", false);
  }
  r.committed = true;
  r.text.last_line = e.source_line;
}

void ExecutionLog::touch(const Event& e) {
  if (!on_) return;
  Running& r = of(e);
  if (!r.on) return ahead(e);
  r.text.last_line = e.source_line;
}

void ExecutionLog::ahead(const Event& e) {
  if (!on_) return;
  Ahead& a = of(e).ahead;
  if (!a.on) a = {true, e.source_line, e.source_line, 0, e.cpu};
  a.last_line = e.source_line;
}

void ExecutionLog::add(Running& r, const LoggedChange& c, const char* effect, bool near) {
  report::OperationRange one{effect, c.as_id, c.root, c.level, c.gfn, c.gfn, 1};
  std::vector<report::OperationRange>& ranges = r.text.ranges;
  if (c.level == 0) one.changes = 0;
  // A fault that does something says where by that.
  if (one.changes != 0 && !ranges.empty() && ranges.back().changes == 0) ranges.clear();
  r.text.changes += one.changes;
  if (!ranges.empty() && adjoins(ranges.back(), one, near)) {
    ranges.back().last_gfn = c.gfn;
    ranges.back().changes += one.changes;
  } else {
    ranges.push_back(std::move(one));
  }
}

// A leaf goes: under what is under way where that can reach it, else for a reason of its own.
void ExecutionLog::zap(const Event& e, Running& r, const LoggedChange& c) {
  const bool back = r.on && !r.text.ranges.empty() && r.text.ranges.back().root == c.root &&
                    r.text.ranges.back().as_id == c.as_id && r.text.ranges.back().effect == "zap" &&
                    r.text.ranges.back().level == c.level && c.gfn <= r.text.ranges.back().last_gfn;
  bool fits = r.on && zaps_leafs(r.op);
  if (fits && r.op == Op::kUnmap) {
    if (r.zap_root != c.root) r.zaps = 0;
    fits = r.zaps < (r.text.stimulus_end - r.text.stimulus_first + 4095) >> 12;
  } else if (fits && r.op == Op::kAttributes) {
    fits = c.gfn + pages_of(c.level) > r.text.stimulus_first && c.gfn < r.text.stimulus_end &&
           !back && !c.passed;
  } else if (fits && r.op != Op::kZapRoot) {
    fits = !back && !c.passed;
  }
  if (!fits) open(e, r, Op::kZapRange);
  if (r.zaps_line == 0) r.zaps_line = e.source_line;
  r.zaps++;
  r.zap_root = c.root;
  add(r, c, "zap", c.near && !back);
}

// A table goes, and no request of the thread replaces it: what went before in this walk are the
// first passes of the zap of a root.
void ExecutionLog::unlink(const Event& e, Running& r) {
  if (r.on && (r.op == Op::kUnmap || r.op == Op::kAttributes) && !r.text.ranges.empty()) {
    Running zaps = r;
    r.text.ranges.clear();
    zaps.text.changes = std::exchange(r.text.changes, 0);
    r.text.last_line = r.text.first_line;
    close(r);
    zaps.kept = r.kept;
    zaps.kept_op = r.kept_op;
    zaps.text.stimulus.clear();
    zaps.text.stimulus_first = zaps.text.stimulus_end = 0;
    zaps.text.first_line = zaps.zaps_line;
    r = std::move(zaps);
    r.op = Op::kZapRoot;
  } else if (r.on && (r.op == Op::kZapRange || r.op == Op::kZapAll)) {
    r.op = Op::kZapRoot;
  }
  want(e, r, Op::kZapRoot);
  r.committed = true;
}

void ExecutionLog::change(const Event& e, const LoggedChange& c) {
  if (!on_) return;
  done_.changes++;
  Running& r = of(e);
  if (c.step == Step::kFreeze) {
    // 7.x: the table's own entry comes last, and tells what this is part of.
    if (r.ahead.on) {
      r.ahead.changes++;
      r.ahead.last_line = e.source_line;
    } else if (r.on && !r.text.ranges.empty()) {
      r.text.changes++;
      r.text.ranges.back().changes++;
      r.text.last_line = e.source_line;
    } else {
      gap(fmt::format("line {}: an entry of a removed table", e.source_line));
    }
    return;
  }
  const Ahead ahead = std::exchange(r.ahead, Ahead{});
  const uint64_t first_before = r.on ? r.text.first_line : 0;
  const bool was_on = r.on;
  const char* effect = "";
  switch (c.step) {
    case Step::kFault: effect = "map"; break;
    case Step::kMmio: effect = "mark MMIO"; break;
    case Step::kLink: effect = "link table"; break;
    case Step::kSplit: effect = "split"; break;
    case Step::kRecover: effect = "recover"; break;
    case Step::kUnlink: effect = "unlink table"; break;
    case Step::kProtect: effect = "write-protect"; break;
    case Step::kClearDirty: effect = "clear D"; break;
    case Step::kAge: effect = "clear A"; break;
    case Step::kZap: case Step::kFreeze: case Step::kNone: break;
  }
  switch (c.step) {
    case Step::kFault: case Step::kMmio: case Step::kLink:
      if (!r.on || !is_fault(r.op)) {
        open(e, r, Op::kFault);
        gap(fmt::format("line {}: no request asked for this leaf or table", e.source_line));
      }
      break;
    case Step::kSplit:
      if (!r.on || !is_fault(r.op) || !c.asked) want(e, r, Op::kSplit);
      break;
    case Step::kRecover: want(e, r, Op::kRecovery); break;
    case Step::kZap: zap(e, r, c); break;
    case Step::kUnlink:
      unlink(e, r);
      if (c.root != 0) r.roots.insert(c.root);
      break;
    case Step::kProtect: want(e, r, Op::kProtect); break;
    case Step::kClearDirty: want(e, r, Op::kClearDirty); break;
    case Step::kAge:
      want(e, r, Op::kAge);
      if (ages_told_ && r.text.stimulus.empty()) {
        gap(fmt::format("line {}: no event asked for ageing", e.source_line));
      }
      break;
    case Step::kFreeze: break;
    case Step::kNone:
      want(e, r, Op::kZapRange);
      effect = "change";
      gap(fmt::format("line {}: a change that no operation makes", e.source_line));
      break;
  }
  if (c.step != Step::kZap) add(r, c, effect, false);
  if (ahead.on) {
    const bool opened = !was_on || r.text.first_line != first_before;
    if (opened && r.text.first_line == e.source_line) r.text.first_line = ahead.first_line;
    r.text.changes += ahead.changes;
    r.text.ranges.back().changes += ahead.changes;
  }
  r.text.last_line = e.source_line;
}

void ExecutionLog::fast_fault(const Event& e, uint64_t gfn, int level, uint32_t root, bool fixed) {
  if (!on_) return;
  Running& r = of(e);
  // A fault that is not mended goes on to a request. A pre-fault without A/D bits begins here.
  if (!fixed) {
    if (!r.on || !is_fault(r.op) || r.committed) {
      open(e, r, Op::kPreFault);
      add(r, {.gfn = gfn}, "at", false);
    }
    r.text.last_line = e.source_line;
    return;
  }
  if (r.on && r.op == Op::kFault && r.text.changes == 0 && !r.committed) {
    r.op = Op::kFastFault;
    r.text.ranges.clear();
  } else {
    open(e, r, Op::kFastFault);
  }
  r.text.ranges.push_back({"mend", 0, root, level, gfn, gfn, 0});
  r.text.last_line = e.source_line;
}

void ExecutionLog::failed_split(const Event& e, uint64_t gfn, int level) {
  if (!on_) return;
  Running& r = of(e);
  const Ahead ahead = std::exchange(r.ahead, Ahead{});
  if (!r.on || !is_fault(r.op)) {
    const bool fresh = !r.on || r.op != Op::kSplit;
    want(e, r, Op::kSplit);
    if (fresh && ahead.on) r.text.first_line = ahead.first_line;
  }
  r.text.ranges.push_back({"fail to split", 0, 0, level, gfn, gfn, 0});
  r.text.last_line = e.source_line;
}

// The address of a leaf that was just installed tells its table.
void ExecutionLog::installed_in(const Event& e, uint64_t gfn, uint32_t root) {
  if (!on_ || root == 0) return;
  Running& r = of(e);
  if (!r.on || !is_fault(r.op) || r.text.ranges.empty()) return;
  report::OperationRange& last = r.text.ranges.back();
  if (last.effect == "map" && last.first_gfn == gfn && last.last_gfn == gfn) last.root = root;
}

// An access to a stale or a valid MMIO entry: in a fault, or (EPT misconfiguration) without.
void ExecutionLog::mmio(const Event& e) {
  if (!on_) return;
  Running& r = of(e);
  if (!r.on || (!is_fault(r.op) && r.op != Op::kMmio)) return begin(e, Op::kMmio);
  r.text.last_line = e.source_line;
}

void ExecutionLog::end(const Event& e) {
  if (!on_) return;
  Running& r = of(e);
  if (r.on && e.kind == trace::EventKind::kUserspaceExit) r.text.last_line = e.source_line;
  close(r);
}

// The thread's operation before it goes on: another fault behind the last one, and the like.
bool ExecutionLog::join(const Running& r) {
  if (r.kept == SIZE_MAX || r.kept_op != r.op) return false;
  report::Operation& a = done_.operations[r.kept];
  const report::Operation& b = r.text;
  const bool alike = is_fault(r.op) || r.op == Op::kFastFault || is_of_hvas(r.op);
  if (!alike || a.ranges.size() > 1 || b.ranges.size() > 1 ||
      a.ranges.size() != b.ranges.size()) {
    return false;
  }
  if (is_of_hvas(r.op) && a.stimulus_end != b.stimulus_first) return false;
  if (!a.ranges.empty()) {
    report::OperationRange& x = a.ranges[0];
    const report::OperationRange& y = b.ranges[0];
    const bool again = x.effect == y.effect && x.changes == 0 && y.changes == 0 &&
                       y.first_gfn >= x.first_gfn && y.last_gfn <= x.last_gfn &&
                       x.root == y.root && x.level == y.level;
    if (!again && !adjoins(x, y, false)) return false;
    x.last_gfn = std::max(x.last_gfn, y.last_gfn);
    x.changes += y.changes;
  }
  a.stimulus_end = b.stimulus_end;
  a.last_line = b.last_line;
  a.changes += b.changes;
  a.count++;
  return true;
}

void ExecutionLog::close(Running& r) {
  if (r.ahead.on) {
    gap(fmt::format("line {}: an operation of which nothing follows", r.ahead.first_line));
    r.ahead = {};
  }
  if (!r.on) return;
  r.on = false;
  if (r.op == Op::kZapRoot) {
    const bool emptied = std::none_of(r.roots.begin(), r.roots.end(),
                                      [&](uint32_t root) { return roots_.contains(root); });
    const bool tables_only =
        std::all_of(r.text.ranges.begin(), r.text.ranges.end(), [](const auto& range) {
          return range.effect == "unlink table" && range.level >= 2 && range.level <= 3;
        });
    if (!emptied && tables_only && may_recover_) {
      r.op = Op::kRecovery;
    } else if (!emptied) {
      gap(fmt::format("lines {} to {}: tables go, but their root is not empty then",
                      r.text.first_line, r.text.last_line));
    }
  }
  r.text.kind = name_of(r.op);
  if (join(r)) return;
  if (kept_ + 1 + r.text.ranges.size() > kMaxExecution) {
    done_.left_out++;
    r.kept = SIZE_MAX;
    return;
  }
  kept_ += 1 + r.text.ranges.size();
  r.kept = done_.operations.size();
  r.kept_op = r.op;
  done_.operations.push_back(std::move(r.text));
}

void ExecutionLog::gap(std::string text) {
  if (done_.gaps.size() < kMaxGaps) done_.gaps.push_back(std::move(text));
}

report::Execution ExecutionLog::finish() {
  done_.asked = on_;
  for (auto& [id, r] : threads_) close(r);
  std::stable_sort(done_.operations.begin(), done_.operations.end(),
                   [](const report::Operation& a, const report::Operation& b) {
                     return a.first_line != b.first_line ? a.first_line < b.first_line
                                                         : a.thread < b.thread;
                   });
  std::sort(done_.gaps.begin(), done_.gaps.end());
  return std::move(done_);
}

}  // namespace mmucheck::replay
