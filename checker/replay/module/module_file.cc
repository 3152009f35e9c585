#include "checker/replay/module/module_file.h"

#include <memory>

#include "checker/replay/module/module_tables.h"
#include "checker/replay/sequence/sequence_file.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {
namespace {

using trace::TraceError;
using trace::TraceErrorKind;

void count(ModuleResult& result, const std::optional<ModuleDifference>& difference) {
  result.calls++;
  if (!difference) {
    result.agree++;
  } else if (!result.first_difference) {
    result.first_difference = difference;
  }
}

// What the first line began.
class Reader {
 public:
  void line(std::string_view text, uint64_t number) {
    if (number == 1) {
      begin(text);
    } else if (table_) {
      table_row(text, number);
    } else {
      ModuleRecord r = read_module_record(parse_sequence_line(text));
      machine_->run(r);
      const auto difference = compare_module_call(*machine_, r);
      if (difference) machine_->adopt(r);
      count(result, difference);
    }
  }

  ModuleResult result;

 private:
  void begin(std::string_view text) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    table_ = module_table_of(text);
    if (table_) return;
    machine_ = std::make_unique<ModuleMachine>(read_module_header(parse_sequence_line(text)));
  }
  void table_row(std::string_view text, uint64_t number) {
    const TableRow row = split_row(text);
    const auto d = check_row(*table_, row);
    if (!d) return count(result, std::nullopt);
    const size_t leaf = *table_ == ModuleTable::kContention ? 0
                        : *table_ == ModuleTable::kParent   ? 3
                                                            : 4;
    count(result, ModuleDifference{static_cast<int64_t>(number), row[leaf], d->expected, d->got});
  }

  std::optional<ModuleTable> table_;
  std::unique_ptr<ModuleMachine> machine_;
};

}  // namespace

ModuleResult run_module_file(trace::ByteStream& in, const std::atomic<bool>* stop) {
  Reader reader;
  for_each_sequence_line(
      in, stop,
      [&](const std::string& line, uint64_t number, const FailLine& fail) {
        try {
          reader.line(line, number);
        } catch (const BadSequence& e) {
          fail(TraceErrorKind::kCorrupt, e.what());
        } catch (const BadModuleTable& e) {
          fail(TraceErrorKind::kCorrupt, e.what());
        }
      },
      [&](uint64_t lines, const FailLine& fail) {
        if (lines == 0) fail(TraceErrorKind::kTruncated, "the file is empty");
      });
  return reader.result;
}

}  // namespace mmucheck::replay
