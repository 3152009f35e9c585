#include "checker/replay/sequence/sequence_runner.h"

#include <algorithm>

#include "checker/replay/sequence/sequence_ops.h"
#include "model/tdp/roots.h"
#include "model/vm/memslot.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT

struct SequenceRunner::State {
  State(const Design& d, const HostMmu& host, uint64_t pool_pfn)
      : design(d),
        env(store, pool_pfn, [this](const json& r) { run(r); }),
        world{store, env, design, make_spte_format(design, host), host, {}} {}

  void run(const json& record);
  void run_with_choices(const json& record);
  void check_after(const json& record);
  json roots() const;
  json nx_list() const;
  json statistics() const;
  json hash() const;

  const Design& design;
  RadixStore store;
  SequenceEnv env;
  SequenceWorld world;
};

namespace {

bool flag_at(const json& h, const char* key) { return unsigned_at(h, key, 1) != 0; }
int int_at(const json& h, const char* key, int min, int max) {
  const int v = static_cast<int>(unsigned_at(h, key, static_cast<uint64_t>(max)));
  if (v < min) throw BadSequence(std::string(key) + " is less than " + std::to_string(min));
  return v;
}

HostMmu read_host(const json& h) {
  HostMmu host;
  const std::string format = h.at("format").get<std::string>();
  if (format != "npt" && format != "ept" && format != "ept-noad" && format != "ept-tdx") {
    throw BadSequence("format \"" + format + "\" is not known");
  }
  host.format = format == "npt" ? PageTableFormat::kNpt : PageTableFormat::kEpt;
  host.ad_bits = format != "ept-noad";
  host.maxphyaddr = int_at(h, "maxphyaddr", 32, 52);
  host.l1tf = flag_at(h, "l1tf");
  host.mmio_caching = flag_at(h, "mmio_caching");
  host.max_huge_page_level = int_at(h, "max_huge_page_level", kPgLevel4K, kMaxHugepageLevel);
  host.ept_memtype_bits = unsigned_at(h, "ept_memtype_bits", 0x78);  // bits 6:3
  host.nx_huge_pages = flag_at(h, "nx_huge_pages");
  host.cpu_dirty_log_size = int_at(h, "cpu_dirty_log_size", 0, 65536);
  host.prove_mmu = flag_at(h, "prove_mmu");
  return host;
}

const Design& read_design(const json& h) {
  const std::string kernel = h.at("kernel").get<std::string>();
  const Design* design = kernel.starts_with("6.12")  ? find_design("linux-6.12")
                         : kernel.starts_with("7.2") ? find_design("linux-7.2")
                                                     : nullptr;
  if (design == nullptr) throw BadSequence("kernel \"" + kernel + "\" is not known");
  return *design;
}

// `pages` counts the frames of all slots read so far.
void read_slot(SequenceWorld& w, const json& s, uint64_t* pages) {
  SequenceEnv::HostSlot host;
  host.base = unhex_at(s, "base", kMaxGfn);
  host.npages = unhex_at(s, "npages", kMaxSequencePages);
  host.hva = unhex_at(s, "uaddr");
  host.as_id = static_cast<uint32_t>(unsigned_at(s, "as_id", 255));
  host.id = unsigned_at(s, "id");
  *pages += host.npages;
  if (host.npages == 0 || *pages > kMaxSequencePages) {
    throw BadSequence("a memslot is empty, or all together are too large");
  }
  const auto slot = static_cast<uint32_t>(unsigned_at(s, "slot", kMaxSequenceSlots - 1));
  slot_set(w, slot, SlotField::kInUse, 1);
  w.set_field(CellKind::kSlotBound, 0, std::max<uint64_t>(slot_bound(w), slot + 1));
  slot_set(w, slot, SlotField::kAsId, host.as_id);
  slot_set(w, slot, SlotField::kId, host.id);
  slot_set(w, slot, SlotField::kBase, host.base);
  slot_set(w, slot, SlotField::kNpages, host.npages);
  slot_set(w, slot, SlotField::kHva, host.hva);
  init_lpage_info(w, slot);
  if (w.env.slots.size() <= slot) w.env.slots.resize(slot + 1);
  w.env.slots[slot] = host;
  uint64_t gfn = host.base;
  for (const char c : s.at("host2M").get<std::string>()) {
    if (c != '1' && c != '2') throw BadSequence("host2M has another digit than 1 and 2");
    w.env.host_2m[w.env.hva_of(slot, gfn) >> 21] = static_cast<uint8_t>(c - '0');
    gfn = gfn_round_for_level<>(gfn, kPgLevel2M) + pages_per_hpage(kPgLevel2M);
  }
  const json& host1g = s.at("host1G");
  if (!host1g.is_array() || host1g.empty()) throw BadSequence("host1G is no list");
  if (host1g[0] == 3) w.env.host_1g.insert(host.hva >> 30);
}

// The masks that the kernel printed against those that the model built.
std::string masks_differ(const SpteFormat& f, const json& m) {
  const auto at = [&](const char* key) { return m.contains(key) ? unhex(m[key]) : 0; };
  const std::pair<const char*, uint64_t> want[] = {
      {"shadow_host_writable_mask", f.host_writable},
      {"shadow_mmu_writable_mask", f.mmu_writable},
      {"shadow_nx_mask", f.nx},
      {"shadow_accessed_mask", f.accessed},
      {"shadow_dirty_mask", f.dirty},
      {"shadow_present_mask", f.present},
      {"shadow_user_mask", f.user},
      {"shadow_mmio_value", f.mmio_value},
      {"shadow_mmio_mask", f.mmio_mask},
      {"shadow_mmio_access_mask", f.mmio_access},
      {"shadow_nonpresent_or_rsvd_mask", f.rsvd_mask},
      {"SHADOW_NONPRESENT_VALUE", kNonpresent},
      {"FROZEN_SPTE", f.frozen},
      {"SPTE_MMU_PRESENT_MASK", kMmuPresent},
  };
  for (const auto& [key, value] : want) {
    if (at(key) != value) {
      return std::string(key) + ": the kernel has " + hex(at(key)) + ", the model " + hex(value);
    }
  }
  if (f.nx == 0 && (at("shadow_x_mask") | at("shadow_xs_mask") | at("shadow_xu_mask")) != f.exec) {
    return "execute mask: the model has " + hex(f.exec);
  }
  if (f.nx == 0 && at("shadow_acc_track_mask") != f.acc_track) {
    return "shadow_acc_track_mask: the model has " + hex(f.acc_track);
  }
  return {};
}

}  // namespace

