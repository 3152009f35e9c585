#include "tools/mmucheck/event_text.h"

#include <fmt/format.h>

#include <iterator>

#include "checker/trace/event_kinds.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {
namespace {

using trace::Event;
using trace::FieldType;

char class_letter(trace::PacketClass cls) {
  switch (cls) {
    case trace::PacketClass::kConfig: return 'C';
    case trace::PacketClass::kStimulus: return 'S';
    case trace::PacketClass::kInput: return 'I';
    case trace::PacketClass::kObservation: return 'O';
  }
  return '?';
}

std::string time_text(uint64_t ts_ns, bool counter_clock) {
  if (counter_clock) return fmt::format("{}", ts_ns);
  return fmt::format("{}.{:06}", ts_ns / 1000000000, ts_ns / 1000 % 1000000);
}

// Text of a trace is not ours: no control character of it reaches the terminal.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string event_line(const Event& event, bool counter_clock) {
  std::string line;
  auto out = std::back_inserter(line);
  const std::string place = event.source_line == 0 ? "" : fmt::format(":{}", event.source_line);
  fmt::format_to(out, "{:>7} {:<8} {:>14} cpu{} tid{} vm{} {} {}", event.seq, place,
                 time_text(event.ts_ns, counter_clock), event.cpu, event.thread, event.vm,
                 class_letter(event.cls), trace::kind_name(event.kind));
  if (event.kind == trace::EventKind::kNone) return line + " (of a newer version)";
  const trace::KindInfo& info = trace::kind_info(event.kind);
  for (size_t i = 0; i < info.fields.size(); ++i) {
    if (!event.has(i)) continue;
    const auto& [name, type] = info.fields[i];
    if (type == FieldType::kHex) {
      fmt::format_to(out, " {}={:x}", name, event.get(i));
    } else if (type == FieldType::kSigned) {
      fmt::format_to(out, " {}={}", name, event.get_signed(i));
    } else {
      fmt::format_to(out, " {}={}", name, event.get(i));
    }
  }
  if (!event.text.empty()) {
    fmt::format_to(out, " {}=\"{}\"", info.text_field, printable(event.text));
  }
  return line;
}

nlohmann::ordered_json event_json(const Event& event) {
  nlohmann::ordered_json json = {
      {"schema", kJsonSchema},         {"packet", event.seq}, {"line", event.source_line},
      {"ts_ns", event.ts_ns},          {"cpu", event.cpu},    {"thread", event.thread},
      {"vm", event.vm},                {"class", trace::class_name(event.cls)},
      {"kind", trace::kind_name(event.kind)}};
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
  if (event.kind != trace::EventKind::kNone) {
    const trace::KindInfo& info = trace::kind_info(event.kind);
    for (size_t i = 0; i < info.fields.size(); ++i) {
      if (!event.has(i)) continue;
      const std::string name(info.fields[i].name);
      switch (info.fields[i].type) {
        case FieldType::kSigned: fields[name] = event.get_signed(i); break;
        case FieldType::kBool: fields[name] = event.get(i) != 0; break;
        default: fields[name] = event.get(i);
      }
    }
    if (!info.text_field.empty() && !event.text.empty()) {
      fields[std::string(info.text_field)] = std::string(event.text);
    }
  }
  json["fields"] = std::move(fields);
  return json;
}

}  // namespace mmucheck::cli
