// model/design: a row and what is to differ from it, as one text: "NAME" or
// "NAME,choice=value,...". No spaces; a choice may be given once.
//
// Source: claims and mails argue about one choice at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "model/design/design.h"

namespace mmucheck::model {

// A design whose texts it owns: Design::name and Design::source are views of them, which is why it
// stays where it is.
struct OwnedDesign {
  OwnedDesign(const Design& base, std::string name, std::string source);
  OwnedDesign(const OwnedDesign&) = delete;
  OwnedDesign& operator=(const OwnedDesign&) = delete;

  const std::string name, source;
  Design design;
};

struct ParsedDesign {
  std::unique_ptr<OwnedDesign> design;  // nullptr: see `error`
  std::string error;                    // with the valid designs, choices or values
  size_t offset = 0;                    // of the error in the text, in bytes
};

// The name is the text, the source that of the row and what was changed.
ParsedDesign parse_design_spec(std::string_view text);

}  // namespace mmucheck::model
