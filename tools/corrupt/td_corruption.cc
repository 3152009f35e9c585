#include "tools/corrupt/td_corruption.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "tools/corrupt/line_edit.h"

namespace mmucheck::corrupt {

namespace {

constexpr uint64_t kRoleMirror = uint64_t{1} << 19;  // kvm_host.h: union kvm_mmu_page_role
constexpr unsigned kPageShift = 12;
constexpr uint64_t kPfnMask = ((uint64_t{1} << 40) - 1) << kPageShift;
constexpr unsigned kSharedGfnBit = 35;   // of a TD with GPAW 48
constexpr unsigned kGpaBits = 32;        // of a gpa or hpa that may change
constexpr uint64_t kStateMask = 0xff;    // of old and new of mock_sept_state
constexpr int64_t kBusy = static_cast<int64_t>(0x8000020000000000);

bool is_seamcall(std::string_view event) {
  static constexpr std::string_view kCalls[] = {
      "mock_sept_add", "mock_page_add",    "mock_page_aug", "mock_range_block", "mock_track",
      "mock_wbinvd",   "mock_page_remove", "mock_reclaim",  "mock_accept",      "mock_zero_step"};
  return std::find(std::begin(kCalls), std::end(kCalls), event) != std::end(kCalls);
}
bool is_return(std::string_view event) { return event.ends_with("_ret"); }
std::string_view without_ret(std::string_view event) {
  return is_return(event) ? event.substr(0, event.size() - 4) : event;
}

struct Lines {
  const RecordingText& recording;
  const TextLine& at(size_t line) const { return recording.lines()[line]; }
  std::string_view event(size_t line) const { return at(line).columns.event; }

  // The next, or previous, line of the same thread; kNoLine behind the end.
  size_t next(size_t line) const {
    for (size_t i = line + 1; i < recording.lines().size(); ++i) {
      if (at(i).thread == at(line).thread && !event(i).empty()) return i;
    }
    return kNoLine;
  }
  size_t previous(size_t line) const {
    for (size_t i = line; i-- > 0;) {
      if (at(i).thread == at(line).thread && !event(i).empty()) return i;
    }
    return kNoLine;
  }
  // The lines of the thread from `line` to the first `last`; none where that is not near.
  std::vector<size_t> up_to(size_t line, std::string_view last) const {
    constexpr size_t kFar = 64;
    std::vector<size_t> all;
    for (size_t i = line; i != kNoLine && all.size() < kFar; i = next(i)) {
      all.push_back(i);
      if (event(i) == last) return all;
    }
    return {};
  }
};

struct Build {
  const Lines& lines;
  Corruption result;

