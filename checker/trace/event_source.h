// Layer: checker/trace. Contract: where events come from. A source yields the packets of one trace
// one at a time, in file order, in constant memory; next() throws TraceError when the input cannot
// be read or is corrupt, and never anything else for bad input.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "checker/trace/event.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::trace {

using KindSet = std::bitset<kEventKindLimit>;  // by EventKind number

struct LostEvents {
  uint64_t count = 0;  // 0: the number is unknown
  uint32_t cpu = 0;
  LossHow how = LossHow::kUnknown;
  uint64_t source_line = 0;  // where in the stream; 0: before its start
};

struct TraceInfo {
  std::string file{};                           // as given by the user; "-" for standard input
  std::string encoding{};                       // "pb", "txtpb", or the importer's name
  std::string compression{};                    // "", "gz", "xz", "zst"
  uint32_t format_major = 0, format_minor = 0;  // of pb and txtpb; 0.0 otherwise
  std::string kernel_text{};                    // e.g. "6.12.117"; empty: unknown
  KernelVersion kernel = KernelVersion::kUnknown;
  ClockKind clock = ClockKind::kUnknown;
  LossState loss = LossState::kUnknown;
  // Kinds that the recording could contain (whether or not one occurs). Known before the first
  // next() where `capabilities_known`.
  KindSet capabilities{};
  bool capabilities_known = false;
  // Of the others, those whose probes were set all the same, on functions that are always called.
  KindSet silent{};
  std::vector<std::string> unknown_capabilities{};  // names that this version does not know
  // The following grow while events are read and are complete once next() has returned false.
  uint64_t packets = 0;                       // events returned so far
  std::map<std::string, uint64_t> skipped{};  // by event name: understood as an event, not imported
  uint64_t malformed = 0;                     // lines that are no event at all
  std::vector<LostEvents> lost{};
  // By CPU: how many events its ring lost in all, where something beside the recording says so.
  std::map<uint32_t, uint64_t> lost_in_all{};
};

enum class TraceErrorKind {
  kUnreadable,     // cannot be opened or read, or is not a file
  kCorrupt,        // contradicts the format
  kTruncated,      // ends before its end
  kHashMismatch,   // complete, but not the bytes that were written
  kTooNew,         // written by a newer major version
  kTooLarge,       // exceeds a documented limit
  kUnknownFormat,  // no reader knows it
  kInterrupted     // the stop flag was set while waiting for input
};

// One clear sentence; what() is "FILE: packet P, line L, byte B: MESSAGE" with the known parts
// only.
class TraceError : public std::runtime_error {
 public:
  struct Where {
    std::string file{};
    uint64_t packet = 0;  // 1-based; 0 unknown
    uint64_t line = 0;    // 1-based; 0 unknown
    int64_t offset = -1;  // byte offset in the uncompressed stream; -1 unknown
  };
  TraceError(TraceErrorKind kind, Where where, const std::string& message);
  TraceErrorKind kind() const { return kind_; }
  const Where& where() const { return where_; }
  const std::string& message() const { return message_; }

 private:
  TraceErrorKind kind_;
  Where where_;
  std::string message_;
};

class EventSource {
 public:
  virtual ~EventSource() = default;
  // Fills `event` and returns true, or returns false at the end (and again when called again).
  // Views in `event` are valid until the next call.
  virtual bool next(Event& event) = 0;
  virtual const TraceInfo& info() const = 0;
};

// The other direction: what convert writes to. close() commits the output (temporary file, then
// rename); destroyed without close(), nothing is left behind.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void put(const Event& event) = 0;
  virtual void close() = 0;
  // Packets of which something could not be written in this encoding.
  virtual uint64_t dropped() const { return 0; }
};

}  // namespace mmucheck::trace
