// tools/corrupt: numbers in one line of ftrace text, read and replaced where they stand.
//
// Contract: `key` is what stands before the number, with the space before it (" gfn=", " level ").
// A number is hexadecimal with "0x" as probes print it, or bare as tracepoints print it; the caller
// says which. A key that is not there leaves the line alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mmucheck::corrupt {

enum class Base : uint8_t { kDec, kHex, kHex0x };

std::optional<uint64_t> number_after(std::string_view line, std::string_view key, Base base);
bool replace_number(std::string& line, std::string_view key, Base base, uint64_t value);

// Any probe argument: "0x..." or a decimal number with an optional sign (two's complement).
std::optional<int64_t> argument(std::string_view line, std::string_view key);
bool replace_argument(std::string& line, std::string_view key, int64_t value);

}  // namespace mmucheck::corrupt
