// mmucheck run-tdp: scripted sequences of the TDP MMU, compared operation by operation.
#include <memory>
#include <vector>

#include "checker/replay/sequence/sequence_file.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/compare_files.h"

namespace mmucheck::cli {
namespace {

int run_tdp(const std::vector<std::string>& files, Session& session) {
  return compare_files(
      files, session, {"ops", "op", "operation", "operations"}, [&](trace::ByteStream& in) {
        const replay::SequenceResult r = replay::run_sequence(in, session.stop_flag());
        ComparedFile compared{r.ops, r.agree, {}};
        if (const auto& d = r.first_difference) {
          compared.first_difference = {d->i, d->op, d->expected, d->got};
        }
        return compared;
      });
}

}  // namespace

void add_run_tdp(CLI::App& app, Session& session) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* sub =
      app.add_subcommand("run-tdp", "compare scripted sequences of the TDP MMU with the model");
  sub->add_option("FILE", *files, "sequences (.jsonl, also compressed); - is standard input")
      ->required();
  sub->footer("\nExample:\n  mmucheck run-tdp traces/sequences/*.jsonl.xz");
  sub->callback([files, &session] { session.exit_code = run_tdp(*files, session); });
}

}  // namespace mmucheck::cli
