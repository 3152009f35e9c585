#include "tools/import/ftrace/tracepoints.h"

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/text.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

// One literal word, then a number into field `i`.
bool word_dec(Cursor& c, std::string_view word, Event& e, size_t i) {
  if (!c.take_word(word)) return false;
  c.skip_spaces();
  uint64_t v = 0;
  if (!c.take_dec(v)) return false;
  e.set(i, v);
  return true;
}

bool word_hex(Cursor& c, std::string_view word, Event& e, size_t i) {
  if (!c.take_word(word)) return false;
  c.skip_spaces();
  uint64_t v = 0;
  if (!c.take_hex(v)) return false;
  e.set(i, v);
  return true;
}

bool word_signed(Cursor& c, std::string_view word, Event& e, size_t i) {
  if (!c.take_word(word)) return false;
  c.skip_spaces();
  uint64_t v = 0;
  if (!c.take_number(v)) return false;
  e.set(i, v);
  return true;
}

bool done(Cursor& c) {
  c.skip_spaces();
  return c.at_end();
}

// "P|W|U|0x100000000": mmutrace.h's flag printer; what has no name comes as a number.
bool error_flags(std::string_view token, uint64_t& value) {
  struct Flag {
    std::string_view name;
    uint64_t bit;
  };
  static constexpr Flag kFlags[] = {{"P", 1u << 0},    {"W", 1u << 1},   {"U", 1u << 2},
                                    {"RSVD", 1u << 3}, {"F", 1u << 4},   {"PK", 1u << 5},
                                    {"SS", 1u << 6},   {"SGX", 1u << 15}};
  value = 0;
  while (!token.empty()) {
    const size_t bar = token.find('|');
    const std::string_view part = token.substr(0, bar);
    token = bar == std::string_view::npos ? std::string_view{} : token.substr(bar + 1);
    bool known = false;
    for (const Flag& flag : kFlags) {
      if (flag.name == part) {
        value |= flag.bit;
        known = true;
      }
    }
    if (known) continue;
    Cursor c(part);
    uint64_t v = 0;
    if (!c.take_hex(v) || !c.at_end()) return false;
    value |= v;
  }
  return true;
}

bool page_fault(Cursor& c, Event& e) {
  return word_dec(c, "vcpu", e, f::page_fault::vcpu_id) &&
         word_hex(c, "rip", e, f::page_fault::rip) &&
         word_hex(c, "address", e, f::page_fault::address) &&
         word_hex(c, "error_code", e, f::page_fault::error_code) && done(c);
}

bool spte_changed(Cursor& c, Event& e) {
  return word_dec(c, "as id", e, f::spte_changed::as_id) &&
         word_hex(c, "gfn", e, f::spte_changed::gfn) &&
         word_dec(c, "level", e, f::spte_changed::level) &&
         word_hex(c, "old_spte", e, f::spte_changed::old_spte) &&
         word_hex(c, "new_spte", e, f::spte_changed::new_spte) && done(c);
}

bool spte_requested(Cursor& c, Event& e) {
  if (!word_hex(c, "gfn", e, f::spte_requested::gfn) ||
      !word_hex(c, "pfn", e, f::spte_requested::pfn) ||
      !word_dec(c, "level", e, f::spte_requested::level)) {
    return false;
  }
  return done(c) || (word_hex(c, "access", e, f::spte_requested::access) && done(c));
}

// "(rwxu)": bit 0 exec, 1 write, 2 user, as ACC_*_MASK; "r" is bit 3.
bool access_letters(Cursor& c, Event& e, size_t i) {
  c.skip_spaces();
  if (!c.take('(')) return false;
  uint64_t access = 0;
  while (!c.at_end() && c.peek() != ')') {
    switch (c.peek()) {
      case 'x': access |= 1; break;
      case 'w': access |= 2; break;
      case 'u': access |= 4; break;
      case 'r': access |= 8; break;
      case '-': break;
      default: return false;
    }
    c.advance();
  }
  e.set(i, access);
  return c.take(')');
}

bool set_spte(Cursor& c, Event& e) {
  return word_hex(c, "gfn", e, f::set_spte::gfn) && word_hex(c, "spte", e, f::set_spte::spte) &&
         access_letters(c, e, f::set_spte::access) && word_dec(c, "level", e, f::set_spte::level) &&
         word_hex(c, "at", e, f::set_spte::sptep) && done(c);  // "at" is a physical address
}

