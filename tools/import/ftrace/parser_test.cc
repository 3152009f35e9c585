#include "tools/import/ftrace/parser.h"

#include <gtest/gtest.h>

#include <string>

namespace mmucheck::import {
namespace {

using trace::EventKind;
namespace f = trace::f;

// The event of one line "NAME: BODY"; fails the test when it does not parse.
RawEvent parse_ok(std::string_view name, std::string_view body) {
  Line line;
  line.kind = LineKind::kEvent;
  line.event = name;
  line.body = body;
  RawEvent raw;
  EXPECT_EQ(parser().parse(line, raw), ParseResult::kOk) << name << ": " << body;
  return raw;
}

ParseResult result_of(std::string_view name, std::string_view body) {
  Line line;
  line.kind = LineKind::kEvent;
  line.event = name;
  line.body = body;
  RawEvent raw;
  return parser().parse(line, raw);
}

TEST(Parser, KprobeOf612) {
  const RawEvent r =
      parse_ok("changed_spte",
               "(handle_changed_spte+0x0/0x670) kvm=0xffffc90000155000 as_id=1 gfn=0x40000 "
               "old=0x8000000000000000 new=0xadf827 level=4 shared=1");
  namespace c = f::changed_spte;
  EXPECT_EQ(r.kvm, 0xffffc90000155000u);
  EXPECT_EQ(r.event.get(c::as_id), 1u);
  EXPECT_EQ(r.event.get(c::gfn), 0x40000u);
  EXPECT_EQ(r.event.get(c::old_spte), 0x8000000000000000u);
  EXPECT_EQ(r.event.get(c::new_spte), 0xadf827u);
  EXPECT_EQ(r.event.get(c::level), 4u);
  EXPECT_EQ(r.event.get(c::shared), 1u);
  EXPECT_FALSE(r.event.has(c::table_gfn));
  EXPECT_EQ(r.va_pfn, 0u);
}

TEST(Parser, KprobeOf72NamesTableAndEntry) {
  const std::string_view body =
      "(__handle_changed_spte+0x0/0x4f0) kvm=0xffff888007534000 sp=0xffff8880041eaa10 "
      "spt=0xffff8880041ef000 role=0x6f81 gfn=0x0 refs=0 pgfn=0x1 old=0x6c8be67 "
      "new=0x8000000000000000 level=1 shared=0";
  const RawEvent r = parse_ok("changed_spte", body);
  namespace c = f::changed_spte;
  EXPECT_EQ(r.event.get(c::gfn), 1u);
  EXPECT_TRUE(r.event.has(c::table_gfn));
  EXPECT_EQ(r.event.get(c::table_gfn), 0u);
  EXPECT_EQ(r.event.get(c::role), 0x6f81u);
  EXPECT_EQ(r.va_pfn, 1u << c::spt_pfn);
  // In any order.
  const RawEvent swapped = parse_ok("changed_spte", "(f+0x0/0x1) pgfn=0x41 gfn=0x40 level=1");
  EXPECT_EQ(swapped.event.get(c::gfn), 0x41u);
  EXPECT_EQ(swapped.event.get(c::table_gfn), 0x40u);
}

TEST(Parser, KprobeReturnsAndSignedValues) {
  EXPECT_EQ(parse_ok("tdp_map_ret", "(kvm_tdp_page_fault+0xab/0xf0 <- kvm_tdp_mmu_map) ret=-14")
                .event.get_signed(f::tdp_map_ret::ret),
            -14);
  EXPECT_EQ(parse_ok("zap_invalidated_roots_ret", "(a+0x1/0x2 <- b) r=0x200")
                .event.get(f::zap_invalidated_roots_ret::ret),
            0x200u);
  EXPECT_EQ(parse_ok("flush_range", "(f+0x4/0x20) kvm=0x1 gfn=0x40000 nr=0x200")
                .event.get(f::flush_range::npages),
            512u);
  // trace-cmd prints bare addresses.
  EXPECT_EQ(parse_ok("set_memslot_ret", "(ffffffff8102fda4 <- ffffffff81033b0d) ret=0")
                .event.get(f::set_memslot_ret::ret),
            0u);
}

TEST(Parser, SlotPointersAreDroppedAndSlotNumbersKept) {
  const RawEvent r = parse_ok(
      "wrprot_slot",
      "(f+0x4/0xa0) kvm=0x1 slot=0xffff888000a2c600 id=-1 as_id=0 base_gfn=0x40000 npages=0x400 "
      "hva=0x7f5db0c00000 flags=0x1 min_level=1");
  EXPECT_EQ(r.event.get_signed(f::wrprot_slot::slot), -1);
  EXPECT_EQ(r.event.get(f::wrprot_slot::npages), 0x400u);
  const RawEvent set =
      parse_ok("set_memslot",
               "(f+0x4/0x540) kvm=0x1 slot=0x10001 mflags=0x2 gpa=0x40000000 size=0x0 hva=0x7f00 "
               "gmem_off=0x0 gmem_fd=-1");
  EXPECT_EQ(set.event.get(f::set_memslot::slot), 0x10001u);
  EXPECT_EQ(set.event.get_signed(f::set_memslot::gmem_fd), -1);
}

TEST(Parser, RootTableHasNoEntryAddress) {
  const RawEvent root = parse_ok(
      "init_sp", "(f+0x0/0xb0) sp=0x5 spt=0xffff888000b21000 sptep=0x0 gfn=0x0 role=0x3784");
  EXPECT_FALSE(root.event.has(f::init_sp::sptep));
  const RawEvent child = parse_ok(
      "init_sp",
      "(f+0x0/0xb0) sp=0x5 spt=0xffff888000b22000 sptep=0xffff888000b21008 gfn=0x0 role=0x3783");
  EXPECT_EQ(child.va, 1u << f::init_sp::sptep);
}

TEST(Parser, UnknownAndMissingArguments) {
  const RawEvent r = parse_ok("tdp_map", "(f+0x0/0x1) novel=0x5 gfn=0x7 text=\"x\" pfn=(fault)");
  EXPECT_EQ(r.event.get(f::tdp_map::gfn), 7u);
  EXPECT_FALSE(r.event.has(f::tdp_map::pfn));
  EXPECT_FALSE(r.event.has(f::tdp_map::addr));
}

TEST(Parser, BadKprobeBodies) {
  EXPECT_EQ(result_of("tdp_map", ""), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "gfn=0x1"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "(f+0x0/0x1 gfn=0x1"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "(f+0x0/0x1) gfn=zzz"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "(f+0x0/0x1) gfn=0x1zz"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "(f+0x0/0x1) gfn=0x11111111111111111"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("tdp_map", "(f+0x0/0x1) =3"), ParseResult::kMalformed);
  EXPECT_EQ(result_of("no_such_event", "(f+0x0/0x1)"), ParseResult::kUnknown);
}

TEST(Parser, PageFaultAndChange) {
  const RawEvent r = parse_ok(
      "kvm_page_fault", "vcpu 1 rip 0x1040 address 0x0000000040001000 error_code 0x100000006");
  EXPECT_EQ(r.event.get(f::page_fault::vcpu_id), 1u);
  EXPECT_EQ(r.event.get(f::page_fault::address), 0x40001000u);
  EXPECT_EQ(r.event.get(f::page_fault::error_code), 0x100000006u);
  const RawEvent c =
      parse_ok("kvm_tdp_mmu_spte_changed",
               "as id 1 gfn 401fc level 2 old_spte 73fce65 new_spte 80000000000005a0");
  EXPECT_EQ(c.event.get(f::spte_changed::as_id), 1u);
  EXPECT_EQ(c.event.get(f::spte_changed::gfn), 0x401fcu);
  EXPECT_EQ(c.event.get(f::spte_changed::level), 2u);
  EXPECT_EQ(c.event.get(f::spte_changed::new_spte), 0x80000000000005a0u);
}

TEST(Parser, RequestedWithAndWithoutAccess) {
  EXPECT_FALSE(parse_ok("kvm_mmu_spte_requested", "gfn 1 pfn 7d42b level 1")
                   .event.has(f::spte_requested::access));
  EXPECT_EQ(parse_ok("kvm_mmu_spte_requested", "gfn 1 pfn 7d42b level 2 access f")
                .event.get(f::spte_requested::access),
            15u);
}

TEST(Parser, FastPageFault) {
  const RawEvent r = parse_ok(
      "fast_page_fault",
      "vcpu 1 gva 400fe000 error_code P|W|U|0x100000000 sptep ffff88800afcc7f0 old 0x1c98825 new "
      "1c98827 spurious 0 fixed 1");
  namespace p = f::fast_page_fault;
  EXPECT_EQ(r.event.get(p::error_code), 0x100000007u);
  EXPECT_EQ(r.event.get(p::old_spte), 0x1c98825u);
  EXPECT_EQ(r.event.get(p::new_spte), 0x1c98827u);
  EXPECT_EQ(r.event.get(p::fixed), 1u);
  EXPECT_EQ(r.va, 1u << p::sptep);
  EXPECT_EQ(parse_ok("fast_page_fault",
                     "vcpu 0 gva 1000 error_code F|0x100000000 sptep (null) old 0x0 new 0 spurious "
                     "0 fixed 0")
                .event.get(p::error_code),
            0x100000010u);
}

TEST(Parser, SetSpteIsPhysical) {
  const RawEvent r = parse_ok("kvm_mmu_set_spte", "gfn 1 spte 7d42be67 (rw-u) level 1 at b1e008");
  EXPECT_EQ(r.event.get(f::set_spte::sptep), 0xb1e008u);
  EXPECT_EQ(r.event.get(f::set_spte::access), 14u);
  EXPECT_EQ(r.va, 0u);
}

TEST(Parser, MmuPagesInThreeForms) {
  namespace p = f::get_page;
  const RawEvent kernel =
      parse_ok("kvm_mmu_get_page",
               "sp gen 1 gfn 40000 l2 8-byte q0 direct rwux invalid nxe !ad root -1 unsync new");
  EXPECT_EQ(kernel.event.get(p::valid_gen), 1u);
  EXPECT_EQ(kernel.event.get(p::gfn), 0x40000u);
  EXPECT_EQ(kernel.event.get(p::level), 2u);
  EXPECT_EQ(kernel.event.get(p::gpte_bytes), 8u);
  EXPECT_EQ(kernel.event.get(p::access), 15u);
  EXPECT_EQ(kernel.event.get(p::invalid), 1u);
  EXPECT_EQ(kernel.event.get(p::ad), 0u);
  EXPECT_EQ(kernel.event.get_signed(p::root_count), -1);
  EXPECT_EQ(kernel.event.get(p::unsync), 1u);
  EXPECT_EQ(kernel.event.get(p::created), 1u);
  EXPECT_EQ(parse_ok("kvm_mmu_prepare_zap_page",
                     "sp gen 0 gfn 0 l1 8-byte q0 direct wux nxe ad root 0 sync")
                .event.get(f::prepare_zap_page::ad),
            1u);
  const RawEvent raw_fields = parse_ok(
      "kvm_mmu_get_page",
      "[FAILED TO PARSE] mmu_valid_gen=0 gfn=262144 role=14210 root_count=0 unsync=0 created=1");
  EXPECT_EQ(raw_fields.event.get(p::gfn), 0x40000u);
  EXPECT_EQ(raw_fields.event.get(p::role), 0x3782u);
  EXPECT_EQ(raw_fields.event.get(p::level), 2u);
  EXPECT_EQ(raw_fields.event.get(p::direct), 1u);
  const RawEvent plugin =
      parse_ok("kvm_mmu_get_page", "new sp gfn 40000 2 q0 direct wux !pae nxe wp root 0 sync");
  EXPECT_EQ(plugin.event.get(p::gfn), 0x40000u);
  EXPECT_EQ(plugin.event.get(p::level), 2u);
  EXPECT_FALSE(plugin.event.has(p::ad));
  EXPECT_EQ(parse_ok("kvm_mmu_prepare_zap_page", "1 q0 direct wux !pae nxe wp root 0 sync")
                .event.get(f::prepare_zap_page::level),
            1u);
}

TEST(Parser, UserspaceExit) {
  namespace u = f::userspace_exit;
  EXPECT_EQ(parse_ok("kvm_userspace_exit", "reason KVM_EXIT_IO (2)").event.get(u::reason), 2u);
  EXPECT_EQ(parse_ok("kvm_userspace_exit", "reason error (14)").event.get_signed(u::err), -14);
  EXPECT_EQ(parse_ok("kvm_userspace_exit", "reason restart (4)").event.get_signed(u::err), -4);
  EXPECT_FALSE(parse_ok("kvm_userspace_exit", "reason error (14)").event.has(u::reason));
}

TEST(Parser, OtherTracepoints) {
  EXPECT_EQ(parse_ok("kvm_mmu_split_huge_page", "gfn 40000 spte 7200ee7 level 2 errno -12")
                .event.get_signed(f::split_huge_page::err),
            -12);
  EXPECT_EQ(parse_ok("mark_mmio_spte", "sptep:ffff888005cdc000 gfn d0000 access 7 gen 1e")
                .event.get(f::mark_mmio_spte::gen),
            0x1eu);
  EXPECT_EQ(parse_ok("check_mmio_spte", "spte 80000d0000027 kvm_gen a spte-gen 4 valid 0")
                .event.get(f::check_mmio_spte::kvm_gen),
            10u);
  EXPECT_EQ(parse_ok("handle_mmio_page_fault", "addr:0 gfn d0001 access 6")
                .event.get(f::handle_mmio_page_fault::gfn),
            0xd0001u);
  EXPECT_EQ(parse_ok("kvm_unmap_hva_range",
                     "mmu notifier unmap range: 0x007fd3efa00000 -- 0x007fd3efa01000")
                .event.get(f::unmap_hva_range::end),
            0x7fd3efa01000u);
  EXPECT_EQ(parse_ok("kvm_age_hva", "mmu notifier age hva: 0x007f2b7cc08000 -- 0x007f2b7cc09000")
                .event.get(f::age_hva::start),
            0x7f2b7cc08000u);
  EXPECT_EQ(parse_ok("kvm_test_age_hva", "mmu notifier test age hva: 0x007f1466000000")
                .event.get(f::test_age_hva::hva),
            0x7f1466000000u);
  EXPECT_EQ(parse_ok("kvm_vm_set_mem_attributes", "0x40000 -- 0x40010 [0x8]")
                .event.get(f::vm_set_mem_attributes::attributes),
            8u);
  EXPECT_EQ(
      parse_ok("kvm_mmio", "mmio write len 4 gpa 0xd0000000 val 0x1000").event.get(f::mmio::type),
      static_cast<uint64_t>(trace::MmioType::kWrite));
  EXPECT_EQ(parse_ok("kvm_entry", "vcpu 0, rip 0x1000").event.get(f::entry::rip), 0x1000u);
  const RawEvent exit = parse_ok(
      "kvm_exit",
      "vcpu 0 reason npf rip 0x1000 info1 0x0000000100000006 info2 0x0000000040000000 intr_info "
      "0x00000000 error_code 0x00000001");
  EXPECT_EQ(exit.event.text, "npf");
  EXPECT_EQ(exit.event.get(f::exit::error_code), 1u);
  EXPECT_EQ(parse_ok("kvm_exit", "reason npf rip 0x1000 info 100000006 40000000")
                .event.get(f::exit::info2),
            0x40000000u);
  EXPECT_EQ(parse_ok("kvm_mmu_pagetable_walk", "addr 800b pferr 10 F")
                .event.get(f::pagetable_walk::pferr),
            0x10u);
  EXPECT_EQ(parse_ok("tracing_mark_write", "BEGIN a=b").event.text, "BEGIN a=b");
}

TEST(Parser, BadTracepointBodies) {
  for (const std::string_view body :
       {"", "vcpu", "vcpu 0 rip", "vcpu 0 rip 0x1 address 0x2", "as id 0",
        "vcpu 0 rip 0x1 address 0x2 error_code 0x3 and more"}) {
    EXPECT_EQ(result_of("kvm_page_fault", body), ParseResult::kMalformed) << body;
  }
  EXPECT_EQ(result_of("kvm_mmu_set_spte", "gfn 1 spte 2 (rw?u) level 1 at 3"),
            ParseResult::kMalformed);
  EXPECT_EQ(result_of("fast_page_fault",
                      "vcpu 0 gva 1 error_code QQ sptep 1 old 0x1 new 1 spurious 0 fixed 0"),
            ParseResult::kMalformed);
  EXPECT_EQ(result_of("kvm_mmu_get_page", "[FAILED TO PARSE] gfn=0"), ParseResult::kMalformed);
}

// Every recorded kind has a name that leads back to it.
TEST(Parser, KnowsEveryKernelName) {
  size_t names = 0;
  for (const trace::KindInfo& info : trace::all_kinds()) {
    if (info.kernel_name.empty()) continue;
    EXPECT_EQ(parser().kind_of(info.kernel_name), info.kind) << info.kernel_name;
    ++names;
  }
  EXPECT_GT(names, 100u);
  EXPECT_EQ(parser().kind_of(""), EventKind::kNone);
}

}  // namespace
}  // namespace mmucheck::import
