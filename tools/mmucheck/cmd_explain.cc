// mmucheck explain: what an invariant says, where it comes from, and traces that show it.
#include <fmt/format.h>

#include <memory>

#include "checker/invariant/catalogue.h"
#include "checker/invariant/examples.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

using invariant::Invariant;

std::string explored(const Invariant& i) {
  const std::string_view why = invariant::why_unreached(i.id);
  return why.empty() ? "some scenario breaks it under some design" : std::string(why);
}

std::string text_of(const Invariant& i) {
  const invariant::Examples& x = invariant::examples(i.id);
  const auto path = [](std::string_view p) { return p.empty() ? "none yet" : p; };
  return fmt::format(
      "{}\n  {}\n\n"
      "  source      {}\n"
      "  kind        {}\n"
      "  about       each {}\n"
      "  evaluated   {}\n"
      "  recordings  {}\n"
      "  explored    {}\n"
      "  fails       {}\n"
      "  passes      {}\n",
      i.id, i.statement, i.source, invariant::name_of(i.kind), invariant::name_of(i.scope),
      i.in_model() ? "by the model, where the kernel has its own check"
                   : "by the engine, on what a step touched",
      i.recorded() ? "come by it" : "unrecorded: no recording shows it", explored(i),
      path(x.violating),
      path(x.nearly));
}

nlohmann::ordered_json json_of(const Invariant& i) {
  const invariant::Examples& x = invariant::examples(i.id);
  const auto path = [](std::string_view p) {
    return p.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(p);
  };
  return {{"id", i.id},
          {"statement", i.statement},
          {"source", i.source},
          {"kind", invariant::name_of(i.kind)},
          {"scope", invariant::name_of(i.scope)},
          {"in_model", i.in_model()},
          {"recorded", i.recorded()},
          {"unreached", path(invariant::why_unreached(i.id))},
          {"violating", path(x.violating)},
          {"nearly_violating", path(x.nearly)}};
}

int list(Session& session) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Invariant& i : invariant::catalogue()) {
    if (session.json) {
      all.push_back(json_of(i));
    } else {
      session.print(fmt::format("{:<20} {}\n", i.id, i.statement));
    }
  }
  if (session.json) session.print_json({{"schema", kJsonSchema}, {"invariants", all}});
  return report::kExitOk;
}

int explain(Session& session, const std::string& id) {
  const Invariant* i = invariant::find(id);
  if (i == nullptr) {
    return session.fail(report::kExitUsage,
                        "there is no invariant '" + id + "'; explain --list names them all");
  }
  if (session.json) {
    nlohmann::ordered_json object = {{"schema", kJsonSchema}};
    object.update(json_of(*i));
    session.print_json(object);
  } else {
    session.print(text_of(*i));
  }
  return report::kExitOk;
}

}  // namespace

void add_explain(CLI::App& app, Session& session) {
  auto id = std::make_shared<std::string>();
  auto all = std::make_shared<bool>(false);
  CLI::App* sub = app.add_subcommand("explain", "say what an invariant means");
  CLI::Option* name = sub->add_option("ID", *id, "e.g. MMU-SPTE-PFN");
  name->excludes(sub->add_flag("--list", *all, "every invariant, one a line"));
  sub->footer("\nExamples:\n  mmucheck explain MMU-INV-COUNT\n  mmucheck explain --list");
  sub->callback([id, all, &session] {
    if (!*all && id->empty()) throw CLI::RequiredError("ID or --list");
    session.exit_code = *all ? list(session) : explain(session, *id);
  });
}

}  // namespace mmucheck::cli
