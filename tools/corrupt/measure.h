// tools/corrupt: how much of what is corrupted does the replay notice, and where does it say it is?
//
// Contract: a recording is replayed in process as it stands, and, when it holds, once for each
// corruption. Noticed is a verdict `violated` or `diverged`. Where the first finding stands is
// compared with the corrupted lines; see Nearness. What holds is legal when the replay says which
// operations explain it, none is missing, and they account for every change and stimulus of the
// corrupted text (execution_check.h): then it is what a kernel may do. Same recordings and seeds:
// same counts.
#pragma once

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checker/report/verdict.h"
#include "tools/corrupt/corruption.h"

namespace mmucheck::corrupt {

enum class Nearness : uint8_t {
  kAt,             // a corrupted line, or a doubled one
  kNextOnThread,   // the next event of the same thread
  kSameOperation,  // another event of the same operation of the thread
  kNextOnEntry,    // the next event about the same entry: its change, a fast page fault on it, the
                   // removal of its table
  kNextOnRoot,     // the next change of any entry
  kLater,          // none of these, after the corruption
  kEarlier,        // before it
};
inline constexpr size_t kNearnesses = 7;
const char* name_of(Nearness nearness);
inline bool is_near(Nearness n) { return n < Nearness::kLater; }

Nearness nearness_of(const RecordingText& recording, const Corruption& corruption,
                     const CorruptedText& corrupted, uint64_t reported_line);

// The line (1-based) of the first violation or divergence; 0: none.
uint64_t first_finding(const report::Verdict& verdict);

struct Row {
  uint64_t made = 0, legal = 0, noticed = 0, near = 0, inconclusive = 0, refused = 0;
  std::array<uint64_t, kNearnesses> where{};
  void operator+=(const Row& other);
};

struct Unnoticed {
  std::string recording;
  std::string outcome;
  nlohmann::ordered_json corruption;
};

struct Measurement {
  std::map<Class, Row> rows;
  std::map<std::string, std::string> unusable;  // recording: what it gave without any corruption
  std::vector<Unnoticed> unnoticed;
  std::vector<nlohmann::ordered_json> far;  // noticed, but not near
  uint64_t recordings = 0;
};

// `text` is a recording that the path names (side files are looked for there).
report::Verdict replay_text(std::string text, const std::string& path);

// `per_class`: count corruptions of each class; otherwise count in all, class uniform.
void measure(const std::string& path, uint64_t seed, size_t count, bool per_class,
             Measurement& into);

std::string to_text(const Measurement& measurement);
nlohmann::ordered_json to_json(const Measurement& measurement);

}  // namespace mmucheck::corrupt
