#include "tools/corrupt/execution_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

namespace mmucheck::corrupt {

namespace {

constexpr uint64_t kDirectBits = uint64_t{1} << 35 | uint64_t{1} << 39;  // of a TD's gfns

bool is_accountable(const TextLine& line) {
  static constexpr std::string_view kEvents[] = {
      "kvm_page_fault",      "fast_page_fault",    "kvm_mmu_spte_requested",
      "kvm_mmu_set_spte",    "mark_mmio_spte",     "kvm_mmu_split_huge_page",
      "kvm_unmap_hva_range", "kvm_age_hva",        "kvm_test_age_hva",
      "kvm_mmu_zap_all_fast", "kvm_vm_set_mem_attributes"};
  const std::string_view event = line.columns.event;
  if (event == "kvm_mmu_get_page" || event == "kvm_mmu_prepare_zap_page") {
    return line.text.find(" direct ") != std::string_view::npos;  // else a shadow page
  }
  return std::find(std::begin(kEvents), std::end(kEvents), event) != std::end(kEvents);
}

constexpr uint64_t kNonpresent = uint64_t{1} << 63;
constexpr uint64_t kMmuPresent = uint64_t{1} << 11;
constexpr uint64_t kPageSize = uint64_t{1} << 7;

bool is_frozen(uint64_t spte) {
  return spte == (kNonpresent | 0x5a0) || spte == (kNonpresent | 0x1a0);
}
bool is_present(uint64_t spte) { return (spte & kMmuPresent) != 0; }
bool is_leaf(const Change& c, uint64_t spte) {
  return is_present(spte) && (c.level == 1 || (spte & kPageSize) != 0);
}
bool is_table(const Change& c, uint64_t spte) { return is_present(spte) && !is_leaf(c, spte); }

// Do the values show what the range says that was done?
bool does(std::string_view effect, const Change& c) {
  const uint64_t from = c.old_spte, to = c.new_spte;
  if (effect == "map") return is_leaf(c, to);
  if (effect == "mark MMIO") return !is_present(to) && to != kNonpresent && !is_frozen(to);
  if (effect == "link table") return !is_present(from) && is_table(c, to);
  if (effect == "split") return is_leaf(c, from) && is_table(c, to);
  if (effect == "recover") return is_table(c, from) && is_leaf(c, to);
  if (effect == "zap") return is_leaf(c, from) && to == kNonpresent;
  if (effect == "unlink table") return is_table(c, from) && to == kNonpresent;
  if (effect == "write-protect" || effect == "clear D" || effect == "clear A") {
    return is_leaf(c, from) && is_leaf(c, to);
  }
  return false;
}

// Is the change in a range of its own level, or of a table that went?
bool names(const report::Operation& o, const Change& c) {
  const uint64_t gfn = c.gfn & ~kDirectBits;
  return std::any_of(o.ranges.begin(), o.ranges.end(), [&](const report::OperationRange& r) {
    if (r.changes == 0 || r.level < 1 || r.level > 5 || r.as_id != static_cast<int>(c.as_id)) {
      return false;
    }
    if (c.level == static_cast<uint64_t>(r.level)) {
      return gfn >= r.first_gfn && gfn <= r.last_gfn && does(r.effect, c);
    }
    const uint64_t end = r.last_gfn + (uint64_t{1} << (9 * (r.level - 1)));
    const bool table = r.effect == "unlink table" || r.effect == "recover" || r.effect == "map";
    return table && is_frozen(c.new_spte) && c.level < static_cast<uint64_t>(r.level) &&
           gfn >= r.first_gfn && gfn < end;
  });
}

}  // namespace

std::string accounts_for(const report::Execution& execution, const RecordingText& recording) {
  if (!execution.complete()) {
    return execution.gaps.empty() ? "the execution is not complete" : execution.gaps.front();
  }
  std::map<uint64_t, std::vector<const report::Operation*>> by_thread;
  for (const report::Operation& o : execution.operations) {
    by_thread[o.thread != 0 ? o.thread : ~uint64_t{o.cpu}].push_back(&o);
  }
  for (const auto& [thread, list] : by_thread) {
    for (size_t i = 1; i < list.size(); ++i) {
      if (list[i]->first_line <= list[i - 1]->last_line) {
        return fmt::format("line {} stands in two operations", list[i]->first_line);
      }
    }
  }
  const auto find = [&](uint64_t thread, size_t line) -> const report::Operation* {
    const auto it = by_thread.find(thread);
    if (it == by_thread.end()) return nullptr;
    const auto after = std::upper_bound(
        it->second.begin(), it->second.end(), line,
        [](size_t at, const report::Operation* o) { return at < o->first_line; });
    if (after == it->second.begin()) return nullptr;
    const report::Operation* o = *std::prev(after);
    return line <= o->last_line ? o : nullptr;
  };
  const std::vector<TextLine>& lines = recording.lines();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (is_accountable(lines[i]) && find(lines[i].thread, i + 1) == nullptr) {
      return fmt::format("line {} stands in no operation", i + 1);
    }
  }
  std::map<const report::Operation*, uint64_t> changes;
  for (const Change& c : recording.changes()) {
    if (c.tracepoint == kNoLine) return fmt::format("line {} is a kprobe", c.first_line() + 1);
    const report::Operation* o = find(c.thread, c.tracepoint + 1);
    if (o == nullptr) return fmt::format("line {} stands in no operation", c.tracepoint + 1);
    if (!names(*o, c)) return fmt::format("line {} is in none of the ranges", c.tracepoint + 1);
    ++changes[o];
  }
  for (const report::Operation& o : execution.operations) {
    if (changes[&o] != o.changes) {
      return fmt::format("the operation at line {} has {} changes and not {}", o.first_line,
                         changes[&o], o.changes);
    }
  }
  return {};
}

}  // namespace mmucheck::corrupt
