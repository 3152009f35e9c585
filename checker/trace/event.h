// Layer: checker/trace. Contract: the one in-memory form of a trace packet, free of protobuf.
// A reader or importer fills an Event; the replayer reads it. Flat and cheap: no allocation an
// event. Field meaning: event_kinds.def (which f[i] is what) and proto/mmucheck/v1 (units, ranges).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mmucheck::trace {

// Stimulus: what user space, a CPU or the host did. Input: what the model cannot compute and may be
// told. Observation: what the kernel was seen to do; the model must arrive at it by itself.
enum class PacketClass : uint8_t { kConfig, kStimulus, kInput, kObservation };

enum class EventKind : uint16_t {
  kNone = 0,
#define F(name, type)
#define T(name)
#define EVENT(number, cpp, name, cls, kernel, fields) cpp = number,
#include "checker/trace/event_kinds.def"
};

inline constexpr size_t kEventKindLimit = 512;  // every stable number is below
inline constexpr size_t kMaxFields = 20;        // a multiple of 4, see reset_body()

// Event::context: the latency column of ftrace.
inline constexpr uint32_t kContextSoftirq = 1;
inline constexpr uint32_t kContextHardirq = 2;
inline constexpr uint32_t kContextNeedResched = 4;

struct Event {
  EventKind kind = EventKind::kNone;
  PacketClass cls = PacketClass::kConfig;
  uint64_t seq = 0;     // 1-based number of the packet in this stream
  uint64_t ts_ns = 0;   // nanoseconds; of a bare counter clock the integer itself
  uint32_t cpu = 0;     // CPU number
  uint32_t thread = 0;  // thread id; 0: an idle task, or none
  uint32_t vm = 0;  // 0 unknown; 1.. in order of first appearance; a reused struct kvm: a new id
  uint32_t context = 0;      // kContext* bits
  uint64_t source_line = 0;  // line (text) or packet (binary) of the original recording; 0 unknown
  // Place in the stream being read (not stored): its line, 0 in binary; uncompressed byte offset.
  uint64_t stream_line = 0;
  uint64_t source_offset = 0;
  uint32_t present = 0;                  // bit i: f[i] is set
  std::array<uint64_t, kMaxFields> f{};  // by index; signed values as two's complement, bool 0 or 1
  std::string_view text;     // the kind's string field; valid until the next call of next()
  std::string_view unknown;  // body fields of a newer minor version, wire bytes; same validity
  std::string_view unknown_outer;  // packet fields of a newer minor version, wire bytes

  bool has(size_t i) const { return (present >> i & 1) != 0; }
  uint64_t get(size_t i) const { return f[i]; }  // 0 when absent
  int64_t get_signed(size_t i) const { return static_cast<int64_t>(f[i]); }
  uint64_t get_or(size_t i, uint64_t otherwise) const { return has(i) ? f[i] : otherwise; }
  void set(size_t i, uint64_t value) {
    f[i] = value;
    present |= uint32_t{1} << i;
  }
  // Becomes an event of kind `k` without fields; what surrounds the body (cpu, thread, ...) stays.
  void reset_body(EventKind k, PacketClass c) {
    kind = k;
    cls = c;
    present = 0;
    // In pieces: for the whole array GCC takes `rep stos`, which costs as much as decoding it.
    for (size_t i = 0; i < kMaxFields; i += 4) std::memset(&f[i], 0, 4 * sizeof(f[0]));
    text = {};
    unknown = {};
    unknown_outer = {};
  }
};

}  // namespace mmucheck::trace
