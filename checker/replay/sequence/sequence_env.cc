#include "checker/replay/sequence/sequence_env.h"

#include <charconv>

#include "model/spte/spte.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT: this file is the model's counterpart, name by name

namespace {

constexpr uint64_t kExternalPages = 4096;  // page numbers of external page tables start here

const char* how_name(ev::How how) {
  switch (how) {
    case ev::How::kCas: return "cas";
    case ev::How::kXchg: return "xchg";
    case ev::How::kAnd: return "and";
    case ev::How::kSet: return "set";
  }
  return "";
}

ev::How how_of(const std::string& s) {
  if (s == "xchg") return ev::How::kXchg;
  if (s == "and") return ev::How::kAnd;
  if (s == "set") return ev::How::kSet;
  return ev::How::kCas;
}

ExpectedEvent parse_event(const json& e) {
  ExpectedEvent x;
  const std::string& kind = e[0].get_ref<const std::string&>();
  if (kind == "w" || kind == "wc") {
    x.kind = kind == "w" ? ExpectedEvent::Kind::kStore : ExpectedEvent::Kind::kStoreTraced;
    x.page = e[1].get<uint64_t>();
    x.index = e[2].get<uint64_t>();
    x.old_spte = unhex(e[3]);
    x.new_spte = unhex(e[4]);
    x.how = how_of(e[5].get_ref<const std::string&>());
    if (kind == "wc") {
      x.as_id = e[6].get<uint64_t>();
      x.gfn = unhex(e[7]);
      x.level = e[8].get<uint64_t>();
    }
  } else if (kind == "c") {
    x.kind = ExpectedEvent::Kind::kTraced;
    x.as_id = e[1].get<uint64_t>();
    x.gfn = unhex(e[2]);
    x.level = e[3].get<uint64_t>();
    x.old_spte = unhex(e[4]);
    x.new_spte = unhex(e[5]);
  }
  return x;
}

std::string show(const ExpectedEvent& x) {
  std::string s;
  if (x.kind != ExpectedEvent::Kind::kTraced) {
    s = (x.kind == ExpectedEvent::Kind::kStore ? "w page " : "wc page ") + std::to_string(x.page) +
        " index " + std::to_string(x.index) + " " + how_name(x.how) + " ";
  } else {
    s = "c ";
  }
  s += hex(x.old_spte) + " -> " + hex(x.new_spte);
  if (x.kind != ExpectedEvent::Kind::kStore) {
    s += " as_id " + std::to_string(x.as_id) + " gfn " + hex(x.gfn) + " level " +
         std::to_string(x.level);
  }
  return s;
}

}  // namespace

std::string hex(uint64_t v) {
  char buf[17];
  const auto r = std::to_chars(buf, buf + sizeof buf, v, 16);
  return std::string(buf, r.ptr);
}

void SequenceEnv::push(const json& record) {
  Frame f;
  f.events = &record.at("ev");
  if (record.contains("i")) f.i = record["i"].get<int64_t>();
  else if (!frames_.empty()) f.i = frames_.back().i;
  f.op = record.at("op").get<std::string>();
  frames_.push_back(std::move(f));
}

void SequenceEnv::pop() {
  const Frame& f = frames_.back();
  if (f.trace_due) differ(show(f.due), "no tracepoint");
  if (const json* e = peek()) differ(f.run_left ? show(f.run) : e->dump().substr(0, 200), "nothing");
  // The record of an operation counts what happened while it ran, nested operations too.
  const uint64_t dirty = f.dirty_hints;
  const uint64_t accessed = f.accessed_hints;
  frames_.pop_back();
  if (frames_.empty()) return;
  frames_.back().dirty_hints += dirty;
  frames_.back().accessed_hints += accessed;
}

void SequenceEnv::differ(const std::string& expected, const std::string& got) {
  if (difference_) return;
  Difference d;
  if (!frames_.empty()) {
    d.i = frames_.back().i;
    d.op = frames_.back().op;
  }
  d.expected = expected;
  d.got = got;
  difference_ = d;
}

const json* SequenceEnv::peek() const {
  const Frame& f = frames_.back();
  return f.at < f.events->size() ? &(*f.events)[f.at] : nullptr;
}

int SequenceEnv::lock_mode() const {
  return store_.get(cell::of(CellKind::kLockWriter)) != 0 ? 2 : 1;
}

bool SequenceEnv::next_is(const char* kind) const {
  if (difference_) return false;
  const json* e = peek();
  return e != nullptr && (*e)[0] == kind;
}

