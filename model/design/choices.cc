#include "model/design/choices.h"

#include <charconv>
#include <optional>

namespace mmucheck::model {
namespace {

constexpr ChoiceValue kYesNo[] = {{"no", 0}, {"yes", 1}};

template <class E>
struct NamedEnumerator {
  const char* name;
  E value;
};

// The values of each enum choice, as numbers.
template <class E, size_t N>
struct EnumValues {
  ChoiceValue values[N] = {};
  constexpr EnumValues(const NamedEnumerator<E> (&named)[N]) {
    for (size_t i = 0; i < N; i++)
      values[i] = {named[i].name, static_cast<uint64_t>(named[i].value)};
  }
};

#define CHOICE_NUMBER(field, ...)
#define CHOICE_BOOL(field, ...)
#define CHOICE_ENUM(field, group, status, meaning, source, ...)                         \
  constexpr NamedEnumerator<decltype(Design::field)> k_named_##field[] = {__VA_ARGS__}; \
  constexpr EnumValues k_values_##field(k_named_##field);
#include "model/design/choices.def"
#undef CHOICE_ENUM
#undef CHOICE_BOOL
#undef CHOICE_NUMBER

constexpr bool kModelled = true, kNotYet = false;

#define CHOICE_ACCESS(field)                                      \
  [](const Design& d) { return static_cast<uint64_t>(d.field); }, \
      [](Design& d, uint64_t v) { d.field = static_cast<decltype(d.field)>(v); }
#define CHOICE_NUMBER(field, group, status, min, max, base, meaning, source) \
  {#field, group, status, meaning, source, {}, min, max, base, CHOICE_ACCESS(field)},
#define CHOICE_BOOL(field, group, status, meaning, source) \
  {#field, group, status, meaning, source, kYesNo, 0, 1, 10, CHOICE_ACCESS(field)},
#define CHOICE_ENUM(field, group, status, meaning, source, ...) \
  {#field, group, status, meaning, source, k_values_##field.values, 0, 0, 10, CHOICE_ACCESS(field)},
constexpr Choice kChoices[] = {
#include "model/design/choices.def"
};
#undef CHOICE_ENUM
#undef CHOICE_BOOL
#undef CHOICE_NUMBER
#undef CHOICE_ACCESS

std::string number_text(uint64_t value, int base) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value, base).ptr;
  return (base == 16 ? "0x" : "") + std::string(text, end);
}

std::optional<uint64_t> number_of(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> parse(const Choice& choice, std::string_view text) {
  for (const ChoiceValue& v : choice.values)
    if (v.name == text) return v.value;
  if (!choice.values.empty()) return std::nullopt;
  const auto value = number_of(text);
  if (!value || *value < choice.min || *value > choice.max) return std::nullopt;
  return value;
}

template <class Range>
std::string names(const Range& range) {
  std::string all;
  for (const auto& each : range) {
    if (!all.empty()) all += ", ";
    all += each.name;
  }
  return all;
}

}  // namespace

std::span<const Choice> choices() { return kChoices; }

const Choice* find_choice(std::string_view name) {
  for (const Choice& c : kChoices)
    if (c.name == name) return &c;
  return nullptr;
}

std::string value_of(const Design& design, const Choice& choice) {
  const uint64_t value = choice.get(design);
  for (const ChoiceValue& v : choice.values)
    if (v.value == value) return std::string(v.name);
  return number_text(value, choice.base);
}

std::string valid_values(const Choice& choice) {
  if (!choice.values.empty()) return names(choice.values);
  return number_text(choice.min, choice.base) + " to " + number_text(choice.max, choice.base);
}

std::string set_choice(Design& design, std::string_view name, std::string_view value) {
  const Choice* choice = find_choice(name);
  if (choice == nullptr) {
    return "there is no choice '" + std::string(name) + "'; there are " + names(choices());
  }
  const auto parsed = parse(*choice, value);
  if (!parsed) {
    return std::string(name) + " cannot be '" + std::string(value) +
           "'; valid: " + valid_values(*choice);
  }
  choice->set(design, *parsed);
  return {};
}

std::vector<const Choice*> difference(const Design& a, const Design& b) {
  std::vector<const Choice*> all;
  for (const Choice& c : kChoices)
    if (c.get(a) != c.get(b)) all.push_back(&c);
  return all;
}

std::vector<const Choice*> not_modelled(const Design& design) {
  const Design as_modelled;
  std::vector<const Choice*> all = difference(design, as_modelled);
  std::erase_if(all, [](const Choice* c) { return c->modelled; });
  return all;
}

std::string no_such_design(std::string_view name) {
  return "there is no design '" + std::string(name) + "'; there are " + names(designs());
}

}  // namespace mmucheck::model
