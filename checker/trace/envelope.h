// Layer: checker/trace. Contract: the first and the last packet of a file, and what they say about
// the trace. Version rule: a newer major version is refused, a newer minor one is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {

inline constexpr std::string_view kMagic("\x89MMUT\r\n\x1a", 8);
inline constexpr uint64_t kFormatMajor = 1;
inline constexpr uint64_t kFormatMinor = 0;

struct Footer {
  uint64_t packets = 0;
  uint64_t xxh3 = 0;
};

// Bytes of the Packet that holds the header, or footer.
std::string encode_header(const TraceInfo& info);
std::string encode_footer(const Footer& footer);

// Reads a Header message into `info`; throws TraceError (kTooNew, kCorrupt) with `where`.
void decode_header(std::string_view header, const TraceError::Where& where, TraceInfo& info);
// False: malformed.
bool decode_footer(std::string_view bytes, Footer& footer);

// Keeps the books of TraceInfo for one event read: packets, lost events, skipped unknown kinds.
// At most kMaxLostRecords losses are kept one by one; later ones are added to the last.
void account(const Event& event, TraceInfo& info);
inline constexpr size_t kMaxLostRecords = 4096;

}  // namespace mmucheck::trace
