#include "tools/import/ftrace/import_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace mmucheck::import {
namespace {

using trace::EventKind;

constexpr CapabilityGap kGaps[] = {
    {EventKind::kSpteChanged, "SPTE changes (tracepoint)"},
    {EventKind::kPageFault, "faulting addresses"},
    {EventKind::kChangedSpte, "VM, lock mode and table of each SPTE change"},
    {EventKind::kTdpMap, "pfn, limits and root of each fault"},
    {EventKind::kTdpMapRet, "results of faults"},
    {EventKind::kFaultinRet, "faults that end before the page table"},
    {EventKind::kFaultStaleRet, "stale faults"},
    {EventKind::kInitVm, "VM types and life times"},
    {EventKind::kMmuLoad, "vCPU entries that load a root"},
    {EventKind::kAllocRoot, "roles of roots"},
    {EventKind::kInitSp, "addresses of page tables"},
    {EventKind::kPutRoot, "reference counts of roots"},
    {EventKind::kIterStart, "which root a walk is in"},
    {EventKind::kIterRestart, "where walks resume"},
    {EventKind::kCmpxchgSpte, "outcome of each compare-and-exchange"},
    {EventKind::kUnmapGfnRange, "range operations with slot and filter"},
    {EventKind::kZapLeafsRoot, "leaf zaps by root"},
    {EventKind::kZapRoot, "root teardown by level"},
    {EventKind::kInvBegin, "the invalidation sequence"},
    {EventKind::kMnInvStart, "mmu notifier begin and end, with VM"},
    {EventKind::kSetMemslot, "the memslot table"},
    {EventKind::kSetMemAttr, "memory attributes"},
    {EventKind::kFlushAll, "TLB flushes"},
    {EventKind::kYieldRead, "yields under the read lock"},
    {EventKind::kYieldWrite, "yields under the write lock"},
    {EventKind::kRcuFreeSp, "when page tables are freed"},
    {EventKind::kRemovedPt, "removed page tables"},
};

void put_counts(std::string& out, std::string_view title,
                const std::map<std::string, uint64_t>& counts) {
  if (counts.empty()) return;
  std::vector<std::pair<std::string, uint64_t>> rows(counts.begin(), counts.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  fmt::format_to(std::back_inserter(out), "{}\n", title);
  for (const auto& [name, count] : rows) {
    fmt::format_to(std::back_inserter(out), "  {:>10}  {}\n", count, name);
  }
}

std::string_view how_text(trace::LossHow how) {
  switch (how) {
    case trace::LossHow::kCounted: return "counted in the text";
    case trace::LossHow::kUncounted: return "said in the text";
    case trace::LossHow::kHeader: return "said by the header, at the start";
    case trace::LossHow::kRingStats: return "said by ring-stats.txt";
    case trace::LossHow::kTruncated: return "truncated";
    case trace::LossHow::kUnknown: break;
  }
  return "unknown";
}

uint64_t sum(const std::map<std::string, uint64_t>& counts) {
  uint64_t total = 0;
  for (const auto& [name, count] : counts) total += count;
  return total;
}

}  // namespace

std::vector<CapabilityGap> capability_gaps(const trace::KindSet& capabilities,
                                           trace::KernelVersion) {
  std::vector<CapabilityGap> gaps;
  for (const CapabilityGap& gap : kGaps) {
    if (!capabilities.test(static_cast<size_t>(gap.kind))) gaps.push_back(gap);
  }
  return gaps;
}

std::string format_report(const ImportReport& report) {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{} lines: {} events read, {} skipped, {} unreadable, {} malformed lines\n",
                 report.lines, sum(report.read), sum(report.skipped), sum(report.bad),
                 report.malformed);
  if (report.malformed != 0) {
    fmt::format_to(to, "  first malformed line: {}\n", report.first_malformed_line);
  }
  if (report.overlong != 0) fmt::format_to(to, "  overlong lines: {}\n", report.overlong);
  if (report.outside_direct_map != 0) {
    fmt::format_to(to, "  addresses outside the direct map: {}\n", report.outside_direct_map);
  }
  if (report.untracked_vms != 0) {
    fmt::format_to(to, "  sightings of VMs beyond the limit: {}\n", report.untracked_vms);
  }
  fmt::format_to(to, "VMs: {}\n", report.vms);
  put_counts(out, "events read", report.read);
  put_counts(out, "packets added", report.written);
  put_counts(out, "events skipped (unknown)", report.skipped);
  put_counts(out, "events unreadable", report.bad);
  if (!report.lost.empty()) {
    fmt::format_to(to, "lost\n");
    for (const trace::LostEvents& lost : report.lost) {
      const std::string count =
          lost.count != 0 ? fmt::format("{} events", lost.count) : std::string("events");
      const std::string cpu =
          lost.cpu != UINT32_MAX ? fmt::format(" on CPU {}", lost.cpu) : std::string();
      const std::string place =
          lost.source_line != 0 ? fmt::format(" at line {}", lost.source_line) : std::string();
      fmt::format_to(to, "  {}{}{}: {}\n", count, cpu, place, how_text(lost.how));
    }
  }
  const auto gaps = capability_gaps(report.capabilities, report.kernel);
  if (!gaps.empty()) {
    fmt::format_to(to, "not in the recording\n");
    for (const CapabilityGap& gap : gaps) {
      fmt::format_to(to, "  {:<24}{}\n", trace::kind_info(gap.kind).kernel_name, gap.missing);
    }
  }
  return out;
}

}  // namespace mmucheck::import
