#include "tools/tidy/source_tree.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace mmucheck::tidy {
namespace {

bool is_skipped_directory(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.starts_with('.') && path != ".ci") return true;
  return path == "build" || path == "traces/recorded" || path == "traces/sequences";
}

// Text by its first bytes: nothing that we write contains a NUL.
bool is_text(const std::string& content) {
  return content.find('\0', 0) == std::string::npos;
}

std::vector<std::string> split_lines(const std::string& content) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < content.size()) {
    size_t end = content.find('\n', begin);
    if (end == std::string::npos) end = content.size();
    lines.push_back(content.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

SourceTree read_tree(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  SourceTree tree;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string path = it->path().lexically_relative(root).generic_string();
    if (it->is_directory()) {
      if (is_skipped_directory(path)) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file()) continue;
    std::ifstream in(it->path(), std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (in.bad()) throw std::runtime_error("cannot read " + path);
    if (is_text(content)) tree.push_back({path, split_lines(content)});
  }
  std::sort(tree.begin(), tree.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return tree;
}

}  // namespace mmucheck::tidy
