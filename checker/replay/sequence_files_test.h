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

inline std::vector<std::string> lines_of(const std::string& file) {
  trace::ByteStream in(file);
  std::vector<std::string> lines;
  for (trace::Line line; in.next_line(line);) lines.emplace_back(line.text);
  return lines;
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& l : lines) text += l + '\n';
  return text;
}

}  // namespace mmucheck::replay
