#include "tools/corrupt/line_edit.h"

#include <fmt/format.h>

#include <charconv>

namespace mmucheck::corrupt {

namespace {

struct Span {
  size_t at = 0, size = 0;
};

std::optional<Span> token_after(std::string_view line, std::string_view key) {
  const size_t found = line.find(key);
  if (found == std::string_view::npos) return std::nullopt;
  const size_t at = found + key.size();
  size_t end = at;
  while (end < line.size() && line[end] != ' ') ++end;
  if (end == at) return std::nullopt;
  return Span{at, end - at};
}

template <class T>
std::optional<T> parse(std::string_view digits, int base) {
  T value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                            base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<uint64_t> number_after(std::string_view line, std::string_view key, Base base) {
  const auto span = token_after(line, key);
  if (!span) return std::nullopt;
  std::string_view digits = line.substr(span->at, span->size);
  if (base == Base::kHex0x) {
    if (digits.substr(0, 2) != "0x") return std::nullopt;
    digits.remove_prefix(2);
  }
  return parse<uint64_t>(digits, base == Base::kDec ? 10 : 16);
}

bool replace_number(std::string& line, std::string_view key, Base base, uint64_t value) {
  const auto span = token_after(line, key);
  if (!span) return false;
  std::string text;
  switch (base) {
    case Base::kDec: text = fmt::format("{}", value); break;
    case Base::kHex: text = fmt::format("{:x}", value); break;
    case Base::kHex0x: text = fmt::format("0x{:x}", value); break;
  }
  line.replace(span->at, span->size, text);
  return true;
}

std::optional<int64_t> argument(std::string_view line, std::string_view key) {
  if (const auto hex = number_after(line, key, Base::kHex0x)) return static_cast<int64_t>(*hex);
  const auto span = token_after(line, key);
  if (!span) return std::nullopt;
  return parse<int64_t>(line.substr(span->at, span->size), 10);
}

bool replace_argument(std::string& line, std::string_view key, int64_t value) {
  const auto span = token_after(line, key);
  if (!span) return false;
  const bool hex = std::string_view(line).substr(span->at, 2) == "0x";
  line.replace(span->at, span->size,
               hex ? fmt::format("0x{:x}", static_cast<uint64_t>(value))
                   : fmt::format("{}", value));
  return true;
}

}  // namespace mmucheck::corrupt