std::optional<ExpectedEvent> SequenceEnv::take_store() {
  Frame& f = frames_.back();
  if (f.run_left == 0) {
    const json* e = peek();
    if (e == nullptr) return std::nullopt;
    if ((*e)[0] != "R") {
      const ExpectedEvent x = parse_event(*e);
      if (x.kind == ExpectedEvent::Kind::kOther) return std::nullopt;
      f.at++;
      return x;
    }
    f.run = parse_event((*e)[2]);
    f.run_left = (*e)[1].get<uint64_t>();
  }
  const ExpectedEvent x = f.run;
  const json& e = (*f.events)[f.at];
  f.run.index += unhex_signed(e[3]);
  f.run.old_spte += unhex_signed(e[4]);
  f.run.new_spte += unhex_signed(e[5]);
  f.run.gfn += unhex_signed(e[6]);
  if (--f.run_left == 0) f.at++;
  return x;
}

void SequenceEnv::expect(const json& got) {
  if (difference_) return;
  Frame& f = frames_.back();
  if (f.trace_due) return differ(show(f.due), got.dump());
  const json* e = peek();
  if (e == nullptr) return differ("nothing", got.dump());
  if (f.run_left != 0) return differ(show(f.run), got.dump());
  if (*e != got) return differ(e->dump().substr(0, 300), got.dump());
  f.at++;
}

void SequenceEnv::emit(const ev::Store& e) {
  if (difference_) return;
  Frame& f = frames_.back();
  ExpectedEvent got;
  got.kind = ExpectedEvent::Kind::kStore;
  got.page = page_of(e.table);
  got.index = e.index;
  got.old_spte = e.old_spte;
  got.new_spte = e.new_spte;
  got.how = e.how;
  if (f.trace_due) return differ(show(f.due), show(got));
  // A table that is linked with contents shows them just before.
  const uint64_t child_pfn = spte_to_pfn<>(e.new_spte);
  if (is_shadow_present_pte<>(e.new_spte) && next_is("fill")) {
    const uint32_t child = store_.find_table(child_pfn);
    if (child == kNoTable) return differ("a table", show(got));
    const uint64_t v0 = store_.get(cell::pte(child, 0));
    const uint64_t step = store_.get(cell::pte(child, 1)) - v0;
    for (uint64_t k = 0; k < kSpteEntPerPage; k++) {
      if (store_.get(cell::pte(child, k)) != v0 + k * step) {
        return differ("an arithmetic fill", "entry " + std::to_string(k));
      }
    }
    expect(json::array({"fill", page_of(child), hex(v0), hex(step)}));
    if (difference_) return;
  }
  const auto x = take_store();
  if (!x) {
    const json* p = peek();
    return differ(p ? p->dump().substr(0, 200) : "nothing", show(got));
  }
  if (x->kind == ExpectedEvent::Kind::kTraced || x->page != got.page || x->index != got.index ||
      x->old_spte != got.old_spte || x->new_spte != got.new_spte || x->how != got.how) {
    return differ(show(*x), show(got));
  }
  if (x->kind == ExpectedEvent::Kind::kStoreTraced) {
    f.trace_due = true;
    f.due = *x;
  }
}

void SequenceEnv::emit(const ev::SpteChanged& e) {
  if (difference_) return;
  Frame& f = frames_.back();
  ExpectedEvent got;
  got.kind = ExpectedEvent::Kind::kTraced;
  got.as_id = e.as_id;
  got.gfn = e.gfn;
  got.level = static_cast<uint64_t>(e.level);
  got.old_spte = e.old_spte;
  got.new_spte = e.new_spte;
  std::optional<ExpectedEvent> x;
  if (f.trace_due) {
    x = f.due;
    f.trace_due = false;
  } else {
    x = take_store();
    if (x && x->kind != ExpectedEvent::Kind::kTraced) return differ(show(*x), show(got));
  }
  if (!x) {
    const json* p = peek();
    return differ(p ? p->dump().substr(0, 200) : "nothing", show(got));
  }
  if (x->as_id != got.as_id || x->gfn != got.gfn || x->level != got.level ||
      x->old_spte != got.old_spte || x->new_spte != got.new_spte) {
    differ(show(*x), show(got));
  }
}

