#include "checker/replay/tracepoint/tracepoint_replayer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

constexpr size_t kRecent = 1024;
constexpr uint32_t kMaxCpus = 8192;
constexpr const char* kRingFull = "ring statistics: full, the tail is missing";

std::string describe(const Event& e) {
  std::string s(trace::kind_name(e.kind));
  const trace::KindInfo& info = trace::kind_info(e.kind);
  for (size_t i = 0; i < info.fields.size(); i++) {
    if (!e.has(i)) continue;
    const bool hex = info.fields[i].type == trace::FieldType::kHex;
    s += hex ? fmt::format(" {} {:x}", info.fields[i].name, e.f[i])
             : fmt::format(" {} {}", info.fields[i].name, static_cast<int64_t>(e.f[i]));
  }
  return s;
}

// Kinds whose place among the events of their thread is looked at.
bool in_sequence(K kind) {
  switch (kind) {
    case K::kPageFault:
    case K::kSpteRequested:
    case K::kSetSpte:
    case K::kFastPageFault:
    case K::kGetPage:
    case K::kPrepareZapPage:
    case K::kSplitHugePage:
    case K::kMarkMmioSpte:
    case K::kCheckMmioSpte:
    case K::kHandleMmioPageFault:
    case K::kMmuZapAllFast:
    case K::kUnmapHvaRange:
    case K::kAgeHva:
    case K::kTestAgeHva:
    case K::kVmSetMemAttributes:
    case K::kUserspaceExit:
    case K::kMmio: return true;
    default: return false;
  }
}

// Of the kprobes.
bool is_looked_at(K kind) {
  return kind == K::kChangedSpte || kind == K::kIterStart || kind == K::kIterRestart ||
         kind == K::kInitSp;
}

}  // namespace

TracepointReplayer::TracepointReplayer(const trace::TraceInfo& info, bool execution)
    : caps_(info.capabilities),
      caps_known_(info.capabilities_known),
      log_(execution),
      recent_(kRecent) {
  log_.ages_are_told(sees(K::kAgeHva));
  verdict_.file = info.file;
  verdict_.kernel = info.kernel_text;
  bool probes = false;
  for (const trace::KindInfo& k : trace::all_kinds()) {
    if (!caps_.test(static_cast<size_t>(k.kind))) continue;
    verdict_.capabilities.emplace_back(k.name);
    probes = probes || k.kind >= K::kTdpMap;
  }
  verdict_.mode = probes ? report::Mode::kPartial : report::Mode::kTracepoint;
  const bool old_kernel = info.kernel == trace::KernelVersion::k6_12;
  values_.design = model::find_design(old_kernel ? "linux-6.12" : "linux-7.2");
  values_.fmt = model::make_spte_format(*values_.design, values_.host);
  late_parent_ = values_.design->removal_trace == model::RemovalTrace::kAfterChildren;
  early_spurious_ = values_.design->early_spurious;
  // Without root creations in the recording no table is known to be the only one of its place.
  forgot_ = !sees(K::kGetPage) || !sees(K::kPrepareZapPage);
  lossy_ = info.loss == trace::LossState::kLost;
  values_.fast_faults_untold = !sees(K::kFastPageFault);
  forgot_ = forgot_ || lossy_;
}

// Where no VM is seen to be created, the VM of a thread's events is one that it was in before.
void TracepointReplayer::event(const Event& e) {
  if (e.vm == 0 || !caps_known_ || caps_.test(static_cast<size_t>(K::kInitVm))) return take(e);
  Event of_any = e;
  of_any.vm = 0;
  take(of_any);
}

void TracepointReplayer::take(const Event& e) {
  now_++;
  if (!held_.empty()) expire(false);
  if (e.cls == trace::PacketClass::kConfig) return config(e);
  if (e.cls == trace::PacketClass::kInput) return;
  verdict_.events++;
  if (e.cpu < kMaxCpus) {
    if (e.cpu >= last_line_.size()) last_line_.resize(e.cpu + 1);
    last_line_[e.cpu] = e.source_line;
  }
  if (e.kind == K::kModuleParamSet) {
    if (e.get(f::module_param_set::param) ==
        static_cast<uint64_t>(trace::ModuleParam::kNxHugePages)) {
      values_.host.nx_huge_pages = e.get(f::module_param_set::value) != 0;
      values_.nx_known = true;
      nx_ever_ = nx_ever_ || values_.host.nx_huge_pages;
    }
    return;
  }
  if (e.kind == K::kSpteChanged) {
    verdict_.spte_changes.observed++;
    Thread& t = thread(e);
    tick(e, t);
    return spte_changed(e, t);
  }
  if (is_looked_at(e.kind)) return probe(e, thread(e));
  if (!in_sequence(e.kind)) return;
  Thread& t = thread(e);
  tick(e, t);
  settle(e, t);
  log_event(e, t);
  switch (e.kind) {
    case K::kVmSetMemAttributes:
      t.attributes = {e.get(f::vm_set_mem_attributes::start), e.get(f::vm_set_mem_attributes::end)};
      return;
    case K::kPageFault: return page_fault(e, t);
    case K::kSpteRequested: return requested(e, t);
    case K::kSetSpte: return set_spte(e, t);
    case K::kFastPageFault: return fast_page_fault(e, t);
    case K::kGetPage: return get_page(e, t);
    case K::kPrepareZapPage: return prepare_zap(e, t);
    case K::kSplitHugePage: return split_huge_page(e, t);
    case K::kMarkMmioSpte: return mark_mmio(e, t);
    case K::kCheckMmioSpte: return check_mmio(e);
    case K::kUserspaceExit:
      t.fault = {};
      t.no_fault = false;
      return;
    default: return;
  }
}

