// Layer: checker/trace, benchmarks only. Contract: what protobuf's own parser makes of a binary
// trace: every packet through ParseFromArray into one reused message. A fixed yardstick, whatever
// the reader of this layer does.
#pragma once

#include <cstdint>
#include <string_view>

namespace mmucheck::trace {

// `bytes` is a whole uncompressed .pb file. The number of packets; 0 when it is malformed.
uint64_t parse_all_packets(std::string_view bytes);

}  // namespace mmucheck::trace
