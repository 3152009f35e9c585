#include "tools/fuzz/mutator.h"

#include <algorithm>
#include <iterator>

namespace mmucheck::fuzz {

namespace {

constexpr std::string_view kWords[] = {
    "0", "-1", "1", "0x0", "0xffffffffffffffff", "18446744073709551615", "18446744073709551616",
    "-9223372036854775808", "9223372036854775807", "4294967296", "2147483648", "65536", "255",
    "=", " ", "\n", "\n\n", "{", "}", "[", "]", "\"", ",", ":", "null", "true", "1e999", "\\u0000",
    std::string_view("\0", 1), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x80",
    "\xff\xff\xff\xff\x0f", "CPU:0 [LOST 188 EVENTS]\n", "packet {", "[FAILED TO PARSE]"};

constexpr size_t kHeadLines = 40;   // kept in front of a piece: it says what the rest means
constexpr size_t kPieceLines = 400;

size_t end_of_lines(std::string_view text, size_t at, size_t lines) {
  while (lines-- > 0 && at < text.size()) {
    const size_t end = text.find('\n', at);
    at = end == std::string_view::npos ? text.size() : end + 1;
  }
  return at;
}

}  // namespace

Mutator::Mutator(uint64_t seed, std::vector<std::string> seeds)
    : random_(seed), seeds_(std::move(seeds)) {
  std::erase_if(seeds_, [](const std::string& s) { return s.empty(); });
  if (seeds_.empty()) seeds_.emplace_back("\n");
}

std::string Mutator::next(bool lines) {
  const std::string& seed = seeds_[below(seeds_.size())];
  std::string bytes;
  if (lines) {
    const size_t head = end_of_lines(seed, 0, 1 + below(kHeadLines));
    size_t start = below(4) == 0 ? head : head + below(seed.size() - head + 1);
    if (start > head) start = end_of_lines(seed, start, 1);
    const size_t end = end_of_lines(seed, start, 1 + below(kPieceLines));
    bytes = seed.substr(0, head) + seed.substr(start, end - start);
  } else {
    const size_t size = below(4) == 0 ? seed.size() : 1 + below(seed.size());
    bytes = seed.substr(0, std::min(size, kMaxBytes));
  }
  for (uint64_t n = below(9); n > 0 && !bytes.empty(); --n) damage(bytes);
  if (bytes.size() > kMaxBytes) bytes.resize(kMaxBytes);
  return bytes;
}

void Mutator::damage(std::string& bytes) {
  const size_t at = below(bytes.size());
  const size_t length = std::min<size_t>(1 + below(below(8) == 0 ? 4096 : 16), bytes.size() - at);
  switch (below(8)) {
    case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
    case 1: bytes[at] = static_cast<char>(below(256)); break;
    case 2: bytes.erase(at, length); break;
    case 3: bytes.insert(at, bytes.substr(at, length)); break;
    case 4: bytes.insert(at, kWords[below(std::size(kWords))]); break;
    case 5: bytes.replace(at, length, kWords[below(std::size(kWords))]); break;
    case 6: bytes.resize(at + 1); break;
    default: {
      const std::string& other = seeds_[below(seeds_.size())];
      const size_t from = below(other.size());
      bytes.insert(at, other.substr(from, 1 + below(512)));
      break;
    }
  }
}

}  // namespace mmucheck::fuzz
