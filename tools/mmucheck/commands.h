// Layer: tools/mmucheck. Contract: the subcommands. Each is one file cmd_NAME.cc with one function
// that adds itself, its options and its callback to the program; the callback leaves the exit code
// in the session. To add one: the file, a line here, a line in main.cc, a line in CMakeLists.txt.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

void add_claims(CLI::App& app, Session& session);
void add_complete(CLI::App& app, Session& session);
void add_convert(CLI::App& app, Session& session);
void add_corpus(CLI::App& app, Session& session);
void add_designs(CLI::App& app, Session& session);
void add_diff(CLI::App& app, Session& session);
void add_explain(CLI::App& app, Session& session);
void add_explore(CLI::App& app, Session& session);
void add_import(CLI::App& app, Session& session);
void add_predict(CLI::App& app, Session& session);
void add_prove(CLI::App& app, Session& session);
void add_replay(CLI::App& app, Session& session);
void add_run_module(CLI::App& app, Session& session);
void add_run_tdp(CLI::App& app, Session& session);
void add_show(CLI::App& app, Session& session);
void add_shrink(CLI::App& app, Session& session);
void add_stats(CLI::App& app, Session& session);

}  // namespace mmucheck::cli