void SequenceEnv::emit(const ev::CasFail& e) {
  expect(json::array({"casfail", page_of(e.table), e.index, hex(e.expected), hex(e.found)}));
}
void SequenceEnv::emit(const ev::AllocTable& e) {
  const char* kind = e.kind == ev::TableKind::kSplit ? "s" : "v";
  pages_.insert(page_of(e.table));
  expect(json::array({"alloc", page_of(e.table), kind}));
}
void SequenceEnv::emit(const ev::AllocExternal& e) {
  pages_.insert(e.frame - pool_pfn_);
  expect(json::array({"alloc", e.frame - pool_pfn_, "x"}));
}
void SequenceEnv::emit(const ev::FreedExternal& e) {
  pages_.erase(e.frame - pool_pfn_);
  expect(json::array({"free", e.frame - pool_pfn_}));
}
void SequenceEnv::emit(const ev::ExternalSet& e) {
  hook_result_ = 0;
  if (next_is("hook") && frames_.back().run_left == 0) {
    hook_result_ = (*peek())[6].get<int>();
  }
  expect(json::array({"hook", "set", hex(e.gfn), e.level, hex(e.old_spte), hex(e.new_spte),
                      hook_result_, lock_mode()}));
}
void SequenceEnv::emit(const ev::ExternalFree& e) {
  const auto level = role_level(static_cast<uint32_t>(store_.get(cell::of(CellKind::kSpRole, e.table))));
  expect(json::array({"hook", "free", hex(store_.get(cell::of(CellKind::kSpGfn, e.table))), level,
                      page_of(e.table)}));
}
// What there was no memory for, the page or its header, is an input: nothing else depends on it.
void SequenceEnv::emit(const ev::AllocFailed&) {
  const bool named = next_is("allocfail") && frames_.back().run_left == 0 && peek()->size() == 2;
  expect(json::array({"allocfail", named ? (*peek())[1] : json("page")}));
}
void SequenceEnv::emit(const ev::InitSp& e) {
  expect(json::array({"init", page_of(e.table), hex(e.gfn), hex(e.role)}));
}
void SequenceEnv::emit(const ev::PrepareZapPage& e) {
  expect(json::array({"zappt", page_of(e.table), hex(e.gfn), hex(e.role)}));
}
void SequenceEnv::emit(const ev::RcuQueued& e) { expect(json::array({"rcu", e.pending})); }
void SequenceEnv::emit(const ev::Freed& e) {
  pages_.erase(page_of(e.table));
  expect(json::array({"free", page_of(e.table)}));
}
void SequenceEnv::emit(const ev::SpteRequested& e) {
  expect(json::array({"req", hex(e.gfn), hex(e.pfn), e.level, e.req_level}));
}
void SequenceEnv::emit(const ev::SetSpte& e) {
  expect(json::array({"set", e.level, hex(e.gfn), page_of(e.table), e.index, hex(e.spte)}));
}
void SequenceEnv::emit(const ev::MarkMmioSpte& e) {
  expect(json::array({"mmio", page_of(e.table), e.index, hex(e.gfn), hex(e.spte)}));
}
void SequenceEnv::emit(const ev::SplitHugePage& e) {
  expect(json::array({"split", hex(e.gfn), hex(e.spte), e.level, e.error}));
}
void SequenceEnv::emit(const ev::FastPageFault& e) {
  expect(json::array({"fast", hex(e.gfn), page_of(e.table), e.index, hex(e.old_spte),
                      hex(e.new_spte), e.ret}));
}
void SequenceEnv::emit(const ev::Flush& e) {
  switch (e.kind) {
    case ev::FlushKind::kAll: return expect(json::array({"flush", "all", "0", "0"}));
    case ev::FlushKind::kRange: return expect(json::array({"flush", "range", hex(e.a), hex(e.b)}));
    case ev::FlushKind::kMemslot: return expect(json::array({"flush", "memslot", hex(e.a), hex(e.b)}));
    case ev::FlushKind::kRequest: return expect(json::array({"flush", "request", hex(e.a), hex(e.b)}));
  }
}
void SequenceEnv::emit(const ev::Lock& e) { expect(json::array({"L", e.write ? 2 : 1})); }
void SequenceEnv::emit(const ev::Unlock& e) { expect(json::array({"U", e.write ? 2 : 1})); }
void SequenceEnv::emit(const ev::Yield& e) { expect(json::array({"resched", e.write ? 2 : 1})); }
void SequenceEnv::emit(const ev::MarkDirty& e) {
  const HostSlot& s = slots[e.slot];
  expect(json::array({"dirty", s.as_id, s.id, hex(e.gfn)}));
}
void SequenceEnv::emit(const ev::PfnHint& e) {
  Frame& f = frames_.back();
  (e.dirty ? f.dirty_hints : f.accessed_hints)++;
}
void SequenceEnv::emit(const ev::Warn& e) {
  if (difference_) return;
  if (next_is("warn")) {
    frames_.back().at++;
    // KVM_BUG_ON asks every vCPU to stop.
    const auto is_request = [](const json& x) { return x.size() > 1 && x[1] == "request"; };
    if (next_is("flush") && is_request(*peek())) frames_.back().at++;
    return;
  }
  const json* p = peek();
  differ(p ? p->dump().substr(0, 200) : "nothing", std::string("warn ") + e.rule);
}