// A loss is announced before the next event of its CPU; a thread may have left that CPU earlier.
void TracepointReplayer::moved(const Event& e, Thread& t) {
  const bool other = t.cpu != e.cpu;
  const bool stayed = std::exchange(t.stayed, false);
  if (other && stayed) {
    t = unknown_thread();
    t.no_fault = true;
  } else if (other && lossy_ && t.now != 0) {
    t = unknown_thread();
  } else if (other) {
    t.entered.clear();
    t.walked = {};
    t.made = {};
  }
  t.cpu = e.cpu;
}

void TracepointReplayer::tick(const Event& e, Thread& t) {
  moved(e, t);
  previous_ = t.previous = t.now;
  early_ = {};
  t.now = now_;
}

void TracepointReplayer::config(const Event& e) {
  switch (e.kind) {
    case K::kMmuFormat: {
      namespace m = f::mmu_format;
      model::HostMmu& h = values_.host;
      if (e.has(m::format)) {
        const bool npt = e.get(m::format) == static_cast<uint64_t>(trace::SpteFormat::kNpt);
        h.format = npt ? model::PageTableFormat::kNpt : model::PageTableFormat::kEpt;
        verdict_.format = npt ? "NPT" : "EPT";
        values_.format_known = true;
      }
      h.ad_bits = e.get_or(m::ad_bits, 1) != 0;
      h.maxphyaddr = static_cast<int>(e.get_or(m::maxphyaddr, 48));
      h.ept_memtype_bits = e.get_or(m::memtype_bits, 0);
      root_level_ = e.get_or(m::levels, 4) == 5 ? 5 : 4;
      values_.fmt = model::make_spte_format(*values_.design, h);
      return;
    }
    case K::kModuleParams: {
      namespace p = f::module_params;
      model::HostMmu& h = values_.host;
      values_.nx_known = e.has(p::nx_huge_pages);
      h.nx_huge_pages = e.get_or(p::nx_huge_pages, 0) != 0;
      nx_ever_ = nx_ever_ || h.nx_huge_pages;
      h.mmio_caching = e.get_or(p::mmio_caching, 1) != 0;
      // Without a word about it, the buffer may exist: a few more values are legal then.
      h.cpu_dirty_log_size = static_cast<int>(e.get_or(p::pml_size, 512));
      values_.fmt = model::make_spte_format(*values_.design, h);
      return;
    }
    case K::kVmConfig:
      direct_bits_ |= e.get(f::vm_config::direct_gfn_bits);
      values_.td = values_.td || e.get(f::vm_config::has_mirror) != 0;
      return;
    case K::kLostEvents: {
      report::Lost l;
      l.count = e.get(f::lost_events::count);
      l.cpu = static_cast<uint32_t>(e.get(f::lost_events::cpu));
      l.line = e.source_line;
      switch (static_cast<trace::LossHow>(e.get(f::lost_events::how))) {
        case trace::LossHow::kCounted: l.how = "counted"; break;
        case trace::LossHow::kUncounted: l.how = "uncounted"; break;
        case trace::LossHow::kHeader: l.how = "header"; break;
        case trace::LossHow::kRingStats: l.how = kRingFull; break;
        case trace::LossHow::kTruncated: l.how = "truncated"; break;
        case trace::LossHow::kUnknown: l.how = "unknown"; break;
      }
      verdict_.lost.push_back(l);
      lost();
      return;
    }
    case K::kMarker: {
      // It was in user space: nothing that it did before comes later.
      Thread& t = thread(e);
      tick(e, t);
      t.run = 0;
      t.walk = {};
      t.attributes = {};
      log_.end(e);
      // What user space writes when it makes a TD; a real recording shows the bit in its faults.
      if (e.text.starts_with("TDX_INIT_VM gpaw=")) {
        values_.td = true;
        direct_bits_ |= e.text.find("52") != std::string_view::npos ? kDirectBit52 : kDirectBit48;
      }
      return;
    }
    default: return;
  }
}

