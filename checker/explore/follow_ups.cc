#include "checker/explore/follow_ups.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <stdexcept>

#include "checker/explore/stepper.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using K = trace::EventKind;
namespace f = trace::f;

namespace {

Packet packet(K kind, std::initializer_list<std::pair<size_t, uint64_t>> fields) {
  trace::Event e;
  trace::start_event(e, kind);
  for (const auto& [field, value] : fields) e.set(field, value);
  return Packet(e);
}

// The gfns that a stimulus names, with the shared bit where it has one.
std::vector<uint64_t> gfns_of(const trace::Event& e) {
  switch (e.kind) {
    case K::kFault: return {e.get(f::fault::gfn)};
    case K::kGuestAccess: return {e.get(f::guest_access::gpa) / kPageBytes};
    case K::kPrefault: return {e.get(f::prefault::gpa) / kPageBytes};
    case K::kGuestAccept: return {e.get(f::guest_accept::gpa) / kPageBytes};
    case K::kMapPrivatePfn: return {e.get(f::map_private_pfn::gfn)};
    case K::kSetAttributes: return {e.get(f::set_attributes::start)};
    case K::kMemslotCreate: return {e.get(f::memslot_create::base_gfn)};
    default: return {};
  }
}

// A write to the page; the vCPU loads a root first where its own is obsolete.
std::vector<Packet> fault_of(const replay::ReplayWorld& w, uint32_t vcpu, uint64_t gfn,
                             bool is_private, const std::vector<Packet>& before) {
  std::vector<Packet> all;
  if (w.root_invalid(model::vcpu_root(w, vcpu, false))) {
    all.push_back(packet(K::kRootLoad, {{f::root_load::vcpu_id, vcpu}}));
  }
  if (w.vm.gfn_direct_bits != 0 && !is_private) {  // a fault by its address: with the shared bit
    constexpr uint64_t kWrite = 2;                 // PFERR_WRITE_MASK
    all.push_back(
        packet(K::kPageFault, {{f::page_fault::vcpu_id, vcpu},
                               {f::page_fault::address, (gfn | w.vm.gfn_direct_bits) * kPageBytes},
                               {f::page_fault::error_code, kWrite}}));
    return all;
  }
  Packet fault = packet(K::kFault, {{f::fault::vcpu_id, vcpu},
                                    {f::fault::gfn, gfn},
                                    {f::fault::write, 1},
                                    {f::fault::is_private, is_private}});
  for (const Packet& p : before) {  // the host's page is as large as the last fault found it
    const trace::Event e = p.event();
    if (e.kind != K::kFault || e.get(f::fault::gfn) != gfn || !e.has(f::fault::max_level)) continue;
    fault.set(f::fault::max_level, e.get(f::fault::max_level));
  }
  all.push_back(std::move(fault));
  return all;
}

}  // namespace

FollowUps::FollowUps(trace::EventSource& source, const model::Design* design, unsigned n) {
  prefix_ = read_scenario(source);
  if (!prefix_.threads.empty()) {
    throw std::invalid_argument("a scenario says itself what comes next: explore takes it");
  }
  make_menu(design);
  std::vector<size_t> chosen(std::min<size_t>(n, menu_.size()));
  // Each choice in the order of the menu, the first one first.
  const auto choose = [&](const auto& self, size_t at, size_t from) -> void {
    if (at == chosen.size()) {
      FollowUp one{"", chosen};
      for (const size_t i : chosen) one.name += (one.name.empty() ? "" : "; ") + menu_[i].name;
      all_.push_back(std::move(one));
      return;
    }
    for (size_t i = from; i < menu_.size(); i++) {
      chosen[at] = i;
      self(self, at + 1, i + 1);
    }
  };
  if (!chosen.empty()) choose(choose, 0, 0);
}

void FollowUps::add(std::string name, std::optional<uint32_t> vcpu, std::vector<Packet> packets) {
  Item item{std::move(name), vcpu, {}};
  for (Packet& p : packets) {
    item.operations.push_back({std::string(trace::kind_name(p.event().kind)), {p}});
  }
  menu_.push_back(std::move(item));
}

