#include "checker/replay/module/module_fixture.h"

namespace mmucheck::replay {

using model::CellKind;
using tdx::Pt;
using tdx::SeptEntryState;

namespace {
constexpr uint64_t kSeptPages[] = {0x203, 0x202, 0x201};  // by level of their entries
}  // namespace

ModuleFixture::ModuleFixture(tdx::OpState op_state) {
  td_.tdr = kTdr;
  td_.sept_root = kSeptRoot;
  td_.debug = true;
  td_.sept_ve_disable = true;
  vcpu_.tdvpr = kTdvpr;
  platform.tdmr_pages = uint64_t{1} << 19;
  platform.hkid_mask = uint64_t{63} << platform.hkid_shift;
  platform.first_private_hkid = 32;
  platform.tds = {&td_, 1};
  platform.vcpus = {&vcpu_, 1};
  tdx::set_up_td(world, 0,
                 {.op_state = op_state, .epoch = kEpoch, .chldcnt = kChldcnt});
  tdx::set_up_vcpu(world, 0, 0, kEpoch);
}

void ModuleFixture::use_page(SeptEntryState state, uint64_t bepoch) {
  const bool leaf = (tdx::enc(state) & 0x40) != 0;
  const bool none = state == SeptEntryState::kFree || state == SeptEntryState::kRemoved;
  page_size = leaf || none ? level : tdx::k4K;
  if (none) {
    page = level == 0 ? kNewPage : kNewPage2m;
    return;
  }
  page = leaf ? (level == 0 ? kMapped4k : kMapped2m) : kSeptPages[level - 1];
  tdx::pamt_use(world, page_size, page, leaf ? Pt::kReg : Pt::kEpt, kTdr);
  store.set(tdx::pamt_cell(CellKind::kPamtBepoch, page_size, page), bepoch);
  if (!leaf) tdx::new_sept_page(world, page, 0, level - 1);
}

void ModuleFixture::set_target(int at, SeptEntryState state, uint64_t bepoch) {
  level = at;
  uint32_t table = store.find_table(kSeptRoot);
  for (int l = td_.top_level(); l > level; l--) {
    const uint64_t below = kSeptPages[l - 1];
    parent = model::cell::pte(table, 0);
    store.set(parent, tdx::make_sept_entry(SeptEntryState::kNlMapped, below << 12));
    tdx::pamt_use(world, tdx::k4K, below, Pt::kEpt, kTdr);
    table = tdx::new_sept_page(world, below, 0, l - 1);
  }
  target = model::cell::pte(table, 0);
  use_page(state, bepoch);
  const bool none = state == SeptEntryState::kFree || state == SeptEntryState::kRemoved;
  store.set(target, tdx::make_sept_entry(state, none ? 0 : page << 12));
}

void ModuleFixture::set_target_below(int at, SeptEntryState state, SeptEntryState parent_state,
                                     uint64_t bepoch) {
  set_target(at, state, bepoch);
  const bool none =
      parent_state == SeptEntryState::kFree || parent_state == SeptEntryState::kRemoved;
  const bool leaf = (tdx::enc(parent_state) & 0x40) != 0;
  const uint64_t below = none ? 0 : leaf ? kMapped2m : kSeptPages[at];
  store.set(parent, tdx::make_sept_entry(parent_state, below << 12));
  if (leaf) tdx::pamt_use(world, tdx::k2M, kMapped2m, Pt::kReg, kTdr);
}

void ModuleFixture::set_mapped_children() {
  const uint32_t table = store.find_table(page);
  for (uint32_t i = 0; i < tdx::kSeptEntries; i++) {
    store.set(model::cell::pte(table, i),
              tdx::make_sept_entry(SeptEntryState::kMapped, (kMapped2m + i) << 12));
    tdx::pamt_use(world, tdx::k4K, kMapped2m + i, Pt::kReg, kTdr);
  }
}

tdx::ModuleCall ModuleFixture::call(tdx::Leaf leaf) const {
  using tdx::Leaf;
  tdx::ModuleCall c;
  c.leaf = leaf;
  c.in.rcx = static_cast<uint64_t>(level);  // GPA 0
  c.in.rdx = kTdr << 12;
  switch (leaf) {
    case Leaf::kMemPageAdd:
      c.in.r8 = kNewPage << 12;
      c.in.r9 = kSourcePage << 12;
      break;
    case Leaf::kMemPageAug: c.in.r8 = (level == 0 ? kNewPage : kNewPage2m) << 12; break;
    case Leaf::kMemSeptAdd:
    case Leaf::kMemPageDemote:
    case Leaf::kMemPageRelocate: c.in.r8 = kNewPage << 12; break;
    case Leaf::kMemRd:
    case Leaf::kMemWr:
    case Leaf::kMrExtend: c.in.rcx = 0; break;
    case Leaf::kMemTrack:
    case Leaf::kMrFinalize:
    case Leaf::kMngVpflushdone:
    case Leaf::kMngKeyFreeid:
      c.in.rcx = kTdr << 12;
      c.in.rdx = 0;
      break;
    case Leaf::kVpFlush:
      c.in.rcx = kTdvpr << 12;
      c.in.rdx = 0;
      break;
    case Leaf::kPhymemPageReclaim:
      c.in.rcx = page << 12;
      c.in.rdx = 0;
      break;
    case Leaf::kPhymemPageWbinvd:
      c.in.rcx = kNewPage << 12;
      c.in.rdx = 0;
      break;
    case Leaf::kPageAccept:
    case Leaf::kPageAttrWr: c.in.rdx = 0; break;
    case Leaf::kPageAttrRd: c.in.rcx = c.in.rdx = 0; break;
    default: break;
  }
  return c;
}

const tdx::SeptStateInfo* find_sept_state(std::string_view name) {
  for (const tdx::SeptStateInfo& s : tdx::kSeptStates) {
    if (name == s.name) return &s;
  }
  return nullptr;
}

}  // namespace mmucheck::replay
