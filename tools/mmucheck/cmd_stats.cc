// mmucheck stats: what is in a trace, in numbers.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>

#include "checker/report/text_writer.h"
#include "checker/trace/event_kinds.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

using report::with_thousands;

constexpr size_t kClasses = 4;
constexpr size_t kMaxDistinct = 1u << 20;  // distinct threads, CPUs and VMs that are told apart

struct Stats {
  uint64_t events = 0;
  std::array<uint64_t, kClasses> by_class{};
  std::array<uint64_t, trace::kEventKindLimit> by_kind{};
  std::set<uint32_t> threads, cpus, vms;
  std::optional<uint64_t> first_ns, last_ns;

  void add(const trace::Event& e) {
    ++events;
    ++by_class[static_cast<size_t>(e.cls) % kClasses];
    ++by_kind[static_cast<size_t>(e.kind) % trace::kEventKindLimit];
    if (e.cls == trace::PacketClass::kConfig && e.source_line == 0) return;
    if (threads.size() < kMaxDistinct) threads.insert(e.thread);
    if (cpus.size() < kMaxDistinct) cpus.insert(e.cpu);
    if (e.vm != 0 && vms.size() < kMaxDistinct) vms.insert(e.vm);
    first_ns = std::min(first_ns.value_or(e.ts_ns), e.ts_ns);
    last_ns = std::max(last_ns.value_or(e.ts_ns), e.ts_ns);
  }
};

// Kinds that occur, most frequent first, equal ones by number.
std::vector<size_t> kinds_by_count(const Stats& stats) {
  std::vector<size_t> kinds;
  for (size_t k = 0; k < stats.by_kind.size(); ++k) {
    if (stats.by_kind[k] != 0) kinds.push_back(k);
  }
  std::stable_sort(kinds.begin(), kinds.end(),
                   [&](size_t a, size_t b) { return stats.by_kind[a] > stats.by_kind[b]; });
  return kinds;
}

std::string kind_text(size_t number) {
  return std::string(trace::kind_name(static_cast<trace::EventKind>(number)));
}

std::string class_text(size_t number) {
  return std::string(trace::class_name(static_cast<trace::PacketClass>(number)));
}

std::string text_of(const Stats& stats, const trace::TraceInfo& info) {
  std::string out = fmt::format("{}   {}{}{}{}\n\n", info.file, info.encoding,
                                info.compression.empty() ? "" : ", ", info.compression,
                                info.kernel_text.empty() ? "" : ", Linux " + info.kernel_text);
  out += fmt::format("  {:<12} {:>12}\n", "events", with_thousands(stats.events));
  for (size_t c = 0; c < kClasses; ++c) {
    out += fmt::format("    {:<12} {:>10}\n", class_text(c), with_thousands(stats.by_class[c]));
  }
  out += fmt::format("  {:<12} {:>12}\n  {:<12} {:>12}\n  {:<12} {:>12}\n", "CPUs",
                     stats.cpus.size(), "threads", stats.threads.size(), "VMs", stats.vms.size());
  if (stats.first_ns && info.clock != trace::ClockKind::kCounter) {
    const uint64_t span = *stats.last_ns - *stats.first_ns;
    out += fmt::format("  {:<12} {:>12} s\n", "time",
                       fmt::format("{}.{:06}", span / 1000000000, span / 1000 % 1000000));
  }
  for (const trace::LostEvents& l : info.lost) {
    out += fmt::format("  {:<12} {:>12}   CPU {}, line {}\n", "lost",
                       l.count == 0 ? "unknown" : with_thousands(l.count), l.cpu, l.source_line);
  }
  if (info.malformed != 0) {
    out += fmt::format("  {:<12} {:>12}\n", "malformed", with_thousands(info.malformed));
  }
  out += "\n  kinds\n";
  for (size_t k : kinds_by_count(stats)) {
    out += fmt::format("  {:>12}   {}\n", with_thousands(stats.by_kind[k]), kind_text(k));
  }
  if (!info.skipped.empty()) out += "\n  skipped\n";
  for (const auto& [name, count] : info.skipped) {
    out += fmt::format("  {:>12}   {}\n", with_thousands(count), name);
  }
  return out;
}

nlohmann::ordered_json json_of(const Stats& stats, const trace::TraceInfo& info) {
  nlohmann::ordered_json json = {{"schema", kJsonSchema},
                                 {"file", info.file},
                                 {"encoding", info.encoding},
                                 {"kernel", info.kernel_text},
                                 {"events", stats.events}};
  for (size_t c = 0; c < kClasses; ++c) json["classes"][class_text(c)] = stats.by_class[c];
  json["cpus"] = stats.cpus.size();
  json["threads"] = stats.threads.size();
  json["vms"] = stats.vms.size();
  json["first_ns"] = stats.first_ns.value_or(0);
  json["last_ns"] = stats.last_ns.value_or(0);
  json["kinds"] = nlohmann::ordered_json::object();
  for (size_t k : kinds_by_count(stats)) json["kinds"][kind_text(k)] = stats.by_kind[k];
  json["skipped"] = info.skipped;
  json["malformed"] = info.malformed;
  json["lost"] = nlohmann::ordered_json::array();
  for (const trace::LostEvents& l : info.lost) {
    nlohmann::ordered_json count = nullptr;
    if (l.count != 0) count = l.count;
    json["lost"].push_back({{"count", count}, {"cpu", l.cpu}, {"line", l.source_line}});
  }
  return json;
}

int stats(const std::string& file, Session& session) {
  const auto source = session.open(file, true);
  Stats stats;
  {
    Progress progress;
    for (trace::Event e; !session.stopped() && source->next(e); progress.tick()) stats.add(e);
  }
  if (stats.events == 0) return session.fail(report::kExitNothing, file + ": no event");
  if (session.json) {
    session.print_json(json_of(stats, source->info()));
  } else {
    session.print(text_of(stats, source->info()));
  }
  return session.stopped() ? report::kExitInterrupted : report::kExitOk;
}

}  // namespace

void add_stats(CLI::App& app, Session& session) {
  auto file = std::make_shared<std::string>();
  CLI::App* sub = app.add_subcommand("stats", "count what is in a trace");
  sub->add_option("FILE", *file, "a trace; - is standard input")->required();
  sub->footer("\nExample:\n  mmucheck stats trace.txt.xz");
  sub->callback([file, &session] { session.exit_code = stats(*file, session); });
}

}  // namespace mmucheck::cli
