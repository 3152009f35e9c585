// mmucheck claims: what the mails claim, decided by running what is attached to each claim.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tools/mmucheck/claims_text.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ClaimsOptions {
  std::vector<std::string> ids;
  std::string ledger = "traces/claims.json";
  std::string format = "text";
  bool timings = false;
};

int run_claims(Session& session, const ClaimsOptions& o) {
  std::vector<LedgerClaim> claims = read_ledger(o.ledger);
  for (const std::string& id : o.ids) {
    const bool known =
        std::any_of(claims.begin(), claims.end(), [&](const LedgerClaim& c) { return c.id == id; });
    if (!known) return session.fail(report::kExitUsage, "there is no claim '" + id + "'");
  }
  if (!o.ids.empty()) {
    std::erase_if(claims, [&](const LedgerClaim& c) {
      return std::find(o.ids.begin(), o.ids.end(), c.id) == o.ids.end();
    });
  }
  ClaimEngines engines([&](const std::string& path) { return session.open(path); },
                       session.stop_flag());
  std::map<ClaimVerdict, size_t> count;
  size_t disagree = 0, decided = 0;
  Json all = Json::array();
  int code = claims.empty() ? report::kExitNothing : report::kExitOk;
  for (const LedgerClaim& c : claims) {
    DecidedClaim d;
    try {
      d = decide(c, engines);
    } catch (const std::invalid_argument& error) {
      return session.fail(report::kExitInput, o.ledger + ": claim " + c.id + ": " + error.what());
    }
    if (session.stopped()) {
      code = report::kExitInterrupted;
      break;
    }
    decided++;
    count[d.verdict]++;
    for (const DecidedPart& p : d.parts) {
      for (const DecidedCase& one : p.cases) disagree += one.disagree;
    }
    if (session.json) {
      all.push_back(claim_json(d));
    } else {
      session.print(o.format == "email" ? claim_email(d) : claim_text(d, o.timings));
    }
  }
  if (disagree != 0) code = report::worse_exit_code(code, report::kExitInternal);
  if (session.json) {
    session.print_json({{"schema", kJsonSchema}, {"ledger", o.ledger}, {"claims", all}});
  } else if (o.format == "text") {
    std::string line = fmt::format(
        "{} claims: {} supported, {} refuted, {} depend, {} open; engines disagree on {}\n",
        decided, count[ClaimVerdict::kSupported], count[ClaimVerdict::kRefuted],
        count[ClaimVerdict::kDepends], count[ClaimVerdict::kOpen], disagree);
    if (decided < claims.size()) {
      line += fmt::format("interrupted: {} not decided\n", claims.size() - decided);
    }
    session.print(line);
  }
  return code;
}

}  // namespace

void add_claims(CLI::App& app, Session& session) {
  auto options = std::make_shared<ClaimsOptions>();
  CLI::App* sub =
      app.add_subcommand("claims", "decide what the mails claim by running the evidence");
  sub->add_option("ID", options->ids, "claims by their id in the ledger; all where none is named");
  sub->add_option("--ledger", options->ledger, "the ledger of claims")->capture_default_str();
  sub->add_option("--format", options->format, "text, or a block for a mail")
      ->check(CLI::IsMember({"text", "email"}))
      ->capture_default_str();
  sub->add_flag("--timings", options->timings, "say how long each piece of evidence took");
  sub->footer(
      "A claim about all executions is supported by a proof or by an exploration of everything\n"
      "within its bounds, and refuted by a counterexample that replays; a replay alone supports\n"
      "none. A claim that something exists is supported by a witness that replays.\n"
      "Exit code 0: every claim was looked at, whatever its verdict; 3: the ledger or a piece of\n"
      "evidence cannot be read; 6: a proof and a counterexample contradict each other.\n\n"
      "Examples:\n  mmucheck claims\n  mmucheck claims --format email ID\n"
      "  mmucheck --json claims");
  sub->callback([options, &session] { session.exit_code = run_claims(session, *options); });
}

}  // namespace mmucheck::cli
