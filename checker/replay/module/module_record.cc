#include "checker/replay/module/module_record.h"

#include <charconv>

namespace mmucheck::replay {

namespace tdx = model::tdx;

namespace {

constexpr uint64_t kMaxPage = (uint64_t{1} << 40) - 1;
constexpr uint64_t kMaxRun = 1u << 18;  // entries in one run
constexpr size_t kMaxVcpus = 64;
constexpr uint64_t kMaxReserved = 1u << 20;

[[noreturn]] void bad(const std::string& what) { throw BadSequence(what); }

const json& at(const json& j, const char* key) {
  const auto it = j.find(key);
  if (it == j.end()) bad(std::string("there is no \"") + key + '"');
  return *it;
}
const json* maybe(const json& j, const char* key) {
  const auto it = j.find(key);
  return it == j.end() ? nullptr : &*it;
}
const json& object_at(const json& j, const char* key) {
  const json& o = at(j, key);
  if (!o.is_object()) bad(std::string("\"") + key + "\" is no object");
  return o;
}
const json& list_at(const json& j, const char* key) {
  const json& o = at(j, key);
  if (!o.is_array()) bad(std::string("\"") + key + "\" is no list");
  return o;
}
const std::string& text_at(const json& j, const char* key) {
  const json& o = at(j, key);
  if (!o.is_string()) bad(std::string("\"") + key + "\" is no string");
  return o.get_ref<const std::string&>();
}

// A number, or a string "0x..." of one.
uint64_t number(const json& j, const char* what, uint64_t max = ~uint64_t{0}) {
  uint64_t v = 0;
  if (j.is_number_unsigned()) {
    v = j.get<uint64_t>();
  } else {
    const std::string* s = j.is_string() ? &j.get_ref<const std::string&>() : nullptr;
    const bool hex = s != nullptr && s->size() > 2 && s->starts_with("0x");
    const char* end = hex ? s->data() + s->size() : nullptr;
    if (!hex) bad(std::string("\"") + what + "\" is no number");
    const auto r = std::from_chars(s->data() + 2, end, v, 16);
    if (r.ec != std::errc() || r.ptr != end) bad(std::string("\"") + what + "\" is no number");
  }
  if (v > max) bad(std::string("\"") + what + "\" is out of range");
  return v;
}
uint64_t number_at(const json& j, const char* key, uint64_t max = ~uint64_t{0}) {
  return number(at(j, key), key, max);
}
uint64_t number_or(const json& j, const char* key, uint64_t otherwise,
                   uint64_t max = ~uint64_t{0}) {
  const json* v = maybe(j, key);
  return v == nullptr ? otherwise : number(*v, key, max);
}

template <size_t N>
uint64_t name_index(const std::array<const char*, N>& names, const std::string& name,
                    const char* what) {
  for (size_t i = 0; i < N; i++) {
    if (name == names[i]) return i;
  }
  bad("\"" + name + "\" is no " + what);
}

uint64_t pt_at(const json& j) {
  const std::string& name = text_at(j, "pt");
  for (const tdx::PtName& p : tdx::kPtNames) {
    if (name == p.name) return static_cast<uint64_t>(p.type);
  }
  bad("\"" + name + "\" is no page type");
}

uint64_t state_at(const json& j, const char* key) {
  const std::string& name = text_at(j, key);
  for (const tdx::SeptStateInfo& s : tdx::kSeptStates) {
    if (name == s.name) return tdx::enc(s.state);
  }
  bad("\"" + name + "\" is no state of an entry");
}

// One side of an entry's change: entry k of the run.
struct Side {
  std::optional<uint64_t> raw;
  uint64_t stride = 0;
};
Side read_side(const json& j, ModuleRecord& r) {
  const std::string& name = text_at(j, "state");
  if (name == "ABSENT") return {};
  const Side side{number_at(j, "raw"), number_or(j, "stride", 0)};
  if (name != tdx::sept_state_name(*side.raw)) r.wrong_names.push_back(name);
  return side;
}

void read_diff(const json& list, ModuleRecord& r) {
  for (const json& d : list) {
    if (!d.is_object()) bad("a change is no object");
    SeptDiff first;
    first.level = static_cast<int>(number_at(d, "level", tdx::kMaxSeptLevel));
    first.gpa = number_at(d, "gpa");
    const uint64_t n = number_or(d, "n", 1, kMaxRun);
    const Side before = read_side(object_at(d, "before"), r);
    const Side after = read_side(object_at(d, "after"), r);
    for (uint64_t k = 0; k < n; k++) {
      SeptDiff e = first;
      e.gpa += k * tdx::sept_span(first.level);
      if (before.raw) e.before = *before.raw + k * before.stride;
      if (after.raw) e.after = *after.raw + k * after.stride;
      r.diff.push_back(e);
    }
    if (r.diff.size() > 4 * kMaxRun) bad("too many changed entries");
  }
}

PamtEntry read_pamt(const json& j) {
  PamtEntry e;
  e.pt = pt_at(j);
  e.owner = number_at(j, "owner");
  e.bepoch = number_at(j, "bepoch");
  e.lock = number_or(j, "lock", 0, 0xffff);
  return e;
}

void read_pamt_diff(const json& list, ModuleRecord& r) {
  for (const json& d : list) {
    if (!d.is_object()) bad("a change is no object");
    PamtDiff first;
    first.size = static_cast<int>(number_at(d, "size", 2));
    first.page = number_at(d, "hpa", kMaxPage);
    first.before = read_pamt(object_at(d, "before"));
    first.after = read_pamt(object_at(d, "after"));
    const uint64_t n = number_or(d, "n", 1, kMaxRun);
    for (uint64_t k = 0; k < n; k++) {
      r.pamt_diff.push_back(first);
      first.page += tdx::pages_of(first.size);
    }
    if (r.pamt_diff.size() > 4 * kMaxRun) bad("too many changed PAMT entries");
  }
}

struct LockName {
  HarnessLock lock;
  const char* name;
};
constexpr LockName kLockNames[] = {
    {HarnessLock::kTdr, "TDR"},           {HarnessLock::kOpState, "OP_STATE"},
    {HarnessLock::kSeptTree, "SEPT_TREE"}, {HarnessLock::kTdEpoch, "TD_EPOCH"},
    {HarnessLock::kKot, "KOT"},           {HarnessLock::kPamt4k, "PAMT_4K"},
    {HarnessLock::kPamt2m, "PAMT_2M"},    {HarnessLock::kPamt1g, "PAMT_1G"},
    {HarnessLock::kSeptEntry, "SEPT_ENTRY"}};

void read_harness(const json& in, ModuleRecord& r) {
  if (r.leaf == "HARNESS.LOCK" || r.leaf == "HARNESS.UNLOCK") {
    r.harness = r.leaf == "HARNESS.LOCK" ? Harness::kLock : Harness::kUnlock;
    const std::string& name = text_at(in, "lock");
    const LockName* found = nullptr;
    for (const LockName& l : kLockNames) {
      if (name == l.name) found = &l;
    }
    if (found == nullptr) bad("\"" + name + "\" is no lock");
    r.lock = found->lock;
    if (r.lock == HarnessLock::kSeptEntry) {
      r.poke_gpa = number_at(in, "gpa");
      r.poke_level = static_cast<int>(number_at(in, "level", tdx::kMaxSeptLevel));
      return;
    }
    const std::string& mode = text_at(in, "mode");
    if (mode != "SH" && mode != "EX") bad("\"" + mode + "\" is no mode of a lock");
    r.lock_exclusive = mode == "EX";
    r.arg = number_or(in, "arg", 0, kMaxPage);
  } else if (r.leaf == "HARNESS.POKE_ENTRY") {
    r.harness = Harness::kPokeEntry;
    r.poke_gpa = number_at(in, "gpa");
    r.poke_level = static_cast<int>(number_at(in, "level", tdx::kMaxSeptLevel));
    r.poke = state_at(in, "state");
  } else if (r.leaf == "HARNESS.POKE_OP_STATE") {
    r.harness = Harness::kPokeOpState;
    r.poke = name_index(tdx::kOpStateNames, text_at(in, "op_state"), "op state");
  } else if (r.leaf == "HARNESS.POKE_FATAL") {
    r.harness = Harness::kPokeFatal;
    r.poke = number_at(in, "fatal", 1);
  }
}

void read_call(const json& j, const json& in, ModuleRecord& r) {
  const tdx::LeafInfo* leaf = tdx::find_leaf(r.leaf);
  if (leaf == nullptr) bad("\"" + r.leaf + "\" is no call");
  tdx::ModuleCall& c = r.call;
  c.leaf = leaf->leaf;
  c.version = static_cast<uint8_t>(number_or(in, "version", 0, 255));
  c.in.rcx = number_or(in, "rcx", 0);
  c.in.rdx = number_or(in, "rdx", 0);
  c.in.r8 = number_or(in, "r8", 0);
  c.in.r9 = number_or(in, "r9", 0);
  c.in.r10 = number_or(in, "r10", 0);
  c.in.r11 = number_or(in, "r11", 0);
  c.lp = static_cast<uint32_t>(number_or(in, "lp", 0, 4095));
  c.intr_after = static_cast<uint32_t>(number_or(in, "intr_after", 0, 1u << 30));
  r.names_vcpu = j.contains("vcpu");
  c.vcpu = static_cast<uint32_t>(number_or(j, "vcpu", 0, kMaxVcpus));
  if (c.leaf == tdx::Leaf::kGuestAccess) {
    c.in.rcx = number_at(in, "gpa");
    const std::string& access = text_at(in, "access");
    if (access != "r" && access != "w" && access != "x") bad("\"" + access + "\" is no access");
    c.access_write = access == "w";
    c.access_exec = access == "x";
  }
}

void read_answer(const json& j, ModuleRecord& r) {
  r.status = text_at(j, "status");
  if (const json* rax = maybe(j, "rax")) r.rax = number(*rax, "rax");
  const json& out = object_at(j, "out");
  const tdx::Registers& in = r.call.in;
  r.out = {number_or(out, "rcx", in.rcx), number_or(out, "rdx", in.rdx),
           number_or(out, "r8", in.r8),   number_or(out, "r9", in.r9),
           number_or(out, "r10", in.r10), number_or(out, "r11", in.r11)};
  if (const json* hpa = maybe(out, "hpa")) r.out_hpa = number(*hpa, "hpa");
  if (out.contains("vcpu_epoch")) {
    r.out_enter = {number_at(out, "invept_epoch"), number_at(out, "invept_vcpu_switch"),
                   number_at(out, "vcpu_epoch")};
  }
  if (const json* x = maybe(j, "exit")) {
    if (!x->is_object()) bad("\"exit\" is no object");
    r.exit = tdx::ExitInfo{number_at(*x, "gpa"), number_at(*x, "qual"), number_at(*x, "eeq"),
                           static_cast<uint8_t>(number_or(*x, "req_level", 0, 255)),
                           static_cast<uint8_t>(number_or(*x, "err_level", 0, 255)),
                           static_cast<uint8_t>(number_or(*x, "err_state", 0, 255))};
  }
  read_diff(list_at(j, "diff"), r);
  read_pamt_diff(list_at(j, "pamt_diff"), r);
  const json& td = object_at(j, "td");
  r.epoch = number_at(td, "epoch");
  r.chldcnt = number_at(td, "chldcnt");
  const json& refcount = list_at(td, "refcount");
  if (refcount.size() != 2) bad("\"refcount\" has not two numbers");
  r.refcount = {number(refcount[0], "refcount"), number(refcount[1], "refcount")};
  if (td.contains("op_state")) {
    r.op_state = name_index(tdx::kOpStateNames, text_at(td, "op_state"), "op state");
  }
  if (td.contains("lifecycle")) {
    r.lifecycle = name_index(tdx::kLifecycleNames, text_at(td, "lifecycle"), "life cycle state");
  }
  if (const json* assoc = maybe(td, "assoc")) r.assoc = number(*assoc, "assoc");
  r.epoch_lock = number_or(td, "epoch_lock", 0);
  r.tree_lock = number_or(td, "tree_lock", 0);
  r.op_lock = number_or(td, "op_lock", 0);
}

void read_pool(const json& pool, ModuleHeader& h) {
  h.platform.tdmr_pages = number_at(pool, "tdmr_pages", kMaxPage);
  h.td.tdr = number_at(pool, "tdr", kMaxPage);
  h.td.sept_root = number_at(pool, "sept_root", kMaxPage);
  h.other_tdr = number_or(pool, "other_tdr_no_keys", 0, kMaxPage);
  h.pamt_recorded_4k = number_or(pool, "pamt_recorded_4k", ~uint64_t{0});
  const json& tdcx = list_at(pool, "tdcx");
  if (tdcx.size() != 2) bad("\"tdcx\" is not a page and a number");
  h.tdcx = number(tdcx[0], "tdcx", kMaxPage);
  h.tdcx_count = number(tdcx[1], "tdcx", 64);
  uint64_t pages = 0;
  for (const json& range : list_at(pool, "reserved")) {
    if (!range.is_array() || range.size() != 2) bad("a reserved range is not two pages");
    const uint64_t first = number(range[0], "reserved", kMaxPage);
    const uint64_t end = number(range[1], "reserved", kMaxPage);
    pages += end > first ? end - first : 0;
    if (pages > kMaxReserved) bad("too many reserved pages");
    h.reserved.emplace_back(first, end);
  }
  const json& vcpus = list_at(pool, "vcpus");
  if (vcpus.size() > kMaxVcpus) bad("too many vCPUs");
  for (const json& v : vcpus) {
    if (!v.is_object()) bad("a vCPU is no object");
    h.vcpus.push_back({number_at(v, "tdvpr", kMaxPage), 0});
    h.vcpu_lp.push_back(static_cast<uint32_t>(number_at(v, "lp", 4095)));
    h.vcpu_epoch.push_back(number_at(v, "epoch"));
  }
}

// HKIDs are the uppermost bits of a physical address, and the TD has a private one.
void read_hkids(const json& hkid, tdx::Platform& platform) {
  constexpr uint64_t kAddressBits = 52;
  platform.hkid_shift = static_cast<int>(number_at(hkid, "start_bit", kAddressBits - 1));
  const uint64_t bits = number_at(hkid, "bits", kAddressBits - platform.hkid_shift);
  const uint64_t count = uint64_t{1} << bits;
  platform.hkid_mask = (count - 1) << platform.hkid_shift;
  platform.first_private_hkid = number_at(hkid, "private_min", count - 1);
  if (number_or(hkid, "td", platform.first_private_hkid, count - 1) < platform.first_private_hkid) {
    bad("the HKID of the TD is none of the private ones");
  }
}

}  // namespace

ModuleHeader read_module_header(const json& j) {
  if (!j.is_object() || !j.contains("module_commit") || !j.contains("sept_levels")) {
    bad("the first line is no header of a module sequence");
  }
  if (number_at(j, "format") != 1) bad("this format is not known");
  ModuleHeader h;
  h.td.sept_levels = static_cast<int>(number_at(j, "sept_levels", 5));
  h.td.gpaw = static_cast<int>(number_at(j, "gpaw", 52));
  if (h.td.sept_levels < 4) bad("\"sept_levels\" is neither 4 nor 5");
  if (h.td.gpaw != 48 && h.td.gpaw != 52) bad("\"gpaw\" is neither 48 nor 52");
  if (h.td.gpaw == 52 && h.td.sept_levels == 4) bad("\"gpaw\" 52 needs five \"sept_levels\"");
  const json& attributes = object_at(j, "attributes");
  h.td.debug = number_at(attributes, "debug", 1) != 0;
  h.td.sept_ve_disable = number_at(attributes, "sept_ve_disable", 1) != 0;
  h.op_state = static_cast<tdx::OpState>(
      name_index(tdx::kOpStateNames, text_at(j, "op_state"), "op state"));
  h.lifecycle = static_cast<tdx::TdLifecycle>(
      name_index(tdx::kLifecycleNames, text_at(j, "lifecycle"), "life cycle state"));
  h.epoch = number_at(j, "epoch");
  h.chldcnt = number_at(j, "chldcnt");
  const json& refcount = list_at(j, "refcount");
  if (refcount.size() != 2) bad("\"refcount\" has not two numbers");
  h.refcount = {number(refcount[0], "refcount"), number(refcount[1], "refcount")};
  read_hkids(object_at(j, "hkid"), h.platform);
  // Of every recorded platform; the header does not say.
  h.platform.seamrr = 0x3f00000000;
  h.platform.seamrr_end = h.platform.seamrr + (32u << 20);
  if (!text_at(j, "module_commit").starts_with("72d8cff")) {  // later than 1.5.01
    h.platform.version.untracked_unblock = tdx::Operand::kRcx;
  }
  if (number_at(j, "free_raw") != tdx::kSeptFreeEntry) bad("\"free_raw\" is not a FREE entry");
  read_pool(object_at(j, "pool"), h);
  return h;
}

ModuleRecord read_module_record(const json& j) {
  if (!j.is_object()) bad("the line is no object");
  ModuleRecord r;
  r.i = static_cast<int64_t>(number_at(j, "i", uint64_t{1} << 62));
  r.leaf = text_at(j, "leaf");
  const json& in = object_at(j, "in");
  read_harness(in, r);
  if (r.harness == Harness::kNone) {
    if (r.leaf.starts_with("HARNESS.")) bad("\"" + r.leaf + "\" is not known");
    read_call(j, in, r);
  }
  read_answer(j, r);
  return r;
}

}  // namespace mmucheck::replay
