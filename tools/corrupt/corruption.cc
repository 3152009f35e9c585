#include "tools/corrupt/corruption.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "tools/corrupt/line_edit.h"
#include "tools/corrupt/td_corruption.h"

namespace mmucheck::corrupt {

// The same in every standard library, which std::uniform_int_distribution is not. The bias is below
// 2^-40 for the sizes used here.
uint64_t below(std::mt19937_64& random, uint64_t n) {
  return random() % n;
}

std::string_view event_part(const TextLine& line) {
  const char* start = line.columns.event.data();
  return line.text.substr(static_cast<size_t>(start - line.text.data()));
}

int64_t other_of(std::mt19937_64& random, std::vector<int64_t> values, int64_t now) {
  std::erase(values, now);
  return values[below(random, values.size())];
}

namespace {

constexpr uint64_t kMmuPresent = uint64_t{1} << 11;   // spte.h: SPTE_MMU_PRESENT_MASK
constexpr uint64_t kPageSize = uint64_t{1} << 7;      // PT_PAGE_SIZE_MASK
constexpr unsigned kPfnShift = 12;
constexpr unsigned kPfnBits = 18;   // of the page frame number that may change: 1 GiB of memory
constexpr unsigned kGfnBits = 20;   // of the gfn that may change: 4 GiB of guest
constexpr uint64_t kRoleSmm = uint64_t{1} << 24;  // kvm_host.h: union kvm_mmu_page_role

bool is_new_leaf(const Change& change) {
  return (change.new_spte & kMmuPresent) != 0 &&
         (change.level == 1 || (change.new_spte & kPageSize) != 0) && change.level >= 1 &&
         change.level <= 3;
}

std::string describe(const Change& change) {
  return fmt::format("as_id {} gfn {:x} level {} old {:x} new {:x}", change.as_id, change.gfn,
                     change.level, change.old_spte, change.new_spte);
}

// kvm_mmu_set_spte prints what the bits mean beside them (mmutrace.h); four letters in the format
// with an "user" bit, three without.
void replace_set_spte_value(std::string& line, uint64_t old_value, uint64_t new_value) {
  replace_number(line, " spte ", Base::kHex, new_value);
  const size_t open = line.find('('), close = line.find(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return;
  const uint64_t changed = old_value ^ new_value;
  const auto flip = [&](size_t at, char letter) {
    line[at] = line[at] == '-' ? letter : '-';
  };
  if (close - open == 5) {
    if ((changed >> 1 & 1) != 0) flip(open + 2, 'w');
    if ((changed >> 63 & 1) != 0) flip(open + 3, 'x');
    if ((changed >> 2 & 1) != 0) flip(open + 4, 'u');
  } else if (close - open == 4) {
    if ((changed & 1) != 0) flip(open + 1, 'r');
    if ((changed >> 1 & 1) != 0) flip(open + 2, 'w');
    if ((changed >> 2 & 1) != 0) flip(open + 3, 'x');
  }
}

// Line `line` of a change with the values of `after` instead of those of `before`.
std::string with_values(std::string line, std::string_view event, const Change& before,
                        const Change& after) {
  if (event == "cmpxchg_spte") {
    replace_number(line, " gfn=", Base::kHex0x, after.gfn);
    replace_number(line, " level=", Base::kDec, after.level);
    // Of a mirror entry that is FROZEN_SPTE.
    if (number_after(line, " new=", Base::kHex0x) == before.new_spte) {
      replace_number(line, " new=", Base::kHex0x, after.new_spte);
    }
  } else if (event == "changed_spte") {
    if (!replace_number(line, " pgfn=", Base::kHex0x, after.gfn)) {
      replace_number(line, " gfn=", Base::kHex0x, after.gfn);
    }
    replace_number(line, " level=", Base::kDec, after.level);
    replace_number(line, " new=", Base::kHex0x, after.new_spte);
    if (!replace_number(line, " as_id=", Base::kDec, after.as_id)) {
      // Without an argument of its own the address space is the table's.
      const uint64_t role = number_after(line, " role=", Base::kHex0x).value_or(0);
      uint64_t changed = role;
      if (after.as_id != before.as_id) changed ^= kRoleSmm;
      if (after.level != before.level) changed = (changed & ~uint64_t{15}) | after.level;
      if (changed != role) replace_number(line, " role=", Base::kHex0x, changed);
    }
  } else if (event == "kvm_tdp_mmu_spte_changed") {
    replace_number(line, " as id ", Base::kDec, after.as_id);
    replace_number(line, " gfn ", Base::kHex, after.gfn);
    replace_number(line, " level ", Base::kDec, after.level);
    replace_number(line, " new_spte ", Base::kHex, after.new_spte);
  } else if (event == "kvm_mmu_set_spte") {
    replace_number(line, " gfn ", Base::kHex, after.gfn);
    replace_number(line, " level ", Base::kDec, after.level);
    replace_set_spte_value(line, before.new_spte, after.new_spte);
  } else if (event.starts_with("mock_")) {
    hook_with_values(line, event, before, after);
  }
  return line;
}

bool same_shape(const Change& a, const Change& b) {
  return (a.cmpxchg == kNoLine) == (b.cmpxchg == kNoLine) &&
         (a.kprobe == kNoLine) == (b.kprobe == kNoLine) &&
         (a.tracepoint == kNoLine) == (b.tracepoint == kNoLine) &&
         (a.set_spte == kNoLine) == (b.set_spte == kNoLine) && a.hook.size() == b.hook.size();
}

}  // namespace

const char* name_of(Class cls) {
  switch (cls) {
    case Class::kFlipBit: return "flip-bit";
    case Class::kPfn: return "pfn";
    case Class::kLevel: return "level";
    case Class::kGfn: return "gfn";
    case Class::kAsId: return "as-id";
    case Class::kDrop: return "drop";
    case Class::kDouble: return "double";
    case Class::kSwap: return "swap";
    case Class::kDropZap: return "drop-zap";
    case Class::kResult: return "result";
    case Class::kHookArgument: return "hook-argument";
    case Class::kHookResult: return "hook-result";
    case Class::kSeamcallArgument: return "seamcall-argument";
    case Class::kSeamcallStatus: return "seamcall-status";
    case Class::kBusy: return "busy";
    case Class::kSeptState: return "sept-state";
    case Class::kDropSeamcall: return "drop-seamcall";
    case Class::kRootKind: return "root-kind";
    case Class::kSharedBit: return "shared-bit";
    case Class::kIsPrivate: return "is-private";
    case Class::kAttrFilter: return "attr-filter";
  }
  return "";
}

std::optional<Class> class_named(std::string_view name) {
  for (Class cls : kAllClasses) {
    if (name == name_of(cls)) return cls;
  }
  return std::nullopt;
}

Corrupter::Corrupter(const RecordingText& recording)
    : recording_(recording), td_(td_places(recording)) {
  std::map<uint64_t, size_t> last;
  const std::vector<Change>& changes = recording.changes();
  for (size_t i = 0; i < changes.size(); ++i) {
    const Change& change = changes[i];
    if (is_new_leaf(change)) new_leafs_.push_back(i);
    const auto [before, first] = last.try_emplace(change.thread, i);
    if (first) continue;
    const Change& a = changes[before->second];
    if (same_shape(a, change) && describe(a) != describe(change)) {
      neighbours_.emplace_back(before->second, i);
    }
    before->second = i;
  }
}

size_t Corrupter::places(Class cls) const {
  if (cls > Class::kResult) {
    const auto it = td_.find(cls);
    return it == td_.end() ? 0 : it->second.size();
  }
  switch (cls) {
    case Class::kPfn: return new_leafs_.size();
    case Class::kSwap: return neighbours_.size();
    case Class::kDropZap: return recording_.zaps().size();
    case Class::kResult: return recording_.results().size();
    default: return recording_.changes().size();
  }
}

std::vector<Class> Corrupter::classes() const {
  std::vector<Class> found;
  for (Class cls : kAllClasses) {
    if (places(cls) > 0) found.push_back(cls);
  }
  return found;
}

std::optional<Corruption> Corrupter::make(uint64_t seed, std::optional<Class> cls) const {
  std::mt19937_64 random(seed);
  const std::vector<Class> possible = classes();
  if (!cls) {
    if (possible.empty()) return std::nullopt;
    cls = possible[below(random, possible.size())];
  }
  if (places(*cls) == 0) return std::nullopt;
  const size_t at = below(random, places(*cls));
  Corruption result;
  switch (*cls) {
    case Class::kDrop: result = drop(recording_.changes()[at].lines()); break;
    case Class::kDouble: result = twice(recording_.changes()[at]); break;
    case Class::kResult: result = change_result(recording_.results()[at], random); break;
    case Class::kSwap:
      result = swap(recording_.changes()[neighbours_[at].first],
                    recording_.changes()[neighbours_[at].second]);
      break;
    case Class::kDropZap: {
      const Zap& zap = recording_.zaps()[at];
      std::vector<size_t> lines = zap.lines;
      const bool with_flush = below(random, 2) != 0 && zap.flush != kNoLine;
      if (with_flush) lines.push_back(zap.flush);
      std::sort(lines.begin(), lines.end());
      result = drop(lines);
      result.before = fmt::format("{} with {} changes{}",
                                  recording_.lines()[zap.lines.front()].columns.event, zap.changes,
                                  with_flush ? " and its flush" : "");
      break;
    }
    case Class::kPfn:
      result = change_value(recording_.changes()[new_leafs_[at]], *cls, random);
      break;
    default:
      result = *cls > Class::kResult
                   ? corrupt_td(recording_, *cls, td_.at(*cls)[at], random)
                   : change_value(recording_.changes()[at], *cls, random);
      break;
  }
  result.cls = *cls;
  result.seed = seed;
  return result;
}

Corruption Corrupter::change_value(const Change& change, Class cls, std::mt19937_64& random) const {
  Change after = change;
  switch (cls) {
    case Class::kFlipBit: after.new_spte ^= uint64_t{1} << below(random, 64); break;
    case Class::kPfn: {
      const unsigned shift = kPfnShift + 9 * static_cast<unsigned>(change.level - 1);
      const unsigned bits = std::max(kPfnBits + kPfnShift, shift + 1) - shift;
      after.new_spte ^= (1 + below(random, (uint64_t{1} << bits) - 1)) << shift;
      break;
    }
    case Class::kLevel:
      after.level = static_cast<uint64_t>(
          other_of(random, {1, 2, 3, 4, 5}, static_cast<int64_t>(change.level)));
      break;
    case Class::kGfn: after.gfn ^= uint64_t{1} << below(random, kGfnBits); break;
    default: after.as_id ^= 1; break;
  }
  Corruption result;
  for (size_t line : change.lines()) {
    const TextLine& original = recording_.lines()[line];
    std::string text = with_values(std::string(original.text), original.columns.event, change,
                                   after);
    if (text != original.text) {
      result.edits.push_back({Edit::Kind::kReplace, line, std::move(text)});
    }
  }
  result.before = describe(change);
  result.after = describe(after);
  return result;
}

// Is a thread inside kvm_vm_set_mem_attributes(), where no event shows the stores?
bool Corrupter::attributes_change_at(size_t line) const {
  std::set<uint64_t> inside;
  for (size_t i = 0; i < line; ++i) {
    const TextLine& at = recording_.lines()[i];
    if (at.columns.event == "pre_set_attr") inside.insert(at.thread);
    if (at.columns.event == "inv_end") inside.erase(at.thread);
  }
  return !inside.empty();
}

Corruption Corrupter::change_result(size_t line, std::mt19937_64& random) const {
  const TextLine& original = recording_.lines()[line];
  const std::string_view event = original.columns.event;
  std::string text(original.text);
  const auto alter = [&](std::string_view key, const std::vector<int64_t>& values) {
    const int64_t now = argument(text, key).value_or(0);
    replace_argument(text, key, other_of(random, values, now));
  };
  // mmu_internal.h: enum pf_result; the errors are those that the functions can return.
  if (event == "tdp_map_ret") {
    alter(" ret=", {1, 2, 4, 5, 6});
  } else if (event == "faultin_ret") {
    // One of many tries, whose address nothing tells, may have met the attributes of another page.
    const bool again = argument(text, " ret=").value_or(0) == 1 && attributes_change_at(line);
    alter(" ret=", again ? std::vector<int64_t>{0, 1, 2} : std::vector<int64_t>{0, 1, 2, -14});
  } else if (event == "fault_stale_ret") {
    alter(" stale=", {0, 1});
  } else if (event == "set_memslot_ret") {
    alter(" ret=", {0, -22, -17, -12});
  } else if (event == "cmpxchg_spte_ret") {
    alter(" ret=", {0, -16});
  } else if (event == "fast_page_fault") {
    alter(" fixed ", {0, 1});
  } else {
    alter(" errno ", {0, -12});
  }
  Corruption result;
  result.edits.push_back({Edit::Kind::kReplace, line, text});
  result.before = event_part(original);
  result.after = text.substr(static_cast<size_t>(event.data() - original.text.data()));
  return result;
}

Corruption Corrupter::drop(const std::vector<size_t>& lines) const {
  Corruption result;
  for (size_t line : lines) result.edits.push_back({Edit::Kind::kDelete, line, {}});
  result.before = event_part(recording_.lines()[lines.front()]);
  result.after = "nothing";
  return result;
}

Corruption Corrupter::twice(const Change& change) const {
  Corruption result;
  const std::vector<size_t> lines = change.lines();
  std::string copy;
  for (size_t line : lines) {
    if (!copy.empty()) copy += '\n';
    copy += recording_.lines()[line].text;
  }
  result.edits.push_back({Edit::Kind::kInsertAfter, lines.back(), std::move(copy)});
  result.before = describe(change);
  result.after = "twice";
  return result;
}

// The first change's lines tell the second change and the other way round; task and time stay.
Corruption Corrupter::swap(const Change& a, const Change& b) const {
  Corruption result;
  const auto exchange = [&](size_t x, size_t y) {
    if (x == kNoLine || y == kNoLine) return;
    const TextLine &lx = recording_.lines()[x], &ly = recording_.lines()[y];
    const std::string_view ex = event_part(lx), ey = event_part(ly);
    const auto put = [&](size_t at, const TextLine& line, std::string_view own,
                         std::string_view other) {
      std::string text(line.text.substr(0, line.text.size() - own.size()));
      result.edits.push_back({Edit::Kind::kReplace, at, text.append(other)});
    };
    put(x, lx, ex, ey);
    put(y, ly, ey, ex);
  };
  exchange(a.cmpxchg, b.cmpxchg);
  exchange(a.kprobe, b.kprobe);
  exchange(a.tracepoint, b.tracepoint);
  exchange(a.set_spte, b.set_spte);
  for (size_t i = 0; i < a.hook.size(); ++i) exchange(a.hook[i], b.hook[i]);
  std::sort(result.edits.begin(), result.edits.end(),
            [](const Edit& x, const Edit& y) { return x.line < y.line; });
  result.before = describe(a) + ", then " + describe(b);
  result.after = "the other way round";
  return result;
}

CorruptedText apply(const RecordingText& recording, const std::vector<Corruption>& corruptions) {
  std::map<size_t, std::vector<const Edit*>> by_line;
  for (const Corruption& corruption : corruptions) {
    for (const Edit& edit : corruption.edits) by_line[edit.line].push_back(&edit);
  }
  CorruptedText out;
  auto next = by_line.begin();
  for (size_t i = 0; i < recording.lines().size(); ++i) {
    std::string_view text = recording.lines()[i].text;
    const std::string* inserted = nullptr;
    bool deleted = false;
    if (next != by_line.end() && next->first == i) {
      for (const Edit* edit : next->second) {
        switch (edit->kind) {
          case Edit::Kind::kReplace: text = edit->text; break;
          case Edit::Kind::kDelete: deleted = true; break;
          case Edit::Kind::kInsertAfter: inserted = &edit->text; break;
        }
      }
      ++next;
    }
    if (!deleted) {
      out.text.append(text) += '\n';
      out.original.push_back(i);
    }
    if (inserted != nullptr) {
      out.text.append(*inserted) += '\n';
      out.original.resize(out.original.size() +
                              static_cast<size_t>(
                                  std::count(inserted->begin(), inserted->end(), '\n')) + 1,
                          kNoLine);
    }
  }
  return out;
}

nlohmann::ordered_json to_json(const RecordingText& recording, const Corruption& corruption) {
  nlohmann::ordered_json edits = nlohmann::ordered_json::array();
  for (const Edit& edit : corruption.edits) {
    const std::string before(recording.lines()[edit.line].text);
    edits.push_back({{"line", edit.line + 1}, {"before", before}, {"after", edit.text}});
  }
  return {{"class", name_of(corruption.cls)},
          {"seed", corruption.seed},
          {"line", corruption.first_line() + 1},
          {"before", corruption.before},
          {"after", corruption.after},
          {"edits", edits}};
}

}  // namespace mmucheck::corrupt
