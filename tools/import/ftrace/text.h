// tools/import/ftrace: the number and word helpers that every reader of ftrace text shares.
//
// Contract: no allocation, no locale, no exception. A Cursor walks over one line that the caller
// keeps alive. Every take_* answers false, and leaves the cursor where it was, when what it looks
// for is not there or does not fit into 64 bits. Signed numbers come back as two's complement.
#pragma once

#include <cstdint>
#include <string_view>

namespace mmucheck::import {

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_space(char c) {
  return c == ' ' || c == '\t';
}

inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A name as the kernel allows for events and probe arguments.
inline bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Cursor {
 public:
  explicit Cursor(std::string_view s) : p_(s.data()), end_(s.data() + s.size()) {}

  bool at_end() const { return p_ == end_; }
  char peek() const { return p_ < end_ ? *p_ : '\0'; }
  const char* position() const { return p_; }
  std::string_view rest() const { return {p_, static_cast<size_t>(end_ - p_)}; }
  void advance() { ++p_; }
  void reset(const char* p) { p_ = p; }

  void skip_spaces() {
    while (p_ < end_ && is_space(*p_)) ++p_;
  }

  bool take(char c) {
    if (peek() != c || p_ == end_) return false;
    ++p_;
    return true;
  }

  bool take(std::string_view word) {
    if (static_cast<size_t>(end_ - p_) < word.size()) return false;
    if (std::string_view(p_, word.size()) != word) return false;
    p_ += word.size();
    return true;
  }

  // Takes `word` after any spaces; on failure nothing moves.
  bool take_word(std::string_view word) {
    const char* start = p_;
    skip_spaces();
    if (take(word)) return true;
    p_ = start;
    return false;
  }

  std::string_view take_name() {
    const char* start = p_;
    while (p_ < end_ && is_name_char(*p_)) ++p_;
    return {start, static_cast<size_t>(p_ - start)};
  }

  // Up to the next space or the end.
  std::string_view take_token() {
    const char* start = p_;
    while (p_ < end_ && !is_space(*p_)) ++p_;
    return {start, static_cast<size_t>(p_ - start)};
  }

  bool take_dec(uint64_t& value) {
    const char* p = p_;
    uint64_t v = 0;
    while (p < end_ && is_digit(*p)) {
      const uint64_t d = static_cast<uint64_t>(*p - '0');
      if (v > (UINT64_MAX - d) / 10) return false;
      v = v * 10 + d;
      ++p;
    }
    if (p == p_) return false;
    p_ = p;
    value = v;
    return true;
  }

  // Hexadecimal digits, with or without "0x".
  bool take_hex(uint64_t& value) {
    const char* p = p_;
    if (end_ - p >= 3 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X') && hex_digit(p[2]) >= 0) {
      p += 2;
    }
    const char* digits = p;
    uint64_t v = 0;
    for (int d; p < end_ && (d = hex_digit(*p)) >= 0; ++p) {
      if (v >> 60) return false;
      v = v << 4 | static_cast<uint64_t>(d);
    }
    if (p == digits) return false;
    p_ = p;
    value = v;
    return true;
  }

  // As probes print arguments: 0x... for x types, decimal with an optional sign for u and s types.
  bool take_number(uint64_t& value) {
    if (end_ - p_ >= 2 && p_[0] == '0' && (p_[1] == 'x' || p_[1] == 'X')) return take_hex(value);
    const char* start = p_;
    const bool negative = take('-');
    if (!take_dec(value)) {
      p_ = start;
      return false;
    }
    if (negative) value = ~value + 1;
    return true;
  }

 private:
  const char* p_;
  const char* end_;
};

}  // namespace mmucheck::import
