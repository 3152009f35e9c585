// model/design: the fields of Design by name: what each may be, what it means and where it is from.
// Names and values of the command line, of files and of the tests come from here.
//
// Source: choices.def. A value is a word ("freeze"), yes or no, or a number, decimal or 0x.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/design/design.h"

namespace mmucheck::model {

struct ChoiceValue {
  std::string_view name;
  uint64_t value;
};

struct Choice {
  std::string_view name;   // of the field
  std::string_view group;  // heading under which it is shown
  bool modelled;           // false: the model does as linux-7.2 whatever the row says
  std::string_view meaning;
  std::string_view source;
  std::span<const ChoiceValue> values;  // empty for a number
  uint64_t min, max;                    // of a number
  int base;                             // 10 or 16: how a number is printed
  uint64_t (*get)(const Design&);
  void (*set)(Design&, uint64_t);  // takes what is valid only
};

std::span<const Choice> choices();
const Choice* find_choice(std::string_view name);  // nullptr when there is none

std::string value_of(const Design& design, const Choice& choice);
// "freeze, cmpxchg-first, hook-first", "no, yes", "3 to 4".
std::string valid_values(const Choice& choice);

// Empty when it is done; else what is wrong, with the valid choices or values. `design` is then as
// it was.
std::string set_choice(Design& design, std::string_view name, std::string_view value);

// The choices in which they differ, in table order.
std::vector<const Choice*> difference(const Design& a, const Design& b);
// Those in which the row is not what the model does.
std::vector<const Choice*> not_modelled(const Design& design);

// "there is no ..." with everything that there is.
std::string no_such_design(std::string_view name);

}  // namespace mmucheck::model
