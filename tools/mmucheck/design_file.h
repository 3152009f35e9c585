// Layer: tools/mmucheck. Contract: a row of the design table in a file: protobuf text, one field a
// choice, every name and value as `mmucheck designs` prints them, words with or without quotes:
//
//   # my series, on top of upstream
//   name: "my-series"
//   base: "upstream-7.x"
//   source: "https://lore.kernel.org/..."
//   mirror_set: hook-first
//
// `name` (no row has it yet) and `base` (a row, or a row with changes) must be there; each field at
// most once, in any order. Errors are trace::TraceError with the line and the byte.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "model/design/spec.h"

namespace mmucheck::cli {

std::unique_ptr<model::OwnedDesign> read_design_file(const std::string& path,
                                                     const std::atomic<bool>* stop = nullptr);

// Of a text or of a file, whichever is given; nullptr when neither is. A text that is wrong is
// std::invalid_argument with what would be valid.
std::unique_ptr<model::OwnedDesign> design_from(const std::string& spec, const std::string& file,
                                                const std::atomic<bool>* stop = nullptr);

}  // namespace mmucheck::cli
