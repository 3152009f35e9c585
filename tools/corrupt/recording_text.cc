#include "tools/corrupt/recording_text.h"

#include <algorithm>
#include <map>

#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"
#include "tools/corrupt/line_edit.h"

namespace mmucheck::corrupt {

namespace {

constexpr uint64_t kNonpresent = uint64_t{1} << 63;

// What the exchange of a mirror entry writes (spte.h: FROZEN_SPTE).
bool is_frozen(uint64_t spte) {
  return spte == (kNonpresent | 0x5a0) || spte == (kNonpresent | 0x1a0);
}

bool same_values(const Change& change, uint64_t gfn, uint64_t level, uint64_t new_spte) {
  return change.gfn == gfn && change.level == level && change.new_spte == new_spte;
}

// What a thread has said so far of changes that it has not finished telling.
struct Telling {
  size_t cmpxchg = kNoLine, cmpxchg_ret = kNoLine;
  uint64_t gfn = 0, level = 0, new_spte = 0;
  std::vector<size_t> open;  // changes whose kprobe came, and whose tracepoint did not
  size_t last = kNoLine;     // change told last
};

// Lines of a thread that do not end a zap of roots (tdp_mmu.c: __tdp_mmu_zap_root).
bool is_inside_root_zap(std::string_view event) {
  return event == "iter_start" || event == "iter_restart" || event == "changed_spte" ||
         event == "kvm_tdp_mmu_spte_changed" || event == "cmpxchg_spte" ||
         event == "cmpxchg_spte_ret" || event == "removed_pt" ||
         event == "kvm_mmu_prepare_zap_page" || event == "yield_read" || event == "yield_write";
}

}  // namespace

std::vector<size_t> Change::lines() const {
  std::vector<size_t> all;
  for (size_t line : {cmpxchg, cmpxchg_ret, kprobe, tracepoint, set_spte}) {
    if (line != kNoLine) all.push_back(line);
  }
  all.insert(all.end(), hook.begin(), hook.end());
  std::sort(all.begin(), all.end());
  return all;
}

RecordingText::RecordingText(std::string text) : text_(std::move(text)) {
  const std::string_view all = text_;
  for (size_t at = 0; at < all.size();) {
    size_t end = all.find('\n', at);
    if (end == std::string_view::npos) end = all.size();
    TextLine line;
    line.text = all.substr(at, end - at);
    line.columns = import::tokenize(line.text);
    line.thread = line.columns.pid != 0 ? line.columns.pid : ~uint64_t{line.columns.cpu};
    lines_.push_back(line);
    at = end + 1;
  }
  find_changes();
  find_zaps();
  find_results();
}

void RecordingText::find_changes() {
  std::map<uint64_t, Telling> threads;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const TextLine& line = lines_[i];
    const std::string_view event = line.columns.event, text = line.text;
    Telling& t = threads[line.thread];
    if (event == "cmpxchg_spte") {
      const auto gfn = number_after(text, " gfn=", Base::kHex0x);
      const auto level = argument(text, " level=");
      const auto value = number_after(text, " new=", Base::kHex0x);
      t.cmpxchg = gfn && level && value ? i : kNoLine;
      t.cmpxchg_ret = kNoLine;
      t.gfn = gfn.value_or(0);
      t.level = static_cast<uint64_t>(level.value_or(0));
      t.new_spte = value.value_or(0);
    } else if (event == "cmpxchg_spte_ret" && t.cmpxchg != kNoLine) {
      if (argument(text, " ret=").value_or(-1) == 0) {
        t.cmpxchg_ret = i;
      } else {
        t.cmpxchg = kNoLine;  // it lost: nothing changed
      }
    } else if (event == "changed_spte" || event == "kvm_tdp_mmu_spte_changed") {
      const bool kprobe = event == "changed_spte";
      std::optional<uint64_t> gfn, level, before, after;
      if (kprobe) {
        gfn = number_after(text, " pgfn=", Base::kHex0x);
        if (!gfn) gfn = number_after(text, " gfn=", Base::kHex0x);
        level = number_after(text, " level=", Base::kDec);
        before = number_after(text, " old=", Base::kHex0x);
        after = number_after(text, " new=", Base::kHex0x);
      } else {
        gfn = number_after(text, " gfn ", Base::kHex);
        level = number_after(text, " level ", Base::kDec);
        before = number_after(text, " old_spte ", Base::kHex);
        after = number_after(text, " new_spte ", Base::kHex);
      }
      if (!gfn || !level || !before || !after) continue;
      if (!kprobe) {
        const auto open = std::find_if(t.open.rbegin(), t.open.rend(), [&](size_t c) {
          return same_values(changes_[c], *gfn, *level, *after) && changes_[c].old_spte == *before;
        });
        if (open != t.open.rend()) {
          changes_[*open].tracepoint = i;
          changes_[*open].as_id = number_after(text, " as id ", Base::kDec).value_or(0);
          t.last = *open;
          t.open.erase(std::next(open).base());
          continue;
        }
      }
      Change change;
      change.thread = line.thread;
      change.gfn = *gfn;
      change.level = *level;
      change.old_spte = *before;
      change.new_spte = *after;
      change.as_id = kprobe ? static_cast<uint64_t>(argument(text, " as_id=").value_or(0))
                            : number_after(text, " as id ", Base::kDec).value_or(0);
      (kprobe ? change.kprobe : change.tracepoint) = i;
      if (t.cmpxchg != kNoLine &&
          same_values(change, t.gfn, t.level, is_frozen(t.new_spte) ? *after : t.new_spte)) {
        change.cmpxchg = t.cmpxchg;
        change.cmpxchg_ret = t.cmpxchg_ret;
      }
      t.cmpxchg = t.cmpxchg_ret = kNoLine;
      if (kprobe) t.open.push_back(changes_.size());
      t.last = changes_.size();
      changes_.push_back(change);
    } else if (event.starts_with("mock_") && !t.open.empty()) {
      changes_[t.open.back()].hook.push_back(i);
      // It failed: no tracepoint follows.
      if (event == "mock_set_external_ret" && argument(text, " ret=").value_or(0) != 0) {
        t.open.pop_back();
      }
    } else if (event == "kvm_mmu_set_spte" && t.last != kNoLine) {
      Change& change = changes_[t.last];
      const auto gfn = number_after(text, " gfn ", Base::kHex);
      const auto level = number_after(text, " level ", Base::kDec);
      const auto value = number_after(text, " spte ", Base::kHex);
      if (change.set_spte == kNoLine && gfn && level && value &&
          same_values(change, *gfn, *level, *value)) {
        change.set_spte = i;
      }
    }
  }
}

