// Layer: checker/trace. Contract: one packet in protobuf text format and back. The only other place
// beside envelope.cc that sees generated classes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::trace {

struct TextError {
  uint64_t line = 0;  // 1-based within the text
  std::string message;
};

// Wire bytes of a Packet to one line "packet { ... }\n"; fields shown in hexadecimal as the table
// says. Fields that this version does not know have no names and are left out; `dropped` says so.
class TextPrinter {
 public:
  TextPrinter();
  ~TextPrinter();
  std::string print(std::string_view packet, bool& dropped);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Parses a TraceFile text of any number of packets; appends the wire bytes of each to `packets`.
// False: `error` is the first one.
bool parse_text(std::string_view text, std::vector<std::string>& packets, TextError& error);

}  // namespace mmucheck::trace
