#include "checker/trace/envelope.h"

#include <fmt/format.h>

#include <limits>

#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {

std::string encode_header(const TraceInfo& info) {
  v1::Packet packet;
  v1::Header& header = *packet.mutable_header();
  header.set_format_major(kFormatMajor);
  header.set_format_minor(kFormatMinor);
  header.set_kernel(static_cast<v1::KernelVersion>(info.kernel));
  header.set_kernel_text(info.kernel_text);
  header.set_clock(static_cast<v1::ClockKind>(info.clock));
  header.set_loss(static_cast<v1::LossState>(info.loss));
  header.set_capabilities_known(info.capabilities_known);
  for (const KindInfo& kind : all_kinds()) {
    if (info.capabilities.test(static_cast<size_t>(kind.kind))) {
      header.add_capability(std::string(kind.name));
    }
  }
  for (const std::string& name : info.unknown_capabilities) header.add_capability(name);
  for (const KindInfo& kind : all_kinds()) {
    if (info.silent.test(static_cast<size_t>(kind.kind))) {
      header.add_silent(std::string(kind.name));
    }
  }
  return packet.SerializeAsString();
}

std::string encode_footer(const Footer& footer) {
  v1::Packet packet;
  packet.mutable_footer()->set_packets(footer.packets);
  packet.mutable_footer()->set_xxh3(footer.xxh3);
  return packet.SerializeAsString();
}

void decode_header(std::string_view bytes, const TraceError::Where& where, TraceInfo& info) {
  v1::Header header;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !header.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw TraceError(TraceErrorKind::kCorrupt, where, "the header is malformed");
  }
  if (header.format_major() > kFormatMajor) {
    throw TraceError(TraceErrorKind::kTooNew, where,
                     fmt::format("written in format version {}.{}; this program reads up to {}.x",
                                 header.format_major(), header.format_minor(), kFormatMajor));
  }
  info.format_major = static_cast<uint32_t>(header.format_major());
  info.format_minor = static_cast<uint32_t>(header.format_minor());
  info.kernel = static_cast<KernelVersion>(header.kernel());
  info.kernel_text = header.kernel_text();
  info.clock = static_cast<ClockKind>(header.clock());
  info.loss = static_cast<LossState>(header.loss());
  info.capabilities_known = header.capabilities_known();
  for (const std::string& name : header.capability()) {
    const EventKind kind = kind_by_name(name);
    if (kind == EventKind::kNone) {
      info.unknown_capabilities.push_back(name);
    } else {
      info.capabilities.set(static_cast<size_t>(kind));
    }
  }
  for (const std::string& name : header.silent()) {
    const EventKind kind = kind_by_name(name);
    if (kind != EventKind::kNone) info.silent.set(static_cast<size_t>(kind));
  }
}

bool decode_footer(std::string_view bytes, Footer& footer) {
  v1::Footer message;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return false;
  }
  footer = {.packets = message.packets(), .xxh3 = message.xxh3()};
  return true;
}

void account(const Event& event, TraceInfo& info) {
  ++info.packets;
  if (event.kind == EventKind::kNone) {
    ++info.skipped["unknown kind"];
    return;
  }
  if (event.kind != EventKind::kLostEvents) return;
  info.loss = LossState::kLost;
  const LostEvents lost = {.count = event.get(f::lost_events::count),
                           .cpu = static_cast<uint32_t>(event.get(f::lost_events::cpu)),
                           .how = static_cast<LossHow>(event.get(f::lost_events::how)),
                           .source_line = event.source_line};
  if (info.lost.size() < kMaxLostRecords) {
    info.lost.push_back(lost);
  } else {
    info.lost.back().count += lost.count;
  }
}

}  // namespace mmucheck::trace