bool fast_page_fault(Cursor& c, RawEvent& raw) {
  Event& e = raw.event;
  if (!word_dec(c, "vcpu", e, f::fast_page_fault::vcpu_id) ||
      !word_hex(c, "gva", e, f::fast_page_fault::address) || !c.take_word("error_code")) {
    return false;
  }
  c.skip_spaces();
  uint64_t error = 0;
  if (!error_flags(c.take_token(), error)) return false;
  e.set(f::fast_page_fault::error_code, error);
  if (!c.take_word("sptep")) return false;
  c.skip_spaces();
  uint64_t sptep = 0;
  if (c.take_hex(sptep)) {
    e.set(f::fast_page_fault::sptep, sptep);
    raw.va |= 1u << f::fast_page_fault::sptep;
  } else {
    c.take_token();  // "(null)"
  }
  return word_hex(c, "old", e, f::fast_page_fault::old_spte) &&
         word_hex(c, "new", e, f::fast_page_fault::new_spte) &&
         word_dec(c, "spurious", e, f::fast_page_fault::spurious) &&
         word_dec(c, "fixed", e, f::fast_page_fault::fixed) && done(c);
}

// libtraceevent's plugin_kvm.c has a printer of its own: "new sp gfn 0 4 q0 direct wux !pae ..."
// and, for prepare_zap_page, the same without gfn. Its role bits are those of an old kernel, but
// the level is where it always was.
bool plugin_mmu_page(Cursor& c, Event& e, bool has_created) {
  namespace p = f::get_page;
  const bool created = c.take_word("new");
  if (!created && !c.take_word("existing") && has_created) return false;
  if (has_created) e.set(p::created, created);
  if (c.take_word("sp") && !word_hex(c, "gfn", e, p::gfn)) return false;
  return word_dec(c, "", e, p::level) && word_dec(c, "q", e, p::quadrant);
}

// KVM_MMU_PAGE_PRINTK: "sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync[ new]".
bool mmu_page(Cursor& c, Event& e, bool has_created) {
  namespace p = f::get_page;  // prepare_zap_page has the same order but for `created`
  static_assert(size_t{f::prepare_zap_page::unsync} == size_t{f::get_page::unsync});
  if (!c.take("sp gen ")) return plugin_mmu_page(c, e, has_created);
  if (!word_dec(c, "", e, p::valid_gen) || !word_hex(c, "gfn", e, p::gfn) ||
      !word_dec(c, "l", e, p::level)) {
    return false;
  }
  c.skip_spaces();
  uint64_t bytes = 0;
  if (!c.take_dec(bytes) || !c.take("-byte") || !word_dec(c, "q", e, p::quadrant)) return false;
  e.set(p::gpte_bytes, bytes);
  e.set(p::direct, c.take_word("direct") ? 1 : 0);
  c.skip_spaces();
  uint64_t access = 0;
  for (const char letter : c.take_token()) {
    switch (letter) {
      case 'x': access |= 1; break;
      case 'w': access |= 2; break;
      case 'u': access |= 4; break;
      case 'r': access |= 8; break;
      case '-': break;
      default: return false;
    }
  }
  e.set(p::access, access);
  e.set(p::invalid, c.take_word("invalid") ? 1 : 0);
  if (c.take_word("!nxe")) {
    e.set(p::efer_nx, 0);
  } else if (c.take_word("nxe")) {
    e.set(p::efer_nx, 1);
  } else {
    return false;
  }
  if (c.take_word("!ad")) {
    e.set(p::ad, 0);
  } else if (c.take_word("ad")) {
    e.set(p::ad, 1);
  } else {
    return false;
  }
  if (!word_signed(c, "root", e, p::root_count)) return false;
  if (c.take_word("unsync")) {
    e.set(p::unsync, 1);
  } else if (c.take_word("sync")) {
    e.set(p::unsync, 0);
  } else {
    return false;
  }
  if (has_created) {
    if (c.take_word("new")) {
      e.set(p::created, 1);
    } else if (c.take_word("existing")) {
      e.set(p::created, 0);
    } else {
      return false;
    }
  }
  return done(c);
}

bool split_huge_page(Cursor& c, Event& e) {
  return word_hex(c, "gfn", e, f::split_huge_page::gfn) &&
         word_hex(c, "spte", e, f::split_huge_page::spte) &&
         word_dec(c, "level", e, f::split_huge_page::level) &&
         word_signed(c, "errno", e, f::split_huge_page::err) && done(c);
}

