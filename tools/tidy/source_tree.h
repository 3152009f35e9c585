// Layer: tools/tidy. Contract: the project's text files, as {path relative to the root, lines}. Data
// (recordings, sequences), build directories and dot-directories other than .ci are left out; paths
// are sorted, so reports come in the same order on every machine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mmucheck::tidy {

struct SourceFile {
  std::string path;  // "model/spte/spte.h", always with '/'
  std::vector<std::string> lines;
};

using SourceTree = std::vector<SourceFile>;

// Reads everything under `root`. Throws std::runtime_error when a file cannot be read.
SourceTree read_tree(const std::filesystem::path& root);

// One breach of one rule; line 0 speaks of the whole file.
struct Finding {
  std::string path;
  size_t line = 0;
  std::string message;
};

}  // namespace mmucheck::tidy