SequenceRunner::SequenceRunner() = default;
SequenceRunner::~SequenceRunner() = default;

bool SequenceRunner::line(std::string_view text) {
  try {
    if (ended_) throw BadSequence("the sequence goes on after its end");
    const json j = parse_sequence_line(text);
    if (!state_) {
      header(j);
    } else if (j.contains("end")) {
      ended_ = true;
    } else {
      record(j);
    }
    return true;
  } catch (const BadSequence& e) {
    error_ = e.what();
  } catch (const json::exception& e) {
    error_ = e.what();
  }
  return false;
}

void SequenceRunner::header(const json& h) {
  const Design& design = read_design(h);
  auto state = std::make_unique<State>(design, read_host(h), unhex_at(h, "pool_pfn", kMaxGfn));
  SequenceWorld& w = state->world;
  mirror_ = flag_at(h, "mirror");
  w.vm.has_mirror = mirror_;
  w.vm.gfn_direct_bits = unhex_at(h, "direct_gfn_bits", kMaxGfn);
  const std::string broken = masks_differ(w.fmt, h.at("masks"));
  if (!broken.empty()) first_ = Difference{-1, "header", broken, "the masks that the model builds"};
  if (h.at("format") == "ept-tdx") w.fmt = with_td_mmio_value(w.fmt);
  w.set_field(CellKind::kMemslotGen, 0, unhex_at(h, "memslot_gen"));
  const json& slots = h.at("slots");
  if (!slots.is_array()) throw BadSequence("slots is no list");
  uint64_t pages = 0;
  for (const json& s : slots) read_slot(w, s, &pages);
  state_ = std::move(state);
}

void SequenceRunner::record(const json& r) {
  check_record(r, state_->world.fmt.accessed | state_->world.fmt.dirty);
  if (++ops_ > kMaxSequenceOps) throw BadSequence("more operations than the limit of a million");
  if (first_) return;  // after a difference the states are no longer the same
  state_->run_with_choices(r);
  if (state_->env.difference()) {
    first_ = state_->env.difference();
  } else {
    agree_++;
  }
}

void SequenceRunner::State::run(const json& r) {
  env.push(r);
  if (r.at("op") == "hw") {
    for (const json& e : r.at("ev")) {
      if (e[0] != "hw") throw BadSequence("the CPU does something else than set bits");
      env.hw_event(e);
    }
    env.skip_events();
  }
  const std::optional<json> ret = run_sequence_op(world, r);
  if (!ret) {
    env.differ(r.at("op").get<std::string>(), "an operation that is not known");
  } else if (r.contains("ret") && *ret != r["ret"]) {
    env.differ("ret " + r["ret"].dump(), "ret " + ret->dump());
  }
  check_after(r);
  env.pop();
}