bool mark_mmio(Cursor& c, RawEvent& raw) {
  Event& e = raw.event;
  if (!word_hex(c, "sptep:", e, f::mark_mmio_spte::sptep)) return false;
  raw.va |= 1u << f::mark_mmio_spte::sptep;
  return word_hex(c, "gfn", e, f::mark_mmio_spte::gfn) &&
         word_hex(c, "access", e, f::mark_mmio_spte::access) &&
         word_hex(c, "gen", e, f::mark_mmio_spte::gen) && done(c);
}

bool check_mmio(Cursor& c, Event& e) {
  return word_hex(c, "spte", e, f::check_mmio_spte::spte) &&
         word_hex(c, "kvm_gen", e, f::check_mmio_spte::kvm_gen) &&
         word_hex(c, "spte-gen", e, f::check_mmio_spte::spte_gen) &&
         word_dec(c, "valid", e, f::check_mmio_spte::valid) && done(c);
}

bool handle_mmio(Cursor& c, Event& e) {
  return word_hex(c, "addr:", e, f::handle_mmio_page_fault::addr) &&
         word_hex(c, "gfn", e, f::handle_mmio_page_fault::gfn) &&
         word_hex(c, "access", e, f::handle_mmio_page_fault::access) && done(c);
}

bool hva_range(Cursor& c, Event& e, std::string_view intro) {
  return word_hex(c, intro, e, f::unmap_hva_range::start) &&
         word_hex(c, "--", e, f::unmap_hva_range::end) && done(c);
}

bool attributes(Cursor& c, Event& e) {
  return word_hex(c, "", e, f::vm_set_mem_attributes::start) &&
         word_hex(c, "--", e, f::vm_set_mem_attributes::end) &&
         word_hex(c, "[", e, f::vm_set_mem_attributes::attributes) && c.take(']') && done(c);
}

// The number is -errno where the word is "restart" or "error", else the exit reason.
bool userspace_exit(Cursor& c, Event& e) {
  if (!c.take_word("reason")) return false;
  c.skip_spaces();
  const std::string_view word = c.take_token();
  c.skip_spaces();
  uint64_t number = 0;
  if (!c.take('(') || !c.take_number(number) || !c.take(')')) return false;
  if (word == "restart" || word == "error") {
    e.set(f::userspace_exit::err, ~number + 1);
  } else {
    e.set(f::userspace_exit::reason, number);
    e.set(f::userspace_exit::err, 0);
  }
  return done(c);
}

bool mmio(Cursor& c, Event& e) {
  if (!c.take_word("mmio")) return false;
  trace::MmioType type = trace::MmioType::kUnsatisfiedRead;
  if (c.take_word("unsatisfied-read")) {
    type = trace::MmioType::kUnsatisfiedRead;
  } else if (c.take_word("read")) {
    type = trace::MmioType::kRead;
  } else if (c.take_word("write")) {
    type = trace::MmioType::kWrite;
  } else {
    return false;
  }
  e.set(f::mmio::type, static_cast<uint64_t>(type));
  return word_dec(c, "len", e, f::mmio::len) && word_hex(c, "gpa", e, f::mmio::gpa) &&
         word_hex(c, "val", e, f::mmio::val) && done(c);
}

bool entry(Cursor& c, Event& e) {
  if (!word_dec(c, "vcpu", e, f::entry::vcpu_id) || !c.take(',') ||
      !word_hex(c, "rip", e, f::entry::rip)) {
    return false;
  }
  e.set(f::entry::immediate_exit, c.rest().find("[immediate exit]") != std::string_view::npos);
  return true;  // newer kernels append intr_info and error code
}

bool exit_event(Cursor& c, Event& e) {
  if (c.take_word("vcpu")) {  // missing in libtraceevent's own form
    if (!word_dec(c, "", e, f::exit::vcpu_id)) return false;
  }
  if (!c.take_word("reason")) return false;
  c.skip_spaces();
  e.text = c.take_token();
  if (!word_hex(c, "rip", e, f::exit::rip)) return false;
  if (word_hex(c, "info1", e, f::exit::info1)) {
    if (!word_hex(c, "info2", e, f::exit::info2)) return false;
    word_hex(c, "intr_info", e, f::exit::intr_info);
    word_hex(c, "error_code", e, f::exit::error_code);
  } else if (word_hex(c, "info", e, f::exit::info1)) {
    return word_hex(c, "", e, f::exit::info2);
  }
  return true;  // newer kernels append the pending requests
}

