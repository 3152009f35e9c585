// mmucheck designs: the rows of the design table, the choices of one, or what differs between two.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "checker/report/text_writer.h"
#include "model/design/choices.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using model::Choice;
using model::Design;

// Words wrapped below one another, each line after `indent` spaces.
std::string wrapped(std::string_view text, size_t indent) {
  std::string out, line;
  const auto put = [&] { out += std::string(indent, ' ') + line + "\n"; };
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!line.empty() && indent + line.size() + 1 + word.size() > report::kTextWidth) {
      put();
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  put();
  return out;
}

Json json_of(const Design& d, const Choice& c) {
  Json values = Json::array();
  for (const model::ChoiceValue& v : c.values) values.push_back(v.name);
  Json json = {{"choice", c.name},     {"value", value_of(d, c)}, {"modelled", c.modelled},
               {"meaning", c.meaning}, {"source", c.source},      {"group", c.group}};
  if (c.values.empty()) {
    json["min"] = c.min;
    json["max"] = c.max;
  } else {
    json["values"] = values;
  }
  return json;
}

int list_designs(Session& session) {
  Json all = Json::array();
  for (const Design& d : model::designs()) {
    if (session.json) {
      all.push_back({{"design", d.name}, {"source", d.source}});
    } else {
      session.print(fmt::format("{:<20}{}\n", d.name, d.source));
    }
  }
  if (session.json) session.print_json({{"schema", kJsonSchema}, {"designs", all}});
  return report::kExitOk;
}

int show_design(Session& session, const Design& d) {
  if (session.json) {
    Json all = Json::array();
    for (const Choice& c : model::choices()) all.push_back(json_of(d, c));
    session.print_json(
        {{"schema", kJsonSchema}, {"design", d.name}, {"source", d.source}, {"choices", all}});
    return report::kExitOk;
  }
  std::string out = fmt::format("{}\n", d.name) + wrapped(d.source, 2);
  std::string_view group;
  for (const Choice& c : model::choices()) {
    if (c.group != group) out += fmt::format("\n{}\n", group = c.group);
    out += fmt::format("  {} = {}   ({}){}\n", c.name, value_of(d, c), valid_values(c),
                       c.modelled ? "" : "  [not modelled yet]");
    out += wrapped(c.meaning, 6) + wrapped(fmt::format("source: {}", c.source), 6);
  }
  session.print(out);
  return report::kExitOk;
}

int compare_designs(Session& session, const Design& a, const Design& b) {
  const std::vector<const Choice*> differ = difference(a, b);
  if (session.json) {
    Json all = Json::array();
    for (const Choice* c : differ) {
      all.push_back({{"choice", c->name},
                     {"a", value_of(a, *c)},
                     {"b", value_of(b, *c)},
                     {"modelled", c->modelled},
                     {"meaning", c->meaning},
                     {"source", c->source}});
    }
    session.print_json(
        {{"schema", kJsonSchema}, {"a", a.name}, {"b", b.name}, {"differences", all}});
    return report::kExitOk;
  }
  std::string out = fmt::format("a: {}\n", a.name) + wrapped(a.source, 3) +
                    fmt::format("b: {}\n", b.name) + wrapped(b.source, 3) + "\n";
  if (differ.empty()) out += "no choice differs\n";
  size_t name_width = 0, value_width = 1;
  for (const Choice* c : differ) {
    name_width = std::max(name_width, c->name.size());
    value_width = std::max({value_width, value_of(a, *c).size(), value_of(b, *c).size()});
  }
  for (const Choice* c : differ) {
    out += fmt::format("  {:<{}}  a {:<{}}  b {:<{}}{}\n", c->name, name_width, value_of(a, *c),
                       value_width, value_of(b, *c), c->modelled ? 0 : value_width,
                       c->modelled ? "" : "  [not modelled yet]");
  }
  session.print(out);
  return report::kExitOk;
}

int designs(Session& session, const std::vector<std::string>& names, const std::string& file) {
  std::vector<std::unique_ptr<model::OwnedDesign>> shown;
  if (!file.empty()) shown.push_back(read_design_file(file, session.stop_flag()));
  for (const std::string& name : names) {
    model::ParsedDesign parsed = model::parse_design_spec(name);
    if (parsed.design == nullptr) return session.fail(report::kExitUsage, parsed.error);
    shown.push_back(std::move(parsed.design));
  }
  if (shown.size() > 2) return session.fail(report::kExitUsage, "more than two designs");
  if (shown.empty()) return list_designs(session);
  if (shown.size() == 1) return show_design(session, shown[0]->design);
  return compare_designs(session, shown[0]->design, shown[1]->design);
}

}  // namespace

void add_designs(CLI::App& app, Session& session) {
  struct Options {
    std::vector<std::string> names;
    std::string file;
  };
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "designs", "list the designs, show the choices of one, or what differs between two");
  sub->add_option("DESIGN", options->names, "a row, or a row with changes: NAME,choice=value,...")
      ->expected(0, 2);
  sub->add_option("--design-file", options->file, "a row in a file, as replay takes it")
      ->option_text("FILE");
  sub->footer(
      "A choice marked \"not modelled yet\" is one where the model does as linux-7.2 whatever the\n"
      "row says.\n"
      "\nExamples:\n"
      "  mmucheck designs\n"
      "  mmucheck designs upstream-7.x\n"
      "  mmucheck designs v19 v19-exclude\n"
      "  mmucheck designs naive naive,mirror_set=freeze\n"
      "  mmucheck designs --design-file my-series.txtpb upstream-7.x");
  sub->callback(
      [options, &session] { session.exit_code = designs(session, options->names, options->file); });
}

}  // namespace mmucheck::cli