void TracepointReplayer::lost() {
  forgot_ = lossy_ = true;
  // A write of the module parameter may be lost, too.
  values_.nx_known = false;
  nx_ever_ = true;
  book_.clear();
  held_.clear();
  mirrored_vms_.clear();  // another VM may have the number
  for (auto& [id, t] : threads_) t = unknown_thread();
}

TracepointReplayer::Thread TracepointReplayer::unknown_thread() {
  Thread t;
  t.unsure = t.removal_unsure = true;
  return t;
}

TracepointReplayer::Thread& TracepointReplayer::thread(const Event& e) {
  const uint64_t key = e.thread != 0 ? e.thread : (uint64_t{1} << 32 | e.cpu);
  const auto it = threads_.find(key);
  if (it != threads_.end()) return it->second;
  if (threads_.size() >= kMaxTpThreads) {
    inconclusive(fmt::format("more than {} threads", kMaxTpThreads));
    threads_.clear();
    forgot_ = true;
  }
  Thread& t = threads_[key];
  t.unsure = t.removal_unsure = forgot_ || doubting_;
  t.no_fault = doubting_;
  return t;
}

uint64_t TracepointReplayer::plain_gfn(uint64_t gfn) const {
  return gfn & ~direct_bits_;
}

// A fault of a TD on shared memory: its address carries the shared bit, the request does not.
void TracepointReplayer::learn_direct_bit(const Thread& t, uint64_t gfn) {
  if (!t.fault.on) return;
  const uint64_t diff = t.fault.gfn ^ gfn;
  if (is_direct_bit(diff) && (t.fault.gfn & diff) != 0) {
    direct_bits_ |= diff;
    values_.td = true;
  }
}

// What the thread's last events promised must come now; what they left open is over.
void TracepointReplayer::settle(const Event& e, Thread& t) {
  t.run = 0;
  t.walk = {};
  t.attributes = {};
  if (e.kind != K::kPrepareZapPage) {
    no_call_left(e, t);
    if (!t.blocks.empty()) close_all(e, t);
    t.removal_unsure = false;
  }
  if (t.zap.on && e.kind != K::kPrepareZapPage) {
    t.zap.on = false;
    if (sees(K::kPrepareZapPage)) {
      lack_prepare_zap(e, t, t.zap);
      diverge(e, TpRule::kRemoval, "kvm_mmu_prepare_zap_page of the table that was cut off");
    }
  }
  if (t.split.on && e.kind != K::kSplitHugePage) {
    t.split.on = false;
    if (sees(K::kSplitHugePage)) {
      lack_split(e, t, t.split);
      diverge(e, TpRule::kSplit, "kvm_mmu_split_huge_page of the page that was split");
    }
  }
  if (t.mmio.on && e.kind != K::kMarkMmioSpte) {
    t.mmio.on = false;
    if (sees(K::kMarkMmioSpte)) {
      lack_mmio(e, t, t.mmio);
      diverge(e, TpRule::kMmio, "mark_mmio_spte");
    }
  }
  if (t.req.installed && !t.req.mmio && e.kind != K::kSetSpte && e.kind != K::kPrepareZapPage) {
    const Request req = std::exchange(t.req, {});
    if (sees(K::kSetSpte)) {
      lack_set_spte(e, t, req);
      diverge(e, TpRule::kSetSpte, "kvm_mmu_set_spte of the installed leaf");
    }
  }
}

report::Place TracepointReplayer::place(const Event& e) const {
  report::Place p;
  p.line = e.source_line;
  p.packet = e.seq;
  p.ts_ns = e.ts_ns;
  p.cpu = e.cpu;
  p.thread = e.thread;
  p.vm = e.vm;
  p.event = std::string(trace::kind_name(e.kind));
  return p;
}

void TracepointReplayer::diverge(const Event& e, TpRule rule, std::string expected,
                                 std::string value_expected, std::string value_seen) {
  diverge_at(place(e), describe(e), rule, std::move(expected), std::move(value_expected),
             std::move(value_seen));
}

