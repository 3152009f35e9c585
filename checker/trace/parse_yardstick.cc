#include "checker/trace/parse_yardstick.h"

#include "checker/trace/envelope.h"
#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {

uint64_t parse_all_packets(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return 0;
  v1::Packet packet;
  uint64_t packets = 0;
  for (size_t at = kMagic.size(); at < bytes.size(); ++packets) {
    uint64_t size = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (at >= bytes.size() || shift > 28) return 0;
      const auto byte = static_cast<unsigned char>(bytes[at++]);
      size |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    if (size > bytes.size() - at) return 0;
    if (!packet.ParseFromArray(bytes.data() + at, static_cast<int>(size))) return 0;
    at += size;
  }
  return packets;
}

}  // namespace mmucheck::trace
