#include "tools/fuzz/targets.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "checker/replay/module/module_file.h"
#include "checker/replay/replay_trace.h"
#include "checker/replay/sequence/sequence_file.h"
#include "checker/trace/open_trace.h"
#include "tools/import/ftrace/ftrace_source.h"

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

// The packets of a recording in one of the own encodings.
std::string converted(const std::string& path, const std::string& name, size_t limit) {
  const std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source = trace::open_trace(path, formats);
  std::string folder = (std::filesystem::temp_directory_path() / "mmucheck-fuzz.XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    throw trace::TraceError(trace::TraceErrorKind::kUnreadable, {.file = folder},
                            "cannot make a scratch folder");
  }
  const std::string out = folder + "/" + name;
  const auto sink = trace::create_trace(out, source->info());
  trace::Event event;
  while (limit-- > 0 && source->next(event)) sink->put(event);
  sink->close();
  std::ifstream in(out, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::filesystem::remove_all(folder);
  return bytes;
}

}  // namespace

bool is_text(Target target) {
  return target != Target::kPb;
}

Fed feed(Target target, std::string bytes) {
  Fed fed;
  try {
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
