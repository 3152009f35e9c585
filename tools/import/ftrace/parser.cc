#include "tools/import/ftrace/parser.h"

#include "tools/import/ftrace/text.h"
#include "tools/import/ftrace/tracepoints.h"

namespace mmucheck::import {
namespace {

using trace::EventKind;
using trace::KindInfo;

constexpr size_t kSlots = 1024;

uint64_t name_hash(std::string_view s) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h ^ h >> 29;
}

// Tracepoints keep a text of their own; all other recorded kinds are probes. (map_private_pfn is
// a probe that bears a tracepoint's name.)
bool is_probe(const KindInfo& info) {
  return static_cast<uint32_t>(info.kind) >= static_cast<uint32_t>(EventKind::kTdpMap) &&
         !info.kernel_name.empty();
}

struct Alias {
  std::string_view text;
  std::string_view field;
  ArgAction action;
};

// Names in probe text that differ from the field they fill. `sptep`, `spt`, `pt` and
// `external_spt` are kernel virtual addresses in every probe.
constexpr Alias kAliases[] = {
    {"spt", "spt_pfn", ArgAction::kVaPfn},
    {"pt", "spt_pfn", ArgAction::kVaPfn},
    {"external_spt", "external_spt_pfn", ArgAction::kVaPfn},
    {"sptep", "sptep", ArgAction::kVa},
    {"old", "old_spte", ArgAction::kField},
    {"new", "new_spte", ArgAction::kField},
    {"old", "old_state", ArgAction::kField},
    {"new", "new_state", ArgAction::kField},
    {"nr", "npages", ArgAction::kField},
    {"r", "ret", ArgAction::kField},
    {"gmem", "gmem", ArgAction::kGmem},
    {"inode", "inode", ArgAction::kInode},
};

std::vector<ProbeArg> args_of(const KindInfo& info) {
  std::vector<ProbeArg> args;
  args.push_back({"kvm", ArgAction::kKvm, 0});
  args.push_back({"vcpu", ArgAction::kVcpu, 0});
  args.push_back({"mn", ArgAction::kMn, 0});
  // struct kvm_memory_slot: the pointer `slot` is dropped, the number is `id`.
  const bool slot_struct = info.field("base_gfn").has_value();
  for (size_t i = 0; i < info.fields.size(); ++i) {
    const std::string_view field = info.fields[i].name;
    const uint8_t index = static_cast<uint8_t>(i);
    bool own_name = true;  // a plain alias stands beside the field's own name
    for (const Alias& a : kAliases) {
      if (a.field != field) continue;
      args.push_back({a.text, a.action, index});
      if (a.action != ArgAction::kField) own_name = false;
    }
    if (!own_name) continue;
    if (slot_struct && field == "slot") {
      args.push_back({"id", ArgAction::kField, index});
    } else if (info.kind == EventKind::kChangedSpte && field == "gfn") {
      args.push_back({"pgfn", ArgAction::kEntryGfn, index});
      args.push_back({"gfn", ArgAction::kTableOrEntryGfn, index});
    } else {
      args.push_back({field, ArgAction::kField, index});
    }
  }
  return args;
}

}  // namespace

Parser::Parser() : slots_(kSlots) {
  for (const KindInfo& info : trace::all_kinds()) {
    if (info.kernel_name.empty()) continue;
    size_t i = name_hash(info.kernel_name) & (kSlots - 1);
    while (!slots_[i].name.empty()) i = (i + 1) & (kSlots - 1);
    slots_[i] = {info.kernel_name, info.kind};
    if (is_probe(info)) args_[static_cast<size_t>(info.kind)] = args_of(info);
  }
}

EventKind Parser::kind_of(std::string_view event_name) const {
  if (event_name.empty()) return EventKind::kNone;
  size_t i = name_hash(event_name) & (kSlots - 1);
  while (!slots_[i].name.empty()) {
    if (slots_[i].name == event_name) return slots_[i].kind;
    i = (i + 1) & (kSlots - 1);
  }
  return EventKind::kNone;
}

bool Parser::apply(const ProbeArg& arg, uint64_t value, RawEvent& raw) {
  trace::Event& e = raw.event;
  namespace cs = trace::f::changed_spte;
  switch (arg.action) {
    case ArgAction::kField: e.set(arg.field, value); break;
    case ArgAction::kVaPfn:
      e.set(arg.field, value);
      raw.va_pfn |= 1u << arg.field;
      break;
    case ArgAction::kVa:
      if (value == 0) break;
      e.set(arg.field, value);
      raw.va |= 1u << arg.field;
      break;
    case ArgAction::kEntryGfn:
      if (e.has(cs::gfn)) e.set(cs::table_gfn, e.get(cs::gfn));
      e.set(cs::gfn, value);
      break;
    case ArgAction::kTableOrEntryGfn:
      e.set(e.has(cs::gfn) ? size_t{cs::table_gfn} : size_t{cs::gfn}, value);
      break;
    case ArgAction::kKvm: raw.kvm = value; break;
    case ArgAction::kVcpu: raw.vcpu = value; break;
    case ArgAction::kMn: raw.mn = value; break;
    case ArgAction::kGmem: raw.gmem = value; break;
    case ArgAction::kInode: raw.inode = value; break;
  }
  return true;
}

ParseResult Parser::parse_probe(std::string_view body, const Args& args, RawEvent& raw) const {
  Cursor c(body);
  if (!c.take('(')) return ParseResult::kMalformed;
  const size_t close = body.find(')');
  if (close == std::string_view::npos) return ParseResult::kMalformed;
  c.reset(body.data() + close + 1);
  size_t expected = 0;  // arguments come in the order of the probe: the next one is the likely one
  while (true) {
    c.skip_spaces();
    if (c.at_end()) return ParseResult::kOk;
    const std::string_view name = c.take_name();
    if (name.empty() || !c.take('=')) return ParseResult::kMalformed;
    const ProbeArg* arg = nullptr;
    for (size_t n = 0, i = expected; n < args.size(); ++n, i = i + 1 < args.size() ? i + 1 : 0) {
      if (args[i].name != name) continue;
      arg = &args[i];
      expected = i + 1 < args.size() ? i + 1 : 0;
      break;
    }
    uint64_t value = 0;
    if (c.take_number(value)) {
      if (!c.at_end() && !is_space(c.peek())) return ParseResult::kMalformed;
      if (arg != nullptr) apply(*arg, value, raw);
    } else {
      const std::string_view token = c.take_token();  // "(fault)", a string, a symbol
      if (arg != nullptr && token != "(fault)") return ParseResult::kMalformed;
    }
  }
}

ParseResult Parser::parse(const Line& line, EventKind kind, RawEvent& raw) const {
  raw.clear();
  trace::Event& e = raw.event;
  trace::start_event(e, kind);
  e.ts_ns = line.timestamp;
  e.cpu = line.cpu;
  e.thread = line.pid;
  e.context = line.flags;
  const Args& args = args_[static_cast<size_t>(kind)];
  if (!args.empty()) return parse_probe(line.body, args, raw);
  return parse_tracepoint(line.body, raw) ? ParseResult::kOk : ParseResult::kMalformed;
}

ParseResult Parser::parse(const Line& line, RawEvent& raw) const {
  const EventKind kind = kind_of(line.event);
  if (kind == EventKind::kNone) return ParseResult::kUnknown;
  return parse(line, kind, raw);
}

const Parser& parser() {
  static const Parser instance;
  return instance;
}

}  // namespace mmucheck::import