// Tries the other places that nested operations may have run at, when the first reading of the
// record does not fit.
void SequenceRunner::State::run_with_choices(const json& r) {
  constexpr int64_t kMaxTries = 256;
  constexpr int64_t kMaxNestedRuns = 1 << 16;  // in all tries
  const auto count = [&r](const char* kind) {
    return std::count_if(r.at("ev").begin(), r.at("ev").end(),
                         [kind](const json& e) { return e[0] == kind; });
  };
  int64_t nested = count("op");
  // What the CPU does stands at an exchange, but a yield just before it would take it too.
  if (count("resched") + count("U") > 1) nested += count("hw");
  std::optional<RadixStore> store_before;
  std::optional<SequenceEnv> env_before;
  if (nested != 0) {
    store_before.emplace(store);
    env_before.emplace(env);
  }
  env.choices.clear();
  env.choices_of.clear();
  run(r);
  if (nested == 0 || !env.difference()) return;
  const Difference first = *env.difference();
  for (int64_t tries = 0; tries < std::min(kMaxTries, kMaxNestedRuns / nested); tries++) {
    // The next vector of choices in lexical order, the last choice running fastest.
    env.choices.resize(env.choices_of.size(), 0);
    while (!env.choices.empty() && ++env.choices.back() > env.choices_of[env.choices.size() - 1]) {
      env.choices.pop_back();
    }
    if (env.choices.empty()) break;
    env.choices_of.clear();
    store = *store_before;
    env.restore(*env_before);
    run(r);
    if (!env.difference()) return;
  }
  env.restore(*env_before);
  env.set_difference(first);
}

void SequenceRunner::State::check_after(const json& r) {
  const auto check = [&](const char* key, const json& got) {
    if (r.contains(key) && r[key] != got) {
      env.differ(std::string(key) + " " + r[key].dump(), std::string(key) + " " + got.dump());
    }
  };
  check("polls", env.polls());
  check("pfn_dirty_accessed", json::array({env.dirty_hints(), env.accessed_hints()}));
  check("roots", roots());
  check("nx", nx_list());
  check("stat", statistics());
  if (r.contains("hash")) check("hash", hash());
}

json SequenceRunner::State::roots() const {
  json list = json::array();
  for (uint32_t r = first_root(world); r != kNoTable; r = list_next_root(world, r)) {
    list.push_back(json::array({env.page_of(r), hex(world.role(r)),
                                world.field(CellKind::kRootRefs, r), world.root_invalid(r) ? 1 : 0,
                                world.field(CellKind::kRootScheduled, r)}));
  }
  return list;
}

json SequenceRunner::State::nx_list() const {
  json list = json::array();
  for (uint64_t at = world.field(CellKind::kNxHead); at != 0;
       at = world.field(CellKind::kNxNext, static_cast<uint32_t>(at - 1))) {
    list.push_back(env.page_of(static_cast<uint32_t>(at - 1)));
  }
  return list;
}

json SequenceRunner::State::statistics() const {
  const auto page_stat = [&](uint32_t level) {
    return static_cast<int64_t>(world.field(CellKind::kPageStat, level));
  };
  const bool typed = design.nx_recovery == NxRecovery::kReadLockZapPossibleNx;
  const auto count = [&](CellKind kind) { return static_cast<int64_t>(world.field(kind)); };
  // 7.x counts tdp_mmu_pages only with CONFIG_KVM_PROVE_MMU.
  const int64_t pages =
      design.root_types && !world.host.prove_mmu ? -1 : count(CellKind::kTdpMmuPages);
  return json::array({page_stat(1), page_stat(2), page_stat(3), count(CellKind::kNxSplits),
                      typed ? count(CellKind::kNxCount) : 0,
                      typed ? count(CellKind::kNxShadowCount) : 0, pages});
}

json SequenceRunner::State::hash() const {
  std::vector<std::pair<uint64_t, uint32_t>> tables;  // by page number
  const auto reach = [&](auto&& self, uint32_t table, int level) -> void {
    tables.emplace_back(env.page_of(table), table);
    if (level == 1) return;
    for (uint64_t i = 0; i < kSpteEntPerPage; i++) {
      const uint32_t child = world.child_table(store.get(cell::pte(table, i)), level);
      if (child != kNoTable) self(self, child, level - 1);
    }
  };
  for (uint32_t r = first_root(world); r != kNoTable; r = list_next_root(world, r)) {
    reach(reach, r, role_level(world.role(r)));
  }
  std::sort(tables.begin(), tables.end());
  uint64_t n = 0;
  uint64_t h = 0xcbf29ce484222325ull;
  const auto mix = [&](uint64_t x) { h = (h ^ x) * 0x100000001b3ull; };
  for (const auto& [page, table] : tables) {
    for (uint64_t i = 0; i < kSpteEntPerPage; i++) {
      const uint64_t v = store.get(cell::pte(table, i));
      if (v == kNonpresent) continue;
      n++;
      mix(page);
      mix(i);
      mix(v);
    }
  }
  return json::array({n, hex(h)});
}

}  // namespace mmucheck::replay