  void replace(size_t line, std::string text) {
    if (text == lines.at(line).text) return;
    result.edits.push_back({Edit::Kind::kReplace, line, std::move(text)});
  }
  void remove(size_t line) { result.edits.push_back({Edit::Kind::kDelete, line, {}}); }
};

void flip(std::string& text, std::string_view key, Base base, uint64_t bits) {
  if (const auto value = number_after(text, key, base)) {
    replace_number(text, key, base, *value ^ bits);
  }
}

void other(std::string& text, std::string_view key, std::vector<int64_t> values,
           std::mt19937_64& random) {
  const int64_t now = argument(text, key).value_or(0);
  replace_argument(text, key, other_of(random, std::move(values), now));
}

uint64_t page_bit(std::mt19937_64& random) {
  return uint64_t{1} << (kPageShift + below(random, kGpaBits - kPageShift));
}

void hook_argument(std::string& text, std::string_view event, std::mt19937_64& random) {
  if (event == "mock_free_external") {
    return flip(text, " external_spt=", Base::kHex0x, page_bit(random));
  }
  switch (below(random, 4)) {
    case 0: return flip(text, " gfn=", Base::kHex0x, page_bit(random) >> kPageShift);
    case 1: return flip(text, " old=", Base::kHex0x, uint64_t{1} << below(random, 64));
    case 2: return flip(text, " new=", Base::kHex0x, uint64_t{1} << below(random, 64));
    default: return other(text, " level=", {1, 2, 3, 4, 5}, random);
  }
}

// Which of its arguments a call shows; mock_track and mock_zero_step none.
std::vector<std::string_view> arguments_of(std::string_view text) {
  std::vector<std::string_view> keys;
  for (std::string_view key : {" gpa=", " level=", " hpa="}) {
    if (text.find(key) != std::string_view::npos) keys.push_back(key);
  }
  return keys;
}

void seamcall_argument(Build& b, size_t line, std::mt19937_64& random) {
  const std::string_view before = b.lines.at(line).text;
  const auto keys = arguments_of(before);
  const std::string_view key = keys[below(random, keys.size())];
  std::string text(before);
  uint64_t bits = 0;
  if (key == " level=") {
    other(text, key, {1, 2, 3, 4, 5}, random);
  } else {
    bits = page_bit(random);
    flip(text, key, Base::kHex0x, bits);
  }
  const std::string changed = text;
  b.replace(line, std::move(text));
  const std::string last = std::string(b.lines.event(line)) + "_ret";
  for (size_t i : b.lines.up_to(line, last)) {
    if (b.lines.event(i) != "mock_sept_state") continue;
    std::string state(b.lines.at(i).text);
    if (key == " level=") replace_argument(state, key, argument(changed, key).value_or(0));
    if (key == " gpa=") flip(state, key, Base::kHex0x, bits);
    if (key == " hpa=") flip(state, " new=", Base::kHex0x, bits);
    b.replace(i, std::move(state));
  }
}

void other_status(std::string& text, std::mt19937_64& random) {
  const auto error = [](uint64_t status) { return static_cast<int64_t>(status); };
  other(text, " ret=",
        {0, kBusy | 0x01, kBusy | 0x80, kBusy | 0x92, kBusy | 0xa9, error(0xc0000b0000000001),
         error(0xc0000b0d00000001), error(0x00000b0700000000), error(0x00000b0a00000000),
         error(0xc0000b0800000000), error(0xc000030000000001)},
        random);
}

// The attempt of a fault, and within it the call, that a success at `line` (mock_*_ret) belongs to.
struct Attempt {
  std::vector<size_t> lines;  // from the search for the page to tdp_map_ret
};
Attempt attempt_of(const Lines& lines, size_t line) {
  constexpr size_t kFar = 64;
  size_t start = kNoLine, n = 0;
  for (size_t i = line; i != kNoLine && n < kFar; i = lines.previous(i), ++n) {
    if (lines.event(i) == "tdp_map_ret") break;
    if (lines.event(i) == "tdp_map" || lines.event(i) == "gmem_get_pfn") start = i;
    if (lines.event(i) == "gmem_get_pfn") break;
  }
  return {start == kNoLine ? std::vector<size_t>{} : lines.up_to(start, "tdp_map_ret")};
}

// At the call BUSY, at the hook -EBUSY, at the fault RET_PF_RETRY; then all of it once more.
void met_busy(Build& b, size_t line, std::mt19937_64& random) {
  const std::string_view call = without_ret(b.lines.event(line));
  const std::vector<size_t> all = attempt_of(b.lines, line).lines;
  std::string again;
  bool failed = false;
  for (size_t i : all) {
    if (!again.empty()) again += '\n';
    again += b.lines.at(i).text;
    const std::string_view event = b.lines.event(i);
    std::string text(b.lines.at(i).text);
    if (i == line) {
      const int64_t operand = call == "mock_page_add"      ? 0x80
                              : below(random, 2) != 0 ? 0x92 : 0x01;
      replace_argument(text, " ret=", kBusy | operand);
      b.replace(i, std::move(text));
      failed = true;
    } else if (failed && event == "mock_set_external_ret") {
      replace_argument(text, " ret=", -16);
      b.replace(i, std::move(text));
    } else if (i == all.back()) {
      replace_argument(text, " ret=", 1);
      b.replace(i, std::move(text));
    } else if (failed || (event == "mock_sept_state" && b.lines.next(i) == line)) {
      b.remove(i);
    }
  }
  b.result.edits.push_back({Edit::Kind::kInsertAfter, all.back(), std::move(again)});
}

void drop_seamcall(Build& b, size_t line, std::mt19937_64& random) {
  const std::string_view event = b.lines.event(line);
  std::vector<size_t> all;
  if (is_seamcall(event) && below(random, 2) != 0) {
    all = b.lines.up_to(line, std::string(event) + "_ret");
  }
  if (all.empty()) all.push_back(line);
  for (size_t i : all) b.remove(i);
}

void root_kind(std::string& text, std::string_view event) {
  if (event == "alloc_root") {
    flip(text, " mirror=", Base::kDec, 1);
  } else {
    flip(text, " role=", Base::kHex0x, kRoleMirror);
  }
}

void shared_bit(Build& b, size_t line) {
  const std::string_view event = b.lines.event(line);
  std::string text(b.lines.at(line).text);
  constexpr uint64_t gfn_bit = uint64_t{1} << kSharedGfnBit, gpa_bit = gfn_bit << kPageShift;
  if (event == "tdp_map") {
    flip(text, " addr=", Base::kHex0x, gpa_bit);
  } else if (event == "kvm_page_fault") {
    flip(text, " address ", Base::kHex0x, gpa_bit);
  } else {
    flip(text, " pgfn=", Base::kHex0x, gfn_bit);
    const auto change = std::find_if(
        b.lines.recording.changes().begin(), b.lines.recording.changes().end(),
        [line](const Change& c) { return c.kprobe == line; });
    if (change != b.lines.recording.changes().end() && change->tracepoint != kNoLine) {
      std::string told(b.lines.at(change->tracepoint).text);
      flip(told, " gfn ", Base::kHex, gfn_bit);
      b.replace(change->tracepoint, std::move(told));
    }
  }
  b.replace(line, std::move(text));
}

bool is_unmap(std::string_view event) {
  return event == "unmap_gfn_range" || event == "mmu_unmap_gfn_range" ||
         event == "tdp_unmap_gfn_range";
}

void attr_filter(Build& b, size_t line, std::mt19937_64& random) {
  const int64_t now = argument(b.lines.at(line).text, " attr_filter=").value_or(0);
  const int64_t then = other_of(random, {1, 2, 3}, now);
  for (size_t i = line; i != kNoLine && is_unmap(b.lines.event(i)); i = b.lines.next(i)) {
    std::string text(b.lines.at(i).text);
    if (argument(text, " attr_filter=") == now) replace_argument(text, " attr_filter=", then);
    b.replace(i, std::move(text));
  }
}

}  // namespace

void hook_with_values(std::string& line, std::string_view event, const Change& before,
                      const Change& after) {
  const uint64_t pfn_bits = (before.new_spte ^ after.new_spte) & kPfnMask;
  if (event == "mock_set_external") {
    replace_number(line, " gfn=", Base::kHex0x, after.gfn);
    replace_number(line, " level=", Base::kDec, after.level);
    replace_number(line, " new=", Base::kHex0x, after.new_spte);
    return;
  }
  if (argument(line, " gpa=")) flip(line, " gpa=", Base::kHex0x,
                                    (before.gfn ^ after.gfn) << kPageShift);
  if (argument(line, " level=")) replace_number(line, " level=", Base::kDec, after.level);
  if (before.level != 1) return;  // the page of a table is not the S-EPT's
  if (event == "mock_page_add" || event == "mock_page_aug") {
    flip(line, " hpa=", Base::kHex0x, pfn_bits);
  }
  const uint64_t state = number_after(line, " new=", Base::kHex0x).value_or(0) & kStateMask;
  if (event == "mock_sept_state" && state != 0) flip(line, " new=", Base::kHex0x, pfn_bits);
}

std::map<Class, std::vector<size_t>> td_places(const RecordingText& recording) {
  const Lines lines{recording};
  std::set<uint64_t> tds;  // by their kvm=
  for (const TextLine& line : recording.lines()) {
    const auto kvm = number_after(line.text, " kvm=", Base::kHex0x);
    if (kvm && (line.columns.event.starts_with("mock_") ||
                argument(line.text, " mirror=").value_or(0) == 1)) {
      tds.insert(*kvm);
    }
  }
  std::map<Class, std::vector<size_t>> places;
  if (tds.empty()) return places;
  std::unordered_map<uint64_t, uint64_t> vm_of;  // by thread
  std::unordered_map<uint64_t, bool> in_unmap;
  for (size_t i = 0; i < recording.lines().size(); ++i) {
    const TextLine& line = recording.lines()[i];
    const std::string_view event = line.columns.event, text = line.text;
    if (event.empty()) continue;
    uint64_t& vm = vm_of[line.thread];
    vm = number_after(text, " kvm=", Base::kHex0x).value_or(vm);
    if (!tds.contains(vm)) continue;
    const auto place = [&](Class cls) { places[cls].push_back(i); };
    const bool was_in_unmap = in_unmap[line.thread];
    in_unmap[line.thread] = is_unmap(event);
    if (event == "mock_set_external" ||
        (event == "mock_free_external" && text.find(" external_spt=") != std::string_view::npos)) {
      place(Class::kHookArgument);
    }
    if (event == "mock_set_external_ret") place(Class::kHookResult);
    if (is_seamcall(event) && !arguments_of(text).empty()) place(Class::kSeamcallArgument);
    if (is_return(event) && is_seamcall(without_ret(event))) {
      place(Class::kSeamcallStatus);
      const bool maps = event == "mock_sept_add_ret" || event == "mock_page_add_ret" ||
                        event == "mock_page_aug_ret";
      const size_t next = lines.next(i);
      if (maps && argument(text, " ret=") == 0 && next != kNoLine &&
          lines.event(next) == "mock_set_external_ret" && !attempt_of(lines, i).lines.empty()) {
        place(Class::kBusy);
      }
    }
    if (event == "mock_sept_state") place(Class::kSeptState);
    if (event.starts_with("mock_") && event != "mock_td_destroy") place(Class::kDropSeamcall);
    if (event == "alloc_root" || event == "zap_leafs_root" || event == "iter_start" ||
        event == "changed_spte" || event == "init_sp") {
      place(Class::kRootKind);
    }
    if (event == "tdp_map" || event == "kvm_page_fault" ||
        (event == "changed_spte" &&
         (number_after(text, " pgfn=", Base::kHex0x).value_or(0) >> kSharedGfnBit & 1) != 0)) {
      place(Class::kSharedBit);
    }
    if (event == "tdp_map") place(Class::kIsPrivate);
    if (is_unmap(event) && !was_in_unmap) place(Class::kAttrFilter);
  }
  return places;
}

Corruption corrupt_td(const RecordingText& recording, Class cls, size_t line,
                      std::mt19937_64& random) {
  const Lines lines{recording};
  const TextLine& original = recording.lines()[line];
  const std::string_view event = original.columns.event;
  Build b{lines, {}};
  std::string text(original.text);
  switch (cls) {
    case Class::kHookArgument: hook_argument(text, event, random); break;
    case Class::kHookResult: other(text, " ret=", {0, -16, -5}, random); break;
    case Class::kSeamcallArgument: seamcall_argument(b, line, random); break;
    case Class::kSeamcallStatus: other_status(text, random); break;
    case Class::kBusy: met_busy(b, line, random); break;
    case Class::kSeptState: {
      const std::string_view key = below(random, 2) != 0 ? " old=" : " new=";
      const uint64_t bits = below(random, 2) != 0 ? page_bit(random)
                                                  : 1 + below(random, 7);  // HPA or state
      flip(text, key, Base::kHex0x, bits);
      break;
    }
    case Class::kDropSeamcall: drop_seamcall(b, line, random); break;
    case Class::kRootKind: root_kind(text, event); break;
    case Class::kSharedBit: shared_bit(b, line); break;
    case Class::kIsPrivate: flip(text, " is_private=", Base::kDec, 1); break;
    case Class::kAttrFilter: attr_filter(b, line, random); break;
    default: break;
  }
  if (b.result.edits.empty()) b.replace(line, std::move(text));
  std::stable_sort(b.result.edits.begin(), b.result.edits.end(),
                   [](const Edit& x, const Edit& y) { return x.line < y.line; });
  b.result.before = event_part(original);
  if (b.result.edits.empty()) return std::move(b.result);
  const Edit& first = b.result.edits.front();
  b.result.after = first.kind == Edit::Kind::kDelete
                       ? std::string("nothing")
                       : first.text.substr(original.text.size() - event_part(original).size());
  if (cls == Class::kBusy) b.result.after = "BUSY first, and the fault once more";
  return std::move(b.result);
}

}  // namespace mmucheck::corrupt
