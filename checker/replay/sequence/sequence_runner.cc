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

bool read_host(const json& h, HostMmu* host) {
  const std::string& format = h.at("format").get_ref<const std::string&>();
  host->format = format == "npt" ? PageTableFormat::kNpt : PageTableFormat::kEpt;
  host->ad_bits = format != "ept-noad" && format != "eptnoad";
  host->maxphyaddr = h.at("maxphyaddr").get<int>();
  host->l1tf = h.at("l1tf").get<int>() != 0;
  host->mmio_caching = h.at("mmio_caching").get<int>() != 0;
  host->max_huge_page_level = h.at("max_huge_page_level").get<int>();
  host->ept_memtype_bits = h.at("ept_memtype_bits").get<uint64_t>();
  host->nx_huge_pages = h.at("nx_huge_pages").get<int>() != 0;
  host->cpu_dirty_log_size = h.at("cpu_dirty_log_size").get<int>();
  host->prove_mmu = h.at("prove_mmu").get<int>() != 0;
  return true;
}

void read_slot(SequenceWorld& w, const json& s) {
  const auto slot = s.at("slot").get<uint32_t>();
  slot_set(w, slot, SlotField::kInUse, 1);
  slot_set(w, slot, SlotField::kAsId, s.at("as_id").get<uint64_t>());
  slot_set(w, slot, SlotField::kId, s.at("id").get<uint64_t>());
  slot_set(w, slot, SlotField::kBase, unhex(s.at("base")));
  slot_set(w, slot, SlotField::kNpages, unhex(s.at("npages")));
  slot_set(w, slot, SlotField::kHva, unhex(s.at("uaddr")));
  init_lpage_info(w, slot);
  if (w.env.slots.size() <= slot) w.env.slots.resize(slot + 1);
  SequenceEnv::HostSlot& host = w.env.slots[slot];
  host.base = unhex(s.at("base"));
  host.npages = unhex(s.at("npages"));
  host.as_id = s.at("as_id").get<uint32_t>();
  host.id = s.at("id").get<uint64_t>();
  host.hva = unhex(s.at("uaddr"));
  uint64_t gfn = host.base;
  for (const char c : s.at("host2M").get<std::string>()) {
    w.env.host_2m[w.env.hva_of(slot, gfn) >> 21] = static_cast<uint8_t>(c - '0');
    gfn = gfn_round_for_level<>(gfn, kPgLevel2M) + pages_per_hpage(kPgLevel2M);
  }
  if (s.at("host1G").at(0) == 3) w.env.host_1g.insert(host.hva >> 30);
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
  json j = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object()) {
    error_ = "not a JSON object";
    return false;
  }
  try {
    if (!state_) return header(j);
    if (j.contains("end")) {
      ended_ = true;
      return true;
    }
    record(j);
    return true;
  } catch (const json::exception& e) {
    error_ = e.what();
    return false;
  } catch (const std::out_of_range& e) {
    error_ = e.what();
    return false;
  }
}

bool SequenceRunner::header(const json& h) {
  const std::string& kernel = h.at("kernel").get_ref<const std::string&>();
  const Design* design = find_design(kernel.starts_with("6.12") ? "linux-6.12" : "linux-7.2");
  HostMmu host;
  read_host(h, &host);
  mirror_ = h.at("mirror").get<int>() != 0;
  state_ = std::make_unique<State>(*design, host, unhex(h.at("pool_pfn")));
  SequenceWorld& w = state_->world;
  w.vm.has_mirror = mirror_;
  w.vm.gfn_direct_bits = unhex(h.at("direct_gfn_bits"));
  const std::string broken = masks_differ(w.fmt, h.at("masks"));
  if (!broken.empty()) first_ = Difference{-1, "header", broken, ""};
  if (h.at("format") == "tdx") w.fmt = with_td_mmio_value(w.fmt);
  w.set_field(CellKind::kMemslotGen, 0, unhex(h.at("memslot_gen")));
  for (const json& s : h.at("slots")) read_slot(w, s);
  return true;
}

void SequenceRunner::record(const json& r) {
  ops_++;
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
    for (const json& e : r.at("ev")) env.hw_event(e);
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
  constexpr int kMaxTries = 256;
  const bool nested = std::any_of(r.at("ev").begin(), r.at("ev").end(),
                                  [](const json& e) { return e[0] == "op"; });
  std::optional<RadixStore> store_before;
  std::optional<SequenceEnv> env_before;
  if (nested) {
    store_before.emplace(store);
    env_before.emplace(env);
  }
  env.choices.clear();
  env.choices_of.clear();
  run(r);
  if (!nested || !env.difference()) return;
  const Difference first = *env.difference();
  for (int tries = 0; tries < kMaxTries; tries++) {
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
