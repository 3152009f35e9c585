// checker/replay: numbers out of the JSON of a scripted sequence, and the shape of its records.
//
// Everything here throws BadSequence for input that is no sequence; what passes check_record() can
// be read without further checks: events have the fields that their kind needs, nesting is at most
// kMaxNesting, numbers are in range. Tables, slots and pages may still be ones that do not exist.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

namespace mmucheck::replay {

using nlohmann::json;

struct BadSequence : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Limits of what a sequence may ask for, far above what any real one does.
inline constexpr size_t kMaxNesting = 64;                       // brackets within brackets
inline constexpr uint64_t kMaxSequenceSlots = 256;
inline constexpr uint64_t kMaxSequencePages = uint64_t{1} << 28;  // 4 KiB frames in all slots
inline constexpr uint64_t kMaxSequenceTables = 1u << 14;        // live page-table pages
inline constexpr uint64_t kMaxSequenceOps = 1'000'000;
inline constexpr uint64_t kMaxGfn = (uint64_t{1} << 52) - 1;

// An unsigned number of at most `max`; `what` names it in the error.
uint64_t unsigned_of(const json& j, std::string_view what, uint64_t max = ~uint64_t{0});
// Member `key` of an object, likewise.
uint64_t unsigned_at(const json& object, const char* key, uint64_t max = ~uint64_t{0});

// A string of 1 to 16 hexadecimal digits.
uint64_t unhex(const json& j);
// The same with an optional sign, modulo 2^64.
uint64_t unhex_signed(const json& j);
uint64_t unhex_at(const json& object, const char* key, uint64_t max = ~uint64_t{0});

// Parses one line.
json parse_sequence_line(std::string_view text);

// `ad_bits`: what a "hw" event may change in an entry.
void check_record(const json& record, uint64_t ad_bits);

}  // namespace mmucheck::replay
