#include "tools/mmucheck/design_file.h"

#include <fmt/format.h>

#include <map>
#include <stdexcept>

#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"
#include "model/design/choices.h"

namespace mmucheck::cli {
namespace {

struct Place {
  uint64_t line = 0;
  uint64_t offset = 0;
};

struct Field {
  std::string name, value;
  Place name_at, value_at;
};

[[noreturn]] void fail(const std::string& file, Place at, const std::string& why) {
  throw trace::TraceError(trace::TraceErrorKind::kCorrupt,
                          {file, 0, at.line, static_cast<int64_t>(at.offset)}, why);
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '+';
}

// The tokens of one line.
class Cursor {
 public:
  Cursor(const std::string& file, const trace::Line& line)
      : file_(file), text_(line.text), at_{line.number, line.offset} {}

  // False at the end of the line.
  bool more() {
    while (i_ < text_.size() && (text_[i_] == ' ' || text_[i_] == '\t')) i_++;
    return i_ < text_.size() && text_[i_] != '#';
  }
  Place place() const { return {at_.line, at_.offset + i_}; }
  std::string word(const char* what) {
    const size_t from = i_;
    while (i_ < text_.size() && is_word(text_[i_])) i_++;
    if (i_ == from) fail(file_, place(), fmt::format("expected {}", what));
    return std::string(text_.substr(from, i_ - from));
  }
  void colon() {
    if (!more() || text_[i_] != ':') fail(file_, place(), "expected ':' after the name");
    i_++;
  }
  std::string value() {
    if (!more()) fail(file_, place(), "expected a value after ':'");
    const char quote = text_[i_];
    if (quote != '"' && quote != '\'') return word("a value");
    std::string value;
    for (size_t i = i_ + 1; i < text_.size(); i++) {
      if (text_[i] == quote) {
        i_ = i + 1;
        return value;
      }
      if (text_[i] == '\\' && ++i == text_.size()) break;
      value += text_[i];
    }
    fail(file_, place(), "the string does not end on its line");
  }

 private:
  const std::string& file_;
  std::string_view text_;
  Place at_;
  size_t i_ = 0;
};

using Fields = std::map<std::string, Field>;

bool is_field(std::string_view name) {
  return name == "name" || name == "base" || name == "source" ||
         model::find_choice(name) != nullptr;
}

Fields read_fields(trace::ByteStream& in) {
  Fields fields;
  for (trace::Line line; in.next_line(line);) {
    if (line.overlong) fail(in.name(), {line.number, line.offset}, "the line is too long");
    for (Cursor cursor(in.name(), line); cursor.more();) {
      Field f;
      f.name_at = cursor.place();
      f.name = cursor.word("the name of a choice");
      if (!is_field(f.name)) {
        model::Design any;  // for the error, which names the choices
        fail(in.name(), f.name_at, model::set_choice(any, f.name, "") + "; and name, base, source");
      }
      cursor.colon();
      cursor.more();
      f.value_at = cursor.place();
      f.value = cursor.value();
      const std::string name = f.name;
      if (!fields.emplace(name, f).second) fail(in.name(), f.name_at, name + " is given twice");
    }
  }
  return fields;
}

}  // namespace

std::unique_ptr<model::OwnedDesign> read_design_file(const std::string& path,
                                                     const std::atomic<bool>* stop) {
  trace::ByteStream in(path, stop);
  Fields fields = read_fields(in);
  const Place end{0, in.offset()};
  for (const char* needed : {"name", "base"}) {
    if (!fields.contains(needed)) {
      fail(in.name(), end, fmt::format("a design needs its {}: \"...\"", needed));
    }
  }
  const Field& name = fields["name"];
  if (name.value.empty()) fail(in.name(), name.value_at, "a name must not be empty");
  if (model::find_design(name.value) != nullptr) {
    fail(in.name(), name.value_at,
         fmt::format("'{}' cannot be its name: there is such a design", name.value));
  }
  const Field& base = fields["base"];
  const model::ParsedDesign parsed = model::parse_design_spec(base.value);
  if (parsed.design == nullptr) fail(in.name(), base.value_at, parsed.error);
  model::Design design = parsed.design->design;
  for (const auto& [key, f] : fields) {
    if (model::find_choice(key) == nullptr) continue;
    const std::string error = model::set_choice(design, key, f.value);
    if (!error.empty()) fail(in.name(), f.value_at, error);
  }
  std::string source = fields.contains("source") ? fields["source"].value
                                                 : in.name() + ", on " + parsed.design->name;
  return std::make_unique<model::OwnedDesign>(design, name.value, std::move(source));
}

std::unique_ptr<model::OwnedDesign> design_from(const std::string& spec, const std::string& file,
                                                const std::atomic<bool>* stop) {
  if (!file.empty()) return read_design_file(file, stop);
  if (spec.empty()) return nullptr;
  model::ParsedDesign parsed = model::parse_design_spec(spec);
  if (parsed.design == nullptr) throw std::invalid_argument(parsed.error);
  return std::move(parsed.design);
}

}  // namespace mmucheck::cli