bool fpu(Cursor& c, Event& e) {
  c.skip_spaces();
  const std::string_view word = c.take_name();
  if (word != "load" && word != "unload") return false;
  e.set(f::fpu::load, word == "load");
  return done(c);
}

// trace-cmd prints raw fields, in the names of the kernel's ring buffer record.
bool raw_fields(Cursor& c, RawEvent& raw) {
  struct Alias {
    std::string_view text, field;
  };
  static constexpr Alias kAliases[] = {
      {"mmu_valid_gen", "valid_gen"},
      {"mmu_used_pages", "used_pages"},
      {"errno", "err"},
      {"fault_address", "address"},
      {"guest_rip", "rip"},
      {"cr2_or_gpa", "address"},
  };
  Event& e = raw.event;
  const trace::KindInfo& info = trace::kind_info(e.kind);
  while (true) {
    c.skip_spaces();
    if (c.at_end()) break;
    std::string_view name = c.take_name();
    if (name.empty() || !c.take('=')) return false;
    uint64_t value = 0;
    if (!c.take_number(value)) {
      c.take_token();
      continue;
    }
    for (const Alias& a : kAliases) {
      if (a.text == name) name = a.field;
    }
    if (const auto index = info.field(name)) e.set(*index, value);
  }
  // role: level 3:0, direct 7 in every kernel known (kvm_host.h: union kvm_mmu_page_role).
  if (e.kind == EventKind::kGetPage || e.kind == EventKind::kPrepareZapPage) {
    const size_t role = e.kind == EventKind::kGetPage ? size_t{f::get_page::role}
                                                      : size_t{f::prepare_zap_page::role};
    if (!e.has(role) || !e.has(f::get_page::gfn)) return false;
    e.set(f::get_page::level, e.get(role) & 15);
    e.set(f::get_page::direct, e.get(role) >> 7 & 1);
  }
  return e.present != 0;
}

}  // namespace

bool parse_tracepoint(std::string_view body, RawEvent& raw) {
  Cursor c(body);
  Event& e = raw.event;
  if (e.kind == EventKind::kMarker) {
    e.text = body;
    return true;
  }
  if (c.take("[FAILED TO PARSE]")) return raw_fields(c, raw);
  switch (e.kind) {
    case EventKind::kPageFault: return page_fault(c, e);
    case EventKind::kSpteChanged: return spte_changed(c, e);
    case EventKind::kSpteRequested: return spte_requested(c, e);
    case EventKind::kSetSpte: return set_spte(c, e);
    case EventKind::kFastPageFault: return fast_page_fault(c, raw);
    case EventKind::kGetPage: return mmu_page(c, e, true);
    case EventKind::kPrepareZapPage: return mmu_page(c, e, false);
    case EventKind::kSplitHugePage: return split_huge_page(c, e);
    case EventKind::kMarkMmioSpte: return mark_mmio(c, raw);
    case EventKind::kCheckMmioSpte: return check_mmio(c, e);
    case EventKind::kHandleMmioPageFault: return handle_mmio(c, e);
    case EventKind::kMmuZapAllFast:
      return word_dec(c, "kvm-mmu-valid-gen", e, f::mmu_zap_all_fast::valid_gen) &&
             word_hex(c, "used_pages", e, f::mmu_zap_all_fast::used_pages) && done(c);
    case EventKind::kUnmapHvaRange: return hva_range(c, e, "mmu notifier unmap range:");
    case EventKind::kAgeHva: return hva_range(c, e, "mmu notifier age hva:");
    case EventKind::kTestAgeHva:
      return word_hex(c, "mmu notifier test age hva:", e, f::test_age_hva::hva) && done(c);
    case EventKind::kVmSetMemAttributes: return attributes(c, e);
    case EventKind::kUserspaceExit: return userspace_exit(c, e);
    case EventKind::kMmio: return mmio(c, e);
    case EventKind::kEntry: return entry(c, e);
    case EventKind::kExit: return exit_event(c, e);
    case EventKind::kPagetableWalk:
      return word_hex(c, "addr", e, f::pagetable_walk::addr) &&
             word_hex(c, "pferr", e, f::pagetable_walk::pferr);  // flag names follow
    case EventKind::kPagingElement:
      return word_hex(c, "pte", e, f::paging_element::pte) &&
             word_dec(c, "level", e, f::paging_element::level) && done(c);
    case EventKind::kWalkerError:
      return word_hex(c, "pferr", e, f::walker_error::pferr);  // flag names follow
    case EventKind::kFpu: return fpu(c, e);
    default: return false;
  }
}

}  // namespace mmucheck::import
