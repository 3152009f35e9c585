// mmucheck claims: what the mails claim, decided by running what is attached to each claim.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <vector>

#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/ledger.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ClaimsOptions {
  std::vector<std::string> ids;
  std::string ledger = "traces/claims.json";
  std::string format = "text";
};

Json json_of(const Claim& c) {
  Json parts = Json::array();
  for (const ClaimPart& p : c.parts) {
    Json evidence = Json::array();
    for (const ClaimEvidence& e : p.evidence) {
      Json one = {{"trace", e.trace}, {"decided", e.decided}, {"as_claimed", e.as_claimed}};
      if (!e.where.empty()) {
        one["at"] = e.where;
        one["claimed"] = e.claimed;
        one["happens"] = e.happened;
      }
      if (!e.why_not.empty()) one["why_not"] = e.why_not;
      evidence.push_back(one);
    }
    parts.push_back({{"part", p.name}, {"verdict", name_of(p.verdict)}, {"why", p.why},
                     {"evidence", evidence}});
  }
  return {{"id", c.id},     {"quantifier", c.for_all ? "all" : "exists"},
          {"text", c.text}, {"verdict", name_of(c.verdict)},
          {"parts", parts}};
}

std::string text_of(const Claim& c) {
  std::string out = fmt::format("{:<9}  {:<7} {} {}\n", name_of(c.verdict), c.id,
                                c.for_all ? "all   " : "exists", c.text);
  for (const ClaimPart& p : c.parts) {
    if (c.parts.size() > 1) {
      out += fmt::format("             ({}) {}: {}\n", p.name, name_of(p.verdict), p.why);
    } else {
      out += fmt::format("             {}\n", p.why);
    }
    for (const ClaimEvidence& e : p.evidence) {
      if (!e.decided) {
        out += fmt::format("               {}: {}\n", e.trace, e.why_not);
      } else if (e.as_claimed) {
        out += fmt::format("               {} goes as claimed\n", e.trace);
      } else {
        out += fmt::format("               {}\n                 claimed  {}\n"
                           "                 happens  {}\n",
                           e.where, e.claimed, e.happened);
      }
    }
  }
  return out;
}

// A block for a mail: quoted claim, answer, evidence, how to see it again.
std::string email_of(const Claim& c) {
  std::string out = fmt::format("> [{}] {}\n\n", c.id, c.text);
  for (const ClaimPart& p : c.parts) {
    std::string verdict(name_of(p.verdict));
    std::transform(verdict.begin(), verdict.end(), verdict.begin(),
                   [](unsigned char ch) { return static_cast<char>(std::toupper(ch)); });
    out += fmt::format("{}{}: {}.\n", c.parts.size() > 1 ? "(" + p.name + ") " : "", verdict, p.why);
    for (const ClaimEvidence& e : p.evidence) {
      if (!e.where.empty()) {
        out += fmt::format("  claimed  {}\n  happens  {}\n", e.claimed, e.happened);
      }
      out += fmt::format("  Reproduce: mmucheck replay {}\n", e.trace);
    }
  }
  return out + "\n";
}

int run_claims(Session& session, const ClaimsOptions& o) {
  std::vector<Claim> claims = read_ledger(o.ledger);
  for (const std::string& id : o.ids) {
    const bool known = std::any_of(claims.begin(), claims.end(),
                                   [&](const Claim& c) { return c.id == id; });
    if (!known) return session.fail(report::kExitUsage, "there is no claim '" + id + "'");
  }
  if (!o.ids.empty()) {
    std::erase_if(claims, [&](const Claim& c) {
      return std::find(o.ids.begin(), o.ids.end(), c.id) == o.ids.end();
    });
  }
  std::map<std::string, size_t> count;
  Json all = Json::array();
  for (Claim& c : claims) {
    if (session.stopped()) return report::kExitInterrupted;
    decide(c, [&](const std::string& path) { return session.open(path); });
    count[std::string(name_of(c.verdict))]++;
    if (session.json) {
      all.push_back(json_of(c));
    } else {
      session.print(o.format == "email" ? email_of(c) : text_of(c));
    }
  }
  if (session.json) {
    session.print_json({{"schema", kJsonSchema}, {"ledger", o.ledger}, {"claims", all}});
  } else if (o.format == "text") {
    session.print(fmt::format("{} claims: {} supported, {} refuted, {} depend, {} open\n",
                              claims.size(), count["supported"], count["refuted"],
                              count["depends"], count["open"]));
  }
  return claims.empty() ? report::kExitNothing : report::kExitOk;
}

}  // namespace

void add_claims(CLI::App& app, Session& session) {
  auto options = std::make_shared<ClaimsOptions>();
  CLI::App* sub = app.add_subcommand("claims", "decide what the mails claim by running the evidence");
  sub->add_option("ID", options->ids, "claims, such as 004.12; all where none is named");
  sub->add_option("--ledger", options->ledger, "the ledger of claims")->capture_default_str();
  sub->add_option("--format", options->format, "text, or a block for a mail")
      ->check(CLI::IsMember({"text", "email"}))
      ->capture_default_str();
  sub->footer(
      "A claim about all executions is refuted by one trace that does not go as claimed; a replay\n"
      "alone never supports it. A claim that something exists is supported by one that does.\n"
      "Exit code 0: every claim was looked at, whatever its verdict; 3: evidence cannot be read.\n\n"
      "Examples:\n  mmucheck claims\n  mmucheck claims 004.12 --format email");
  sub->callback([options, &session] { session.exit_code = run_claims(session, *options); });
}

}  // namespace mmucheck::cli