void SequenceEnv::apply_hw(const json& entry) {
  const uint32_t table = table_of(entry[1].get<uint64_t>());
  const Cell c = cell::pte(table, entry[2].get<uint64_t>());
  const uint64_t was = store_.get(c);
  if (was != unhex(entry[3])) return differ(entry.dump(), "entry is " + hex(was));
  store_.set(c, unhex(entry[4]));
}

bool SequenceEnv::run_next_nested() {
  if (frames_.back().run_left != 0 || frames_.back().trace_due) return false;
  if (next_is("op")) {
    const json& record = (*peek())[1];
    frames_.back().at++;
    run_nested_(record);
    return true;
  }
  if (next_is("hw")) {
    const json& entry = *peek();
    frames_.back().at++;
    apply_hw(entry);
    return true;
  }
  return false;
}

void SequenceEnv::run_nested_here(bool at_least_one) {
  const Frame& f = frames_.back();
  const auto nested = [](const json& e) { return e[0] == "op" || e[0] == "hw"; };
  uint32_t row = 0;
  while (f.at + row < f.events->size() && nested((*f.events)[f.at + row])) row++;
  uint32_t left_for_later = 0;
  if (row >= 1 && f.run_left == 0 && !f.trace_due && !difference_) {
    const size_t n = choices_of.size();
    if (n < choices.size()) left_for_later = choices[n];
    choices_of.push_back(at_least_one ? row - 1 : row);
  }
  for (uint32_t k = left_for_later; k < row; k++) {
    if (!run_next_nested()) return;
  }
}

void SequenceEnv::before(Point point, uint32_t table, uint32_t index) {
  if (frames_.empty() || point == Point::kTrace) return;
  if (point == Point::kRead) {
    const uint64_t k = ++frames_.back().reads;
    if (!next_is("rd") || frames_.back().run_left != 0 || (*peek())[3].get<uint64_t>() != k) return;
    expect(json::array({"rd", page_of(table), index, k}));
  }
  run_nested_here(point == Point::kRead);
}

void SequenceEnv::restore(const SequenceEnv& saved) {
  frames_ = saved.frames_;
  pages_ = saved.pages_;
  difference_ = saved.difference_;
  slots = saved.slots;
  host_2m = saved.host_2m;
  host_1g = saved.host_1g;
}

bool SequenceEnv::need_resched(const TdpIter& it) {
  Frame& f = frames_.back();
  f.polls++;
  if (!next_is("poll") || f.run_left != 0 || (*peek())[1].get<uint64_t>() != f.polls) return false;
  if (it.root == kNoTable) {
    f.at++;  // NX recovery: no iterator
    return true;
  }
  expect(json::array({"poll", f.polls, hex(it.gfn), it.level, hex(it.next_last_level_gfn),
                      hex(it.yielded_gfn)}));
  return true;
}

uint64_t SequenceEnv::new_table_frame(ev::TableKind kind) {
  if (next_is("allocfail")) return kNoFrame;
  if (pages_.size() >= kMaxSequenceTables) {
    differ("at most " + std::to_string(kMaxSequenceTables) + " page tables", "one more");
    return kNoFrame;
  }
  uint64_t page = kind == ev::TableKind::kExternal ? kExternalPages : 0;
  for (auto it = pages_.lower_bound(page); it != pages_.end() && *it == page; ++it) page++;
  return pool_pfn_ + page;
}

uint64_t SequenceEnv::hva_of(uint32_t slot, uint64_t gfn) const {
  const HostSlot& s = slots[slot];
  return s.hva + ((gfn - s.base) << kPageShift);
}

int SequenceEnv::host_level(uint32_t slot, uint64_t gfn, bool) const {
  const uint64_t hva = hva_of(slot, gfn);
  if (host_1g.contains(hva >> 30)) return kPgLevel1G;
  const auto it = host_2m.find(hva >> 21);
  return it == host_2m.end() ? kPgLevel4K : it->second;
}

uint64_t SequenceEnv::page_of(uint32_t table) const {
  if (table == kNoTable || !store_.is_live(table)) return ~uint64_t{0};
  return store_.get(cell::of(CellKind::kSpPfn, table)) - pool_pfn_;
}

}  // namespace mmucheck::replay
