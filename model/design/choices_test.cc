// The rows, the choices by name, and the texts that change a row.
#include "model/design/choices.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <utility>

#include "model/design/spec.h"

namespace mmucheck::model {
namespace {

struct AnyField {
  template <class T>
  operator T() const;
};

template <class T, size_t... I>
constexpr bool has_fields(std::index_sequence<I...>) {
  return requires {
    T{(static_cast<void>(I), AnyField{})...};
  };
}

template <class T, size_t N = 2>
constexpr size_t fields() {
  if constexpr (!has_fields<T>(std::make_index_sequence<N + 1>())) {
    return N;
  } else {
    return fields<T, N + 1>();
  }
}

const Design& row(std::string_view name) {
  return *find_design(name);
}
std::string get(const Design& d, std::string_view choice) {
  return value_of(d, *find_choice(choice));
}

TEST(Choices, EveryFieldIsOne) {
  EXPECT_EQ(choices().size() + 2, fields<Design>());  // and name and source
}

TEST(Choices, AreWellFormed) {
  std::set<std::string_view> seen;
  Design d;
  for (const Choice& c : choices()) {
    EXPECT_TRUE(seen.insert(c.name).second) << c.name;
    EXPECT_FALSE(c.meaning.empty() || c.source.empty() || c.group.empty()) << c.name;
    std::set<uint64_t> numbers;
    for (const ChoiceValue& v : c.values) EXPECT_TRUE(numbers.insert(v.value).second) << v.name;
    if (c.values.empty()) {
      EXPECT_LT(c.min, c.max) << c.name;
    }
    EXPECT_EQ(set_choice(d, c.name, "nonsense"),
              std::string(c.name) + " cannot be 'nonsense'; valid: " + valid_values(c));
  }
}

TEST(Choices, EveryRowIsItsValues) {
  std::set<std::string_view> seen;
  for (const Design& d : designs()) {
    EXPECT_TRUE(seen.insert(d.name).second) << d.name;
    EXPECT_EQ(find_design(d.name), &d);
    EXPECT_FALSE(d.source.empty()) << d.name;
    Design copy;
    for (const Choice& c : choices()) {
      EXPECT_EQ(set_choice(copy, c.name, value_of(d, c)), "") << d.name << " " << c.name;
    }
    EXPECT_TRUE(difference(copy, d).empty()) << d.name;
  }
  EXPECT_EQ(designs().size(), 19u);
  EXPECT_EQ(designs()[0].name, "naive");
  EXPECT_EQ(designs()[18].name, "linux-7.2");
}

TEST(Choices, EveryValueCanBeSetAndReadBack) {
  for (const Choice& c : choices()) {
    Design d;
    for (const ChoiceValue& v : c.values) {
      EXPECT_EQ(set_choice(d, c.name, v.name), "") << c.name;
      EXPECT_EQ(value_of(d, c), v.name);
    }
    if (!c.values.empty()) continue;
    for (const uint64_t n : {c.min, c.max}) {
      EXPECT_EQ(set_choice(d, c.name, std::to_string(n)), "") << c.name;
      EXPECT_EQ(c.get(d), n) << c.name;
      EXPECT_EQ(set_choice(d, c.name, value_of(d, c)), "") << c.name;
      EXPECT_EQ(c.get(d), n) << c.name;
    }
    for (const std::string& wrong :
         {std::to_string(c.max + 1), std::string("-1"), std::string(""), std::string("0x"),
          std::string("1 "), std::string("99999999999999999999999")}) {
      EXPECT_NE(set_choice(d, c.name, wrong), "") << c.name << " " << wrong;
      EXPECT_EQ(c.get(d), c.max) << c.name;
    }
  }
}

// What the sources say of the rows that are no recording.
TEST(Choices, RowsDifferInWhatIsArguedAbout) {
  const auto differing = [](std::string_view a, std::string_view b) {
    std::set<std::string_view> names;
    for (const Choice* c : difference(row(a), row(b))) names.insert(c->name);
    return names;
  };
  using Names = std::set<std::string_view>;
  EXPECT_EQ(differing("upstream-7.x", "linux-7.2"), Names());
  EXPECT_EQ(differing("v19", "v19-exclude"), (Names{"unmap_filter", "zap_drops_flush"}));
  EXPECT_EQ(differing("addr-stripped", "upstream-7.x"), Names{"fault_addr"});
  EXPECT_EQ(differing("addr-raw", "upstream-7.x"),
            (Names{"fault_addr", "iter_index", "zap_bounds"}));
  EXPECT_EQ(differing("seed000-sketch", "upstream-7.x"), (Names{"fault_addr", "iter_index"}));
  EXPECT_EQ(differing("seam-first", "upstream-7.x"), (Names{"mirror_set", "mirror_removal"}));
  EXPECT_EQ(differing("block-parent-rcu", "upstream-7.x"),
            (Names{"removal_protocol", "mirror_removal"}));
  EXPECT_EQ(differing("seamcall-lock-only", "naive"),
            (Names{"seamcall_lock", "seamcall_lock_spans_set"}));
  EXPECT_EQ(differing("upstream-6.16", "upstream-6.14"),
            (Names{"ageing", "premap_count", "reload_frees_obsolete", "straddling_joins"}));
  EXPECT_EQ(differing("upstream-6.18", "upstream-6.16"),
            (Names{"gmem_unbind", "nx_recovery", "prefault_eagain_on_invalid_slot",
                   "retry_tests_slot"}));
  EXPECT_EQ(differing("upstream-6.19", "upstream-6.18"),
            (Names{"page_pins", "premap_count", "vp_init_mmu_lock"}));
  EXPECT_EQ(get(row("v8"), "hook_errors"), "dropped");
  EXPECT_EQ(get(row("v8"), "page_pins"), "yes");
  EXPECT_EQ(get(row("v19"), "unmap_filter"), "only-private-shared");
  EXPECT_EQ(get(row("v19"), "root_choice"), "by-private");
  EXPECT_EQ(get(row("naive"), "mirror_set"), "cmpxchg-first");
  EXPECT_EQ(get(row("upstream-6.14"), "external_hook"), "four");
  EXPECT_EQ(get(row("v8"), "external_hook"), "every-change");
  EXPECT_EQ(get(row("v19"), "external_hook"), "five");
  EXPECT_EQ(get(row("upstream-7.x"), "page_pins"), "no");
  EXPECT_EQ(get(row("huge"), "private_max_level"), "2");
  EXPECT_EQ(get(row("linux-6.12"), "frozen_low"), "0x5a0");
}

TEST(Choices, WhatIsNotModelledIsToldApart) {
  for (const Design& d : designs()) EXPECT_TRUE(not_modelled(d).empty()) << d.name;
}

std::string source_text() {
  namespace fs = std::filesystem;
  std::string all;
  for (const char* room : {"model", "checker"}) {
    for (const auto& entry : fs::recursive_directory_iterator(room)) {
      const std::string path = entry.path().generic_string();
      if (!path.ends_with(".h") && !path.ends_with(".cc")) continue;
      if (path.starts_with("model/design/") || path.ends_with("_test.cc")) continue;
      std::ifstream in(path, std::ios::binary);
      all.append(std::istreambuf_iterator<char>(in), {});
    }
  }
  return all;
}

// A mark in choices.def that is not true any more would make a verdict say too much, or too little.
TEST(Choices, MarksAreTrue) {
  const std::string text = source_text();
  std::set<std::string> used;
  const std::regex member(R"((?:design_?|\bd)(?:\.|->)([a-z_0-9]+))");
  for (std::sregex_iterator at(text.begin(), text.end(), member), end; at != end; ++at) {
    used.insert((*at)[1]);
  }
  for (const Choice& c : choices()) {
    EXPECT_EQ(c.modelled, used.contains(std::string(c.name)))
        << c.name << ": choices.def says " << (c.modelled ? "kModelled" : "kNotYet");
  }
}

TEST(DesignSpec, NamesARowAndWhatDiffers) {
  const ParsedDesign plain = parse_design_spec("v19");
  ASSERT_NE(plain.design, nullptr);
  EXPECT_EQ(plain.design->design.name, "v19");
  EXPECT_EQ(plain.design->design.source, row("v19").source);
  EXPECT_TRUE(difference(plain.design->design, row("v19")).empty());

  std::string text = "naive,mirror_set=freeze,private_max_level=2,frozen_low=0x5a0,page_pins=yes";
  const ParsedDesign changed = parse_design_spec(text);
  text.assign(text.size(), 'x');  // the design keeps its own
  ASSERT_NE(changed.design, nullptr);
  const Design& d = changed.design->design;
  EXPECT_EQ(d.mirror_set, MirrorSet::kFreeze);
  EXPECT_EQ(d.private_max_level, 2);
  EXPECT_EQ(d.frozen_low, 0x5a0u);
  EXPECT_TRUE(d.page_pins);
  EXPECT_EQ(d.hook_errors, HookErrors::kDropped);  // of the row
  EXPECT_TRUE(d.name.starts_with("naive,mirror_set=freeze,"));
  EXPECT_NE(d.source.find("; with mirror_set=freeze, private_max_level=2"), std::string::npos);
}

TEST(DesignSpec, ErrorsSayWhatIsValid) {
  const auto error = [](std::string_view text, size_t at) {
    const ParsedDesign p = parse_design_spec(text);
    EXPECT_EQ(p.design, nullptr) << text;
    EXPECT_EQ(p.offset, at) << text;
    return p.error;
  };
  for (const char* text : {"", "v20", ",", "naive ", "mirror_set=freeze"}) {
    const std::string e = error(text, 0);
    for (const Design& d : designs()) EXPECT_NE(e.find(d.name), std::string::npos) << e;
  }
  const std::string choice = error("v8,mirror=freeze", 3);
  for (const Choice& c : choices()) EXPECT_NE(choice.find(c.name), std::string::npos) << choice;
  EXPECT_EQ(error("v8,page_pins=no,mirror_set=frozen", 16),
            "mirror_set cannot be 'frozen'; valid: freeze, cmpxchg-first, hook-first");
  EXPECT_EQ(error("v8,private_max_level=3", 3), "private_max_level cannot be '3'; valid: 1 to 2");
  EXPECT_EQ(error("v8,page_pins", 3), "'page_pins' is not of the form choice=value");
  EXPECT_EQ(error("v8,", 3), "'' is not of the form choice=value");
  EXPECT_EQ(error("v8,page_pins=no,page_pins=no", 16), "page_pins is given twice");
}

}  // namespace
}  // namespace mmucheck::model