void RecordingText::find_zaps() {
  struct Open {
    Zap zap;
    std::string_view first;
    bool open = false;
    size_t awaits_flush = kNoLine;  // zap that ended with this thread's line before
  };
  std::map<uint64_t, Open> threads;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const std::string_view event = lines_[i].columns.event;
    if (event.empty()) continue;
    Open& t = threads[lines_[i].thread];
    const auto end = [&](bool with_line) {
      if (with_line) t.zap.lines.push_back(i);
      t.awaits_flush = zaps_.size();
      zaps_.push_back(std::move(t.zap));
      t.zap = Zap{};
      t.open = false;
    };
    const bool change = event == "kvm_tdp_mmu_spte_changed";
    if (t.open) {
      // Tracepoints alone: the changes that follow at once.
      const bool hva = t.first == "kvm_unmap_hva_range", root = t.first == "zap_root";
      if ((hva && !change && event != "kvm_mmu_prepare_zap_page") ||
          (root && !is_inside_root_zap(event))) {
        end(false);
      } else {
        t.zap.changes += change ? 1 : 0;
        if (event == "tdp_unmap_gfn_range_ret" && !hva && !root) {
          end(true);
          continue;
        }
        t.zap.lines.push_back(i);
        continue;
      }
    }
    if (t.awaits_flush != kNoLine && event != "put_root") {
      if (event == "flush_all" || event == "flush_range") zaps_[t.awaits_flush].flush = i;
      t.awaits_flush = kNoLine;
    }
    // On 6.12 and 7.2 unmap_gfn_range is the outer call; without it the inner one starts.
    if (event == "unmap_gfn_range" || event == "tdp_unmap_gfn_range" || event == "zap_root" ||
        event == "kvm_unmap_hva_range") {
      t.open = true;
      t.first = event;
      t.zap.lines.push_back(i);
    }
  }
  // A recording with probes tells the operation itself; kvm_unmap_hva_range is then the notifier's.
  const bool probes = std::any_of(lines_.begin(), lines_.end(), [](const TextLine& line) {
    return line.columns.event == "tdp_unmap_gfn_range" || line.columns.event == "zap_root";
  });
  std::erase_if(zaps_, [&](const Zap& zap) {
    return probes && lines_[zap.lines.front()].columns.event == "kvm_unmap_hva_range";
  });
}

void RecordingText::find_results() {
  for (size_t i = 0; i < lines_.size(); ++i) {
    const std::string_view event = lines_[i].columns.event;
    if (event == "tdp_map_ret" || event == "faultin_ret" || event == "fault_stale_ret" ||
        event == "set_memslot_ret" || event == "cmpxchg_spte_ret" || event == "fast_page_fault" ||
        event == "kvm_mmu_split_huge_page") {
      results_.push_back(i);
    }
  }
}

std::string read_text(const std::string& path, size_t limit) {
  trace::ByteStream stream(path);
  std::string text;
  while (true) {
    const std::string_view piece = stream.peek(1);
    if (piece.empty()) return text;
    if (text.size() + piece.size() > limit) {
      throw trace::TraceError(trace::TraceErrorKind::kTooLarge, {.file = path},
                              "the text is too large to be held in memory");
    }
    text.append(piece);
    stream.consume(piece.size());
  }
}

}  // namespace mmucheck::corrupt
