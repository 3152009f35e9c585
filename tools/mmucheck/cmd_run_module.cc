// mmucheck run-module: sequences of TDX module calls, and tables of its answers, compared call by
// call with the model.
#include <memory>
#include <vector>

#include "checker/replay/module/module_file.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/compare_files.h"

namespace mmucheck::cli {
namespace {

int run_module(const std::vector<std::string>& files, Session& session) {
  return compare_files(
      files, session, {"calls", "leaf", "call", "calls"}, [&](trace::ByteStream& in) {
        const replay::ModuleResult r = replay::run_module_file(in, session.stop_flag());
        ComparedFile compared{r.calls, r.agree, {}};
        if (const auto& d = r.first_difference) {
          compared.first_difference = {d->i, d->leaf, d->expected, d->got};
        }
        return compared;
      });
}

}  // namespace

void add_run_module(CLI::App& app, Session& session) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* sub =
      app.add_subcommand("run-module", "compare sequences of TDX module calls with the model");
  sub->add_option("FILE", *files,
                  "sequences (.jsonl) and tables (.csv), also compressed; - is standard input")
      ->required();
  sub->footer("\nExample:\n  mmucheck run-module traces/module-sequences/*.xz");
  sub->callback([files, &session] { session.exit_code = run_module(*files, session); });
}

}  // namespace mmucheck::cli
