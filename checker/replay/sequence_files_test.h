// checker/replay, tests only: the shipped sequences, line by line.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "checker/trace/byte_stream.h"

namespace mmucheck::replay {

// Sorted. Nothing where the folder is not there, which a test must notice.
inline std::vector<std::string> sequences_in(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("seq-")) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Whole: ByteStream's own lines are shorter than those of a sequence may be.
inline std::vector<std::string> lines_of(const std::string& file) {
  trace::ByteStream in(file);
  std::string all;
  while (!in.peek(1).empty()) {
    const size_t n = in.window().size();
    all += in.window();
    in.consume(n);
  }
  std::vector<std::string> lines;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\n', at), all.size());
    lines.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& l : lines) text += l + '\n';
  return text;
}

}  // namespace mmucheck::replay
