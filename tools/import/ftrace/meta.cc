#include "tools/import/ftrace/meta.h"

#include <filesystem>
#include <fstream>

#include "tools/import/ftrace/text.h"

namespace mmucheck::import {
namespace {

constexpr size_t kMaxSideFile = 1u << 20;

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  while (!line.empty() && (is_space(line.back()) || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

// "Linux host 6.12.117-flavour ...": the first word that starts like a version.
std::string kernel_version(std::string_view text) {
  Cursor c(text);
  while (!c.at_end()) {
    c.skip_spaces();
    const std::string_view word = c.take_token();
    size_t n = 0;
    size_t dots = 0;
    while (n < word.size() && (is_digit(word[n]) || word[n] == '.')) dots += word[n++] == '.';
    if (n > 0 && dots > 0 && is_digit(word[0])) return std::string(word.substr(0, n));
  }
  return {};
}

std::string read_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxSideFile, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

std::optional<std::string> SideFiles::param(std::string_view name) const {
  for (const std::string_view module : {"kvm", "kvm_amd", "kvm_intel"}) {
    const auto it = params.find(std::string(module) + "/parameters/" + std::string(name));
    if (it != params.end()) return it->second;
  }
  return std::nullopt;
}

std::optional<bool> param_bool(std::string_view value) {
  for (const std::string_view yes : {"Y", "y", "1", "on", "force", "auto"}) {
    if (value == yes) return true;
  }
  for (const std::string_view no : {"N", "n", "0", "off", "never"}) {
    if (value == no) return false;
  }
  return std::nullopt;
}

void parse_meta(std::string_view text, SideFiles& files) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = line.substr(colon + 2);
    if (key == "kernel") {
      files.kernel = kernel_version(value);
      files.has_meta = true;
    } else if (key == "options") {
      Cursor c(value);
      while (!c.at_end()) {
        c.skip_spaces();
        const std::string_view word = c.take_token();
        if (word == "overwrite") files.overwrite = true;
        if (word == "nooverwrite") files.overwrite = false;
      }
    } else if (key == "cmdline") {
      Cursor c(value);
      while (!c.at_end()) {
        c.skip_spaces();
        const std::string_view word = c.take_token();
        const size_t equals = word.find('=');
        if (equals == std::string_view::npos) continue;
        files.cmdline[std::string(word.substr(0, equals))] = std::string(word.substr(equals + 1));
      }
    } else if (key.starts_with("param ")) {
      files.params[std::string(key.substr(6))] = std::string(value);
      files.has_meta = true;
    }
  }
}

void parse_ring_stats(std::string_view text, SideFiles& files) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    Cursor c(line);
    uint64_t value = 0;
    if (c.take("== cpu") && c.take_dec(value)) {
      files.drops.push_back({static_cast<uint32_t>(value), 0, 0});
    } else if (!files.drops.empty() && c.take("dropped events: ") && c.take_dec(value)) {
      files.drops.back().dropped = value;
    } else if (!files.drops.empty() && c.take("overrun: ") && c.take_dec(value)) {
      files.drops.back().overrun = value;
    }
  }
}

void parse_kprobe_events(std::string_view text, SideFiles& files) {
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = line.substr(0, line.find(' '));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || (line[0] != 'p' && line[0] != 'r')) continue;
    line = line.substr(colon + 1);
    files.probes.emplace_back(line.substr(line.find('/') + 1));
  }
}

SideFiles read_side_files(const std::string& trace_path) {
  SideFiles files;
  if (trace_path.empty() || trace_path == "-") return files;
  const std::filesystem::path folder = std::filesystem::path(trace_path).parent_path();
  parse_meta(read_file(folder / "meta.txt"), files);
  parse_ring_stats(read_file(folder / "ring-stats.txt"), files);
  parse_kprobe_events(read_file(folder / "kprobe_events"), files);
  return files;
}

}  // namespace mmucheck::import
