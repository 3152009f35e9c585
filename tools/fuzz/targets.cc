#include "tools/fuzz/targets.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "checker/explore/chart.h"
#include "checker/replay/module/module_file.h"
#include "checker/replay/replay_trace.h"
#include "checker/replay/sequence/sequence_file.h"
#include "checker/trace/open_trace.h"
#include "model/design/choices.h"
#include "tools/import/ftrace/ftrace_source.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/ledger.h"
#include "tools/mmucheck/state_text.h"

namespace mmucheck::fuzz {

namespace {

std::string whole(const std::string& path) {
  trace::ByteStream stream(path);
  std::string text;
  for (std::string_view piece; !(piece = stream.peek(1)).empty(); stream.consume(piece.size())) {
    text.append(piece);
  }
  return text;
}

class ScratchFolder {
 public:
  ScratchFolder() {
    path_ = (std::filesystem::temp_directory_path() / "mmucheck-fuzz.XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) {
      throw trace::TraceError(trace::TraceErrorKind::kUnreadable, {.file = path_},
                              "cannot make a scratch folder");
    }
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The packets of a recording in one of the own encodings.
std::string converted(const std::string& path, const std::string& name, size_t limit) {
  const std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source = trace::open_trace(path, formats);
  const ScratchFolder folder;
  const std::string out = folder.file(name);
  const auto sink = trace::create_trace(out, source->info());
  trace::Event event;
  while (limit-- > 0 && source->next(event)) sink->put(event);
  sink->close();
  std::ifstream in(out, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Every .txtpb at or below a folder, by name.
std::vector<std::string> texts_below(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".txtpb") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> texts;
  for (const std::string& path : paths) texts.push_back(whole(path));
  return texts;
}

// A file that gives every choice the value that the row has.
std::string design_text(const model::Design& row) {
  std::string text = "# a row\nname: \"mine\"\nbase: \"" + std::string(row.name) + "\"\n";
  for (const model::Choice& choice : model::choices()) {
    text += std::string(choice.name) + ": " + model::value_of(row, choice) + "\n";
  }
  return text;
}

std::unique_ptr<trace::EventSource> open_text(const std::string& bytes) {
  trace::OpenOptions open;
  open.forced_format = "txtpb";
  return trace::open_trace(trace::ByteStream::from_memory(bytes, "fuzz"), trace::own_formats(),
                           open);
}

void feed_handwritten(const std::string& bytes) {
  replay::replay_trace(*open_text(bytes));
  const auto state = replay::state_in_trace(*open_text(bytes), [](const auto&) { return false; });
  if (!state) return;
  for (const replay::VmState& vm : *state) {
    cli::state_text(vm);
    cli::state_json(vm);
  }
}

void feed_scenario(const std::string& bytes) {
  const auto source = open_text(bytes);
  const explore::Scenario scenario = explore::read_scenario(*source);
  if (scenario.threads.empty()) return;  // `explore` says so and is done
  const explore::Bounds bounds{.max_states = 200, .busy = 1};
  const explore::Exploration found = explore::explore(scenario, nullptr, bounds);
  if (!found.violation) return;
  explore::chart_text(explore::chart_steps(scenario, nullptr, found, bounds));
  explore::counterexample(scenario, nullptr, "", found, bounds);
}

// Readers that take a path.
void feed_file(Target target, const std::string& bytes) {
  const ScratchFolder folder;
  const std::string path = folder.file("input");
  std::ofstream(path, std::ios::binary) << bytes;
  if (target == Target::kDesign) {
    cli::read_design_file(path);
  } else {
    cli::read_ledger(path);
  }
}

void feed_stream(Target target, std::string bytes) {
  auto stream = trace::ByteStream::from_memory(std::move(bytes), "fuzz");
  if (target == Target::kSequence) {
    replay::run_sequence(*stream);
  } else if (target == Target::kModule) {
    replay::run_module_file(*stream);
  } else {
    std::vector<trace::Format> formats = trace::own_formats();
    import::FtraceOptions options;
    options.side_files = false;
    formats.push_back(import::ftrace_format(options));
    trace::OpenOptions open;
    if (target == Target::kFtrace) open.forced_format = formats.back().name;
    if (target == Target::kTxtpb) open.forced_format = "txtpb";
    if (target == Target::kPb) open.forced_format = "pb";
    replay::replay_trace(*trace::open_trace(std::move(stream), formats, open));
  }
}

}  // namespace

bool is_text(Target target) {
  return target != Target::kPb && target != Target::kLedger;
}

Fed feed(Target target, std::string bytes) {
  Fed fed;
  try {
    switch (target) {
      case Target::kHandwritten: feed_handwritten(bytes); break;
      case Target::kScenario: feed_scenario(bytes); break;
      case Target::kDesign:
      case Target::kLedger: feed_file(target, bytes); break;
      default: feed_stream(target, std::move(bytes)); break;
    }
    fed.replayed = true;
  } catch (const trace::TraceError&) {
    fed.refused = true;
  }
  return fed;
}

std::vector<std::string> seeds_of(Target target, const std::string& corpus) {
  const std::string recorded = corpus + "/recorded/";
  std::vector<std::string> seeds;
  switch (target) {
    case Target::kPb:
      seeds.push_back(converted(recorded + "full-thp/trace.txt.xz", "a.pb", 600));
      seeds.push_back(converted(recorded + "rare-zaprace-full/trace.txt.xz", "a.pb", 2000));
      seeds.push_back(converted(recorded + "k72-tp-private/trace.txt.xz", "a.pb", 800));
      break;
    case Target::kTxtpb:
      seeds.push_back(converted(recorded + "full-thp/trace.txt.xz", "a.txtpb", 600));
      seeds.push_back(converted(recorded + "k72-full-private/trace.txt.xz", "a.txtpb", 800));
      break;
    case Target::kHandwritten: return texts_below(corpus);
    case Target::kScenario: return texts_below(corpus + "/scenarios");
    case Target::kDesign:
      for (const model::Design& row : model::designs()) seeds.push_back(design_text(row));
      break;
    case Target::kLedger: seeds.push_back(whole(corpus + "/claims.json")); break;
    case Target::kFtrace:
      for (const char* name : {"full-thp", "k72-full-private", "rare-zaprace-full",
                               "lossy-live-notifier", "tp-memslot-counter"}) {
        seeds.push_back(whole(recorded + name + "/trace.txt.xz"));
      }
      break;
    case Target::kSequence:
      for (const char* name : {"seq-612-a-ept-001", "seq-612-a-npt-001"}) {
        seeds.push_back(whole(corpus + "/sequences/" + name + ".jsonl.xz"));
      }
      break;
    case Target::kModule:
      for (const char* name : {"seq-b-000.jsonl", "seq-f-000.jsonl", "contention.csv"}) {
        seeds.push_back(whole(corpus + "/module-sequences/" + name + ".xz"));
      }
      break;
  }
  return seeds;
}

}  // namespace mmucheck::fuzz
