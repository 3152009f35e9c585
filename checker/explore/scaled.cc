#include "checker/explore/scaled.h"

#include <algorithm>
#include <stdexcept>

#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using K = trace::EventKind;
namespace f = trace::f;

namespace {

K kind_of(const Packet& p) { return p.event().kind; }
bool faults(const std::vector<Operation>& operations) {
  return kind_of(operations.front().packets.front()) == K::kFault;
}

std::vector<uint32_t> vcpu_threads(const Scenario& s) {
  std::vector<uint32_t> all;
  for (const auto& [tid, operations] : s.threads) {
    if (faults(operations)) all.push_back(tid);
  }
  return all;
}

// Behind the last packet of this kind, a copy of the first one for another vCPU.
void add_for_vcpu(std::vector<Packet>& prefix, K kind, size_t vcpu_field, uint64_t vcpu) {
  const auto is = [&](const Packet& p) { return kind_of(p) == kind; };
  const auto first = std::find_if(prefix.begin(), prefix.end(), is);
  if (first == prefix.end()) return;
  Packet copy = *first;
  copy.set(vcpu_field, vcpu);
  const auto behind = std::find_if(prefix.rbegin(), prefix.rend(), is).base();
  prefix.insert(behind, copy);
}

uint64_t first_free_vcpu(const std::vector<Packet>& prefix) {
  uint64_t next = 0;
  for (const Packet& p : prefix) {
    if (kind_of(p) == K::kVcpuCreate) {
      next = std::max(next, p.event().get(f::vcpu_create::vcpu_id) + 1);
    }
  }
  return next;
}

void scale_vcpus(Scenario& s, unsigned vcpus) {
  const std::vector<uint32_t> threads = vcpu_threads(s);
  for (size_t i = vcpus; i < threads.size(); i++) s.threads.erase(threads[i]);
  for (size_t i = threads.size(); i < vcpus; i++) {
    const uint64_t vcpu = first_free_vcpu(s.prefix);
    add_for_vcpu(s.prefix, K::kVcpuCreate, f::vcpu_create::vcpu_id, vcpu);
    add_for_vcpu(s.prefix, K::kRootLoad, f::root_load::vcpu_id, vcpu);
    const uint32_t tid = s.threads.rbegin()->first + 1;
    std::vector<Operation> operations = s.threads.at(threads.front());
    for (Operation& op : operations) {
      op.set_thread(tid);
      Packet& stimulus = op.packets.front();
      if (kind_of(stimulus) != K::kFault) {
        throw std::invalid_argument("--vcpus: a vCPU of this scenario does more than fault");
      }
      stimulus.set(f::fault::vcpu_id, vcpu);
    }
    s.threads[tid] = std::move(operations);
  }
}

void end_behind(Packet& p, size_t start, size_t end, uint64_t size) {
  p.set(end, p.event().get(start) + size);
}

void scale_range(Packet& p, uint64_t gfns) {
  switch (kind_of(p)) {
    case K::kGmemPunch: return p.set(f::gmem_punch::len, gfns * kPageBytes);
    case K::kNotifierBegin:
      return end_behind(p, f::notifier_begin::start, f::notifier_begin::end, gfns * kPageBytes);
    case K::kNotifierEnd:
      return end_behind(p, f::notifier_end::start, f::notifier_end::end, gfns * kPageBytes);
    case K::kSetAttributes:
      return end_behind(p, f::set_attributes::start, f::set_attributes::end, gfns);
    case K::kUnmapGfnRangeOp:
      return end_behind(p, f::unmap_gfn_range_op::start, f::unmap_gfn_range_op::end, gfns);
    case K::kZapGfnRangeOp:
      return end_behind(p, f::zap_gfn_range_op::start, f::zap_gfn_range_op::end, gfns);
    default: return;
  }
}

void scale_gfns(Scenario& s, unsigned gfns) {
  const std::vector<uint32_t> threads = vcpu_threads(s);
  const Packet& fault = s.threads.at(threads.front()).front().packets.front();
  const uint64_t first = fault.event().get(f::fault::gfn);
  unsigned vcpu = 0;
  for (auto& [tid, operations] : s.threads) {
    const bool is_vcpu = faults(operations);
    for (Operation& op : operations) {
      Packet& p = op.packets.front();
      if (kind_of(p) == K::kFault && is_vcpu) p.set(f::fault::gfn, first + vcpu % gfns);
      if (!is_vcpu) scale_range(p, gfns);
    }
    vcpu += is_vcpu;
  }
  for (Packet& p : s.prefix) {
    if (kind_of(p) != K::kSetAttributes) continue;
    const trace::Event e = p.event();
    const uint64_t end = e.get(f::set_attributes::end);
    if (e.get(f::set_attributes::start) <= first && first < end) {
      p.set(f::set_attributes::end, std::max(end, first + gfns));
    }
  }
}

}  // namespace

Scenario scaled(const Scenario& scenario, const Scale& scale) {
  Scenario s = scenario;
  if (!scale.any()) return s;
  const size_t vcpus = vcpu_threads(s).size();
  if (vcpus == 0) {
    throw std::invalid_argument("--vcpus and --gfns: no thread of the scenario begins with a fault");
  }
  if (scale.vcpus && s.threads.size() - vcpus + *scale.vcpus > kMaxThreads) {
    throw std::invalid_argument("--vcpus: more than " + std::to_string(kMaxThreads) + " threads");
  }
  s.pinned.clear();
  s.reduced.clear();
  if (scale.vcpus) scale_vcpus(s, *scale.vcpus);
  if (scale.gfns) scale_gfns(s, *scale.gfns);
  return s;
}

}  // namespace mmucheck::explore
