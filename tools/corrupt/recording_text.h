// tools/corrupt: what in the text of a recording belongs together.
//
// Contract: the whole text in memory, its lines tokenized, and found in them: every SPTE change
// with all the lines that tell it (cmpxchg_spte, cmpxchg_spte_ret, changed_spte,
// kvm_tdp_mmu_spte_changed, kvm_mmu_set_spte, and of a mirror entry its hook with all SEAMCALLs),
// every zap operation, every result code. Lines are
// 0-based indices here, 1-based in what users see. Lines that say nothing of the kind are ignored;
// no text is an error. Which line belongs to which change follows the order in which 6.12 and 7.2
// print them (tdp_mmu.c: handle_changed_spte, tdp_mmu_set_spte_atomic,
// tdp_mmu_map_handle_target_level).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/import/ftrace/tokenizer.h"

namespace mmucheck::corrupt {

inline constexpr size_t kNoLine = SIZE_MAX;

struct TextLine {
  std::string_view text;  // without the line end
  import::Line columns;
  uint64_t thread = 0;  // pid; of an idle task one for each CPU
};

struct Change {
  size_t cmpxchg = kNoLine, cmpxchg_ret = kNoLine;
  size_t kprobe = kNoLine;      // changed_spte
  size_t tracepoint = kNoLine;  // kvm_tdp_mmu_spte_changed
  size_t set_spte = kNoLine;    // kvm_mmu_set_spte
  std::vector<size_t> hook;     // mock_*, of a mirror entry
  uint64_t thread = 0;
  uint64_t as_id = 0, gfn = 0, level = 0, old_spte = 0, new_spte = 0;

  // The lines that there are, in the order of the file.
  std::vector<size_t> lines() const;
  size_t first_line() const { return lines().front(); }
};

// An operation that removes translations, from its first line to its last; `lines` are those of its
// thread, and `flush` the flush that follows on that thread.
struct Zap {
  std::vector<size_t> lines;
  size_t flush = kNoLine;
  size_t changes = 0;
};

class RecordingText {
 public:
  explicit RecordingText(std::string text);
  RecordingText(const RecordingText&) = delete;
  RecordingText& operator=(const RecordingText&) = delete;

  const std::vector<TextLine>& lines() const { return lines_; }
  const std::vector<Change>& changes() const { return changes_; }  // by first line
  const std::vector<Zap>& zaps() const { return zaps_; }
  const std::vector<size_t>& results() const { return results_; }  // lines with a result code

 private:
  void find_changes();
  void find_zaps();
  void find_results();

  std::string text_;
  std::vector<TextLine> lines_;
  std::vector<Change> changes_;
  std::vector<Zap> zaps_;
  std::vector<size_t> results_;
};

// The whole of a file, decompressed. Throws trace::TraceError; at most `limit` bytes.
std::string read_text(const std::string& path, size_t limit = size_t{1} << 30);

}  // namespace mmucheck::corrupt