void TracepointReplayer::diverge_at(report::Place at, std::string observed, TpRule rule,
                                    std::string expected, std::string value_expected,
                                    std::string value_seen) {
  n_.bad++;
  if (lacking_sink_) {
    Lacking lack;
    lack.at = at.packet;
    lack.rule = rule;
    lack.place = at;
    lack.lacks = std::exchange(lacks_, {});
    lack.about = std::exchange(about_, {});
    lack.seen = std::exchange(seen_, {});
    lack.vm = std::exchange(about_vm_, 0);
    lack.table = std::exchange(about_table_, 0);
    lack.known_at = known_at_ == 0 ? now_ : known_at_;
    lack.until = until_ == 0 ? now_ : until_;
    lacking_sink_(std::move(lack));
  }
  if (verdict_.divergences.size() >= kMaxFindings) return;
  report::Divergence d;
  d.place = std::move(at);
  d.observed = std::move(observed);
  d.expected = std::move(expected);
  d.excluded_by = info_of(rule).id;
  d.statement = info_of(rule).statement;
  d.source = info_of(rule).source;
  d.value_expected = std::move(value_expected);
  d.value_seen = std::move(value_seen);
  verdict_.divergences.push_back(std::move(d));
}

void TracepointReplayer::inconclusive(const std::string& reason) {
  if (reasons_.insert(reason).second) verdict_.inconclusive.push_back(reason);
}

void TracepointReplayer::finish(const trace::TraceInfo& info) {
  verdict_.skipped = info.skipped;
  verdict_.malformed = info.malformed;
  const bool tail_may_miss = info.loss == trace::LossState::kLost;
  if (tail_may_miss && verdict_.lost.empty()) verdict_.lost.push_back({0, 0, 0, "unknown"});
  // A full ring drops what comes last: behind the CPU's last event.
  for (report::Lost& l : verdict_.lost) {
    if (l.how == kRingFull && l.cpu < last_line_.size()) l.line = last_line_[l.cpu];
  }
  size_t unfinished = 0;
  Event end;
  for (auto& [id, t] : threads_) {
    const bool removing =
        t.zap.on || (!t.blocks.empty() && (late_parent_ || t.blocks.back().gap == false) &&
                     t.blocks.back().next != 512 && t.blocks.back().hole);
    if (removing || t.split.on || t.mmio.on || (t.req.installed && !t.req.mmio)) {
      unfinished++;
      t.blocks.clear();
    }
    while (!t.blocks.empty() && !late_parent_) {
      drop_table(end, t.blocks.back(), t.blocks.back().pfn);
      t.blocks.pop_back();
    }
  }
  if (tail_may_miss) held_.clear();
  expire(true);
  if (unfinished != 0) {
    inconclusive(fmt::format("the trace ends in the middle of {} operation(s): its tail is missing",
                             unfinished));
  }
  if (book_.linked() != 0 && !forgot_) {
    inconclusive(fmt::format(
        "the trace ends while {} page tables are linked: what came afterwards is not in it",
        book_.linked()));
  }
  if (n_.failed != 0) {
    inconclusive(
        fmt::format("{} private pages were mapped when their table was removed: giving "
                    "them back failed, or an event is missing",
                    n_.failed));
  }
  if (n_.unknown != 0) {
    inconclusive(
        fmt::format("{} of {} changes could not be compared with the entry's last value: "
                    "it is unknown since events were lost",
                    n_.unknown, n_.changes));
  }
  verdict_.execution = log_.finish();
  std::vector<std::string>& gaps = verdict_.execution.gaps;
  if (n_.bad != 0) gaps.push_back(fmt::format("{} findings", n_.bad));
  if (n_.unknown != 0) gaps.push_back(fmt::format("{} old values are not known", n_.unknown));
  if (n_.failed != 0) gaps.push_back(fmt::format("{} private pages that were left", n_.failed));
  report::SpteChanges& c = verdict_.spte_changes;
  c.inferred = n_.changes > n_.bad ? n_.changes - n_.bad : 0;
  c.diverged = std::min<uint64_t>(n_.bad, n_.changes);
  c.hardware_ad = n_.ad;
  const auto infer = [&](const char* kind, const char* reason, uint64_t count) {
    if (count != 0) verdict_.inferred.push_back({kind, reason, count});
  };
  infer("cause of a change", "no tracepoint says why an entry is zapped, protected or aged",
        n_.cause);
  infer("host-writable", "no tracepoint says whether the host allows writes", n_.host_writable);
  infer("prefetch", "a pre-fault shows only in the lack of a kvm_page_fault", n_.prefetch);
  infer("root", "no tracepoint says which root an entry belongs to", n_.root);
  infer("order", "a tracepoint is printed after its store: another thread's came first", n_.late);
  static constexpr std::array<const char*, 8> kIds{"",
                                                   "MMU-SPTE-LEVEL",
                                                   "MMU-SPTE-ALIGN",
                                                   "MMU-SPTE-PFN",
                                                   "MMU-SPTE-NONPRESENT",
                                                   "MMU-SPTE-TABLE",
                                                   "MMU-SPTE-HOSTW",
                                                   "MMU-SPTE-MMUW"};
  for (size_t i = 1; i < kIds.size(); i++) {
    verdict_.invariants.push_back({kIds[i], n_.changes, n_.broken[i]});
  }
}

}  // namespace mmucheck::replay
