// tools/import/ftrace: the columns of a line into an event: which kind, which fields.
//
// Contract: constant tables, built once from checker/trace/event_kinds.def; parse() allocates
// nothing and is const. A kprobe body "(func+0x4/0xf0) k=v k=v" is read by field name, in any
// order; unknown names are ignored, missing ones stay absent, "(fault)" counts as absent.
// Tracepoint bodies are read by hand-written readers (tracepoints.h); "[FAILED TO PARSE] k=v" of
// trace-cmd by name. Sources of the texts: arch/x86/kvm/mmu/mmutrace.h, arch/x86/kvm/trace.h,
// include/trace/events/kvm.h, and the probe definitions shipped beside each recording.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/raw_event.h"
#include "tools/import/ftrace/tokenizer.h"

namespace mmucheck::import {

enum class ParseResult : uint8_t {
  kOk,
  kUnknown,    // an event that is not in the table
  kMalformed,  // a known event whose text is not as it must be
};

// What to do with a probe's argument of a given name.
enum class ArgAction : uint8_t {
  kField,     // store as it is
  kVaPfn,     // kernel virtual address of a page; stored as its page frame number
  kVa,        // kernel virtual address; stored as physical address; 0 stays absent
  kEntryGfn,  // changed_spte of 7.2: `pgfn` is the entry's gfn, `gfn` that of the table
  kTableOrEntryGfn,
  kKvm,
  kVcpu,
  kMn,
  kGmem,
  kInode,
};

struct ProbeArg {
  std::string_view name;
  ArgAction action;
  uint8_t field;
};

class Parser {
 public:
  Parser();

  // kNone for an unknown event.
  trace::EventKind kind_of(std::string_view event_name) const;

  // Reads line.body as an event of `kind` (from kind_of) into `raw`; envelope fields except seq,
  // vm and source position are set from the line.
  ParseResult parse(const Line& line, trace::EventKind kind, RawEvent& raw) const;

  // kind_of and parse in one.
  ParseResult parse(const Line& line, RawEvent& raw) const;

 private:
  struct Slot {
    std::string_view name;
    trace::EventKind kind = trace::EventKind::kNone;
  };
  using Args = std::vector<ProbeArg>;

  ParseResult parse_probe(std::string_view body, const Args& args, RawEvent& raw) const;
  static bool apply(const ProbeArg& arg, uint64_t value, RawEvent& raw);

  std::vector<Slot> slots_;  // open addressing, power of two
  std::array<Args, trace::kEventKindLimit> args_;
};

// The one parser of the process: its tables do not change.
const Parser& parser();

}  // namespace mmucheck::import
