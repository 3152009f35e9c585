// mmucheck: the command line. Options and exit codes that all subcommands share stand here; each
// subcommand stands in a file of its own.
#include <CLI/CLI.hpp>
#include <exception>
#include <map>

#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/session.h"

namespace {

using mmucheck::cli::Session;

constexpr auto kCommands = {
    mmucheck::cli::add_show,    mmucheck::cli::add_stats,   mmucheck::cli::add_import,
    mmucheck::cli::add_convert, mmucheck::cli::add_run_tdp, mmucheck::cli::add_run_module,
    mmucheck::cli::add_replay,  mmucheck::cli::add_predict, mmucheck::cli::add_corpus,
    mmucheck::cli::add_explain, mmucheck::cli::add_designs, mmucheck::cli::add_claims,
    mmucheck::cli::add_prove,   mmucheck::cli::add_explore, mmucheck::cli::add_diff,
    mmucheck::cli::add_shrink,  mmucheck::cli::add_complete};

constexpr const char* kFooter = R"(
Examples:
  mmucheck show trace.txt.xz --kind changed_spte,tdp_map --limit 20
  mmucheck stats trace.txt
  mmucheck import trace.txt -o trace.pb.zst
  mmucheck run-tdp traces/sequences/*.jsonl.xz
  mmucheck run-module traces/module-sequences/*.xz
  mmucheck designs v19 upstream-7.x
  mmucheck claims --format email
  mmucheck explore --design naive traces/scenarios/seed-004/child-first.txtpb
  mmucheck prove walk
  mmucheck shrink counterexample.txtpb -o small.txtpb

Files are recognised by content: ftrace text (trace, trace_pipe, trace-cmd report), .pb and .txtpb,
each plain or compressed (.zst, .xz, .gz); "-" is standard input.

Exit codes:
  0    everything checked and nothing wrong (or: as the file expects)
  1    violated or refuted (or: not as the file expects)
  2    usage
  3    input unreadable or corrupt
  4    nothing to check
  5    inconclusive: events were lost, a bound was hit, the solver gave up
  6    internal error
  7    diverged: the recording does something that the model cannot
  130  interrupted; the partial result was written)";

int run(CLI::App& app, Session& session, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    session.finish();
    return session.exit_code;
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    app.exit(e);
    return mmucheck::report::kExitUsage;
  } catch (const mmucheck::trace::TraceError& e) {
    return session.fail(e);
  } catch (const std::bad_alloc&) {
    return session.fail(mmucheck::report::kExitInternal, "out of memory");
  } catch (const std::exception& e) {
    return session.fail(mmucheck::report::kExitInternal, e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"mmucheck: checks traces of KVM's x86 TDP MMU against a model of it", "mmucheck"};
  Session session;
  app.set_version_flag("--version", "mmucheck " MMUCHECK_VERSION);
  app.add_flag("--json", session.json, "machine-readable output (JSON, schema 1)");
  app.add_flag("-v,--verbose", session.verbose, "say more");
  app.add_option("--color", session.color, "auto, always or never (auto honours NO_COLOR)")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, mmucheck::cli::Color>{{"auto", mmucheck::cli::Color::kAuto},
                                                      {"always", mmucheck::cli::Color::kAlways},
                                                      {"never", mmucheck::cli::Color::kNever}}))
      ->option_text("WHEN");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(kFooter);
  for (const auto add : kCommands) add(app, session);
  Session::catch_signals();
  return run(app, session, argc, argv);
}