void FollowUps::make_menu(const model::Design* design) {
  Stepper stepper(prefix_, design, 0);
  if (!stepper.take_violations().empty() || !stepper.take_doubts().empty()) {
    throw std::invalid_argument(
        "what the trace shows is broken or in doubt; nothing comes behind it");
  }
  for (const Packet& p : prefix_.prefix) {
    if (replay::SteppedState::running(stepper.replayer(), p.event().thread)) {
      throw std::invalid_argument("an operation of the trace is not over at its end");
    }
  }
  const std::vector<replay::VmState> live = stepper.replayer().state();
  if (live.size() != 1 || stepper.replayer().vm_model(live.front().vm)->destroyed)
    throw std::invalid_argument("one VM, and no other, must be alive at its end");
  const replay::VmModel& vm = *stepper.replayer().vm_model(live.front().vm);
  const auto& w = vm.world;
  if (w.platform != nullptr && w.field(model::CellKind::kHkidAssigned) == 0) {
    throw std::invalid_argument("the TD has no HKID any more");
  }
  if (w.field(model::CellKind::kInvalidateInProgress) != 0) {
    throw std::invalid_argument("an invalidation is not over at the end of the trace");
  }

  std::vector<uint32_t> vcpus;
  for (const Packet& p : prefix_.prefix) {
    if (p.event().kind != K::kVcpuCreate) continue;
    const auto vcpu = static_cast<uint32_t>(p.event().get(f::vcpu_create::vcpu_id));
    if (vcpus.size() < kVcpus && model::vcpu_root(w, vcpu, false) != model::kNoTable) {
      vcpus.push_back(vcpu);
    }
  }
  std::vector<uint64_t> pages;
  for (auto p = prefix_.prefix.rbegin(); p != prefix_.prefix.rend() && pages.size() < kPages; ++p) {
    for (uint64_t gfn : gfns_of(p->event())) {
      gfn &= ~w.vm.gfn_direct_bits;
      if (model::gfn_to_memslot(w, 0, gfn) == model::kNoSlot) continue;
      if (std::find(pages.begin(), pages.end(), gfn) == pages.end()) pages.push_back(gfn);
    }
  }
  std::vector<uint64_t> deleted;
  for (const uint64_t gfn : pages) {
    const bool is_private = w.vm.has_private_mem && model::mem_is_private(w, gfn);
    for (const uint32_t vcpu : vcpus) {
      add(fmt::format("fault vcpu {} gfn {:#x}{}", vcpu, gfn, is_private ? " private" : ""), vcpu,
          fault_of(w, vcpu, gfn, is_private, prefix_.prefix));
    }
    if (w.vm.has_mirror && is_private && !vcpus.empty() && model::td_runnable(w)) {
      namespace x = f::guest_accept;
      add(fmt::format("guest_accept gfn {:#x}", gfn), vcpus.back(),
          {packet(K::kGuestAccept, {{x::vcpu_id, vcpus.back()}, {x::gpa, gfn * kPageBytes}})});
    }
    const uint32_t slot = model::gfn_to_memslot(w, 0, gfn);
    const uint64_t offset = (gfn - model::slot_get(w, slot, model::SlotField::kBase)) * kPageBytes;
    const uint64_t hva = model::slot_get(w, slot, model::SlotField::kHva) + offset;
    add(fmt::format("notifier gfn {:#x}", gfn), {},
        {packet(K::kNotifierBegin,
                {{f::notifier_begin::start, hva}, {f::notifier_begin::end, hva + kPageBytes}}),
         packet(K::kNotifierEnd,
                {{f::notifier_end::start, hva}, {f::notifier_end::end, hva + kPageBytes}})});
    if (w.vm.has_private_mem) {
      namespace x = f::set_attributes;
      add(fmt::format("set_attributes gfn {:#x} to {}", gfn, is_private ? "shared" : "private"), {},
          {packet(K::kSetAttributes,
                  {{x::start, gfn},
                   {x::end, gfn + 1},
                   {x::attributes, is_private ? 0 : model::kMemoryAttributePrivate}})});
    }
    if (const uint64_t file = model::slot_get(w, slot, model::SlotField::kGmem); file != 0) {
      namespace x = f::gmem_punch;
      const uint64_t in_file = model::slot_get(w, slot, model::SlotField::kGmemOffset) * kPageBytes;
      add(fmt::format("gmem_punch gfn {:#x}", gfn), {},
          {packet(K::kGmemPunch,
                  {{x::gmem_fd, file - 1}, {x::offset, in_file + offset}, {x::len, kPageBytes}})});
    }
    const uint64_t id = model::slot_get(w, slot, model::SlotField::kId);
    if (std::find(deleted.begin(), deleted.end(), id) != deleted.end()) continue;
    deleted.push_back(id);
    add(fmt::format("memslot_delete {}", id), {},
        {packet(K::kMemslotDelete, {{f::memslot_delete::slot, id}})});
  }
}

Scenario FollowUps::scenario(const FollowUp& follow_up) const {
  Scenario s = prefix_;
  s.title = follow_up.name;
  s.pinned.clear();
  s.reduced.clear();
  uint32_t tid = 0;
  for (const Packet& p : s.prefix) tid = std::max(tid, p.event().thread);
  std::map<uint32_t, uint32_t> thread_of;  // a vCPU
  for (const size_t i : follow_up.operations) {
    const Item& item = menu_[i];
    const uint32_t its =
        item.vcpu ? thread_of.try_emplace(*item.vcpu, tid + 1).first->second : tid + 1;
    tid = std::max(tid, its);
    for (Operation op : item.operations) {
      op.set_thread(its);
      s.threads[its].push_back(std::move(op));
    }
  }
  return s;
}

}  // namespace mmucheck::explore
