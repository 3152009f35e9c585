#include "checker/replay/tracepoint/legal_values.h"

namespace mmucheck::replay {

using model::SpteFormat;

namespace {

constexpr uint64_t kEptMemtype = 0x78;  // memory type 5:3 and IPAT

SpteFormat td_format(const SpteFormat& f) {
  return model::with_td_mmio_value(f);
}

}  // namespace

std::optional<LeafExplanation> explain_leaf(const ValueFacts& v, const LeafRequest& r,
                                            uint64_t old_spte, uint64_t new_spte) {
  SpteFormat f = v.fmt;
  if (v.host.format == model::PageTableFormat::kEpt) {
    // Write-back or uncached, with IPAT unless the VM is a TD: vmx_get_mt_mask.
    const uint64_t memtype = new_spte & kEptMemtype;
    if (memtype == 0x70 || memtype == 0x30 || memtype == 0 || memtype == 0x40) f.memtype = memtype;
  }
  const uint64_t pages = model::pages_per_hpage(r.level);
  const uint64_t pfn = r.pfn & ~(pages - 1);
  for (int bits = 0; bits < 32; bits++) {
    model::MakeSpte in;
    in.level = r.level;
    in.ad_disabled = !f.ad_enabled;
    in.prefetch = bits & 1;
    in.host_writable = !(bits & 2);
    in.wrprot_only = bits & 4;
    in.write_tracked = bits & 8;
    in.nx_huge_page_enabled = v.host.nx_huge_pages != ((bits & 16) != 0);
    if (in.prefetch ? !r.may_prefetch : !r.may_access) continue;
    if (in.wrprot_only && v.host.cpu_dirty_log_size == 0) continue;
    if ((bits & 16) != 0 && v.nx_known) continue;
    if (model::make_spte<>(f, in, pfn, old_spte) == new_spte) {
      return LeafExplanation{in.host_writable, in.prefetch};
    }
  }
  return std::nullopt;
}

LeafStep explain_step(const ValueFacts& v, uint64_t old_spte, uint64_t new_spte) {
  const SpteFormat& f = v.fmt;
  if (old_spte == new_spte) return LeafStep::kNone;
  if (new_spte == (old_spte & ~model::kPtWritable)) return LeafStep::kWriteProtect;
  if (new_spte == (old_spte & ~(model::kPtWritable | f.mmu_writable))) {
    return LeafStep::kUnwritable;
  }
  if (f.dirty != 0 && model::spte_ad_enabled<>(f, old_spte) && new_spte == (old_spte & ~f.dirty)) {
    return LeafStep::kClearDirty;
  }
  if (new_spte == model::mark_spte_for_access_track<>(f, old_spte)) return LeafStep::kAge;
  return LeafStep::kNone;
}

namespace {

bool hardware_makes(const SpteFormat& f, uint64_t known, uint64_t seen) {
  const uint64_t added = seen & ~known;
  if ((known & ~seen) != 0 || (added & ~(f.accessed | f.dirty)) != 0) return false;
  const uint64_t may_write = model::kPtWritable | f.mmu_writable;
  return (added & f.dirty) == 0 || (known & may_write) != 0;
}

}  // namespace

bool may_read(const ValueFacts& v, uint64_t known, uint64_t seen, int level) {
  if (known == seen) return true;
  const SpteFormat& f = v.fmt;
  if (!model::is_shadow_present_pte<>(known) || !model::is_last_spte<>(known, level)) return false;
  if (!model::spte_ad_enabled<>(f, known)) return false;
  return hardware_makes(f, known, seen) ||
         (v.fast_faults_untold && model::is_mmu_writable_spte<>(f, known) &&
          hardware_makes(f, known | model::kPtWritable, seen));
}

bool is_changed_in_place(uint64_t old_spte, uint64_t new_spte, int level) {
  const model::ChangeKind<> k = model::classify_change<>(old_spte, new_spte, level);
  return k.was_leaf && k.is_leaf && !k.pfn_changed;
}

unsigned change_kind(uint64_t old_spte, uint64_t new_spte, int level) {
  const model::ChangeKind<> k = model::classify_change<>(old_spte, new_spte, level);
  return static_cast<unsigned>(k.was_present | k.was_leaf << 1 | k.is_present << 2 |
                               k.is_leaf << 3);
}

bool links_table(uint64_t spte, int level) {
  return model::is_shadow_present_pte<>(spte) && !model::is_last_spte<>(spte, level);
}

bool is_mmio(const ValueFacts& v, uint64_t spte) {
  if (model::is_shadow_present_pte<>(spte)) return false;
  if (model::is_mmio_spte<>(v.fmt, spte)) return true;
  // Of a TD's, bit 63 clear is all that tells it from an empty entry.
  return v.td && (spte & model::kNonpresent) == 0 && model::is_mmio_spte<>(td_format(v.fmt), spte);
}

bool is_mmio_of(const ValueFacts& v, uint64_t spte, uint64_t gfn) {
  const uint64_t gen = model::mmio_spte_generation<>(v.fmt, spte);
  if (model::make_mmio_spte<>(v.fmt, gfn, gen) == spte) return true;
  SpteFormat td = td_format(v.fmt);
  if (v.td && model::make_mmio_spte<>(td, gfn, gen) == spte) return true;
  td.mmio_access = 0;
  return v.td && model::make_mmio_spte<>(td, gfn, gen) == spte;
}

uint64_t fast_fault_value(const ValueFacts& v, uint64_t old_spte, bool write) {
  const SpteFormat& f = v.fmt;
  uint64_t spte = old_spte;
  if (model::is_access_track_spte<>(f, spte)) spte = model::restore_acc_track_spte<>(f, spte);
  if (write && model::is_mmu_writable_spte<>(f, spte)) spte |= model::kPtWritable;
  return spte;
}

}  // namespace mmucheck::replay
