#include "model/design/spec.h"

#include <utility>
#include <vector>

#include "model/design/choices.h"

namespace mmucheck::model {

OwnedDesign::OwnedDesign(const Design& base, std::string name_text, std::string source_text)
    : name(std::move(name_text)), source(std::move(source_text)), design(base) {
  design.name = name;
  design.source = source;
}

ParsedDesign parse_design_spec(std::string_view text) {
  ParsedDesign result;
  const auto fail = [&](size_t at, std::string why) {
    result.error = std::move(why);
    result.offset = at;
    return std::move(result);
  };
  size_t comma = text.find(',');
  const Design* base = find_design(text.substr(0, comma));
  if (base == nullptr) return fail(0, no_such_design(text.substr(0, comma)));
  Design changed = *base;
  std::string source(base->source);
  std::vector<std::string_view> given;
  while (comma != std::string_view::npos) {
    const size_t at = comma + 1;
    comma = text.find(',', at);
    const std::string_view part =
        text.substr(at, comma == std::string_view::npos ? comma : comma - at);
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      return fail(at, std::string("'").append(part).append("' is not of the form choice=value"));
    }
    const std::string_view name = part.substr(0, equals);
    for (const std::string_view before : given) {
      if (before == name) return fail(at, std::string(name) + " is given twice");
    }
    given.push_back(name);
    std::string error = set_choice(changed, name, part.substr(equals + 1));
    if (!error.empty()) return fail(at, std::move(error));
    source += (given.size() == 1 ? "; with " : ", ") + std::string(part);
  }
  result.design = std::make_unique<OwnedDesign>(changed, std::string(text), std::move(source));
  return result;
}

}  // namespace mmucheck::model
