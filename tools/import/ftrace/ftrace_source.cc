#include "tools/import/ftrace/ftrace_source.h"

#include <utility>
#include <vector>

#include "tools/import/ftrace/config_packets.h"
#include "tools/import/ftrace/input_packet.h"
#include "tools/import/ftrace/inputs.h"
#include "tools/import/ftrace/markers.h"
#include "tools/import/ftrace/meta.h"
#include "tools/import/ftrace/normalizer.h"
#include "tools/import/ftrace/parser.h"
#include "tools/import/ftrace/placed_probes.h"
#include "tools/import/ftrace/profile.h"
#include "tools/import/ftrace/tokenizer.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

constexpr size_t kWindow = kFarAhead;  // how far rules may look ahead, in events
constexpr size_t kMaxNames = 1024;  // distinct names in the counts of the report
constexpr size_t kMaxLostRecords = 65536;
constexpr size_t kMaxEventsToVm = 64;  // how far in its own thread an event's VM may be found
constexpr std::string_view kOtherNames = "(other)";

struct Item {
  Event event;
  std::string text;
  const MirrorFacts* mirror = nullptr;
  bool vm_certain = false;
  bool vm_contested = false;
};

void count_name(std::map<std::string, uint64_t>& counts, std::string_view name) {
  const std::string key(name.empty() ? kOtherNames : name);
  const auto it = counts.find(key);
  if (it != counts.end()) {
    ++it->second;
  } else if (counts.size() < kMaxNames) {
    counts.emplace(key, 1);
  } else {
    ++counts[std::string(kOtherNames)];
  }
}

Line overlong_line() {
  Line line;
  line.kind = LineKind::kMalformed;
  return line;
}

class Source final : public FtraceSource {
 public:
  Source(std::unique_ptr<trace::ByteStream> stream, const FtraceOptions& options)
      : stream_(std::move(stream)) {
    window_.reserve(kWindow);  // pages that nobody looks at stay untouched
    if (!stream_->can_rewind()) stream_->make_rewindable();
    if (options.side_files) side_ = read_side_files(stream_->name());
    if (!options.probe_list) side_.probes.clear();
    first_pass();
    apply_overrides(options, side_, profile_);
    normalizer_ = std::make_unique<Normalizer>(profile_);
    kernel_text_ = kernel_text(profile_, side_);
    fill_info();
    out_ = config_packets(options, side_, profile_, first_settings_, kernel_text_);
    for (const Event& e : out_) {
      if (e.kind == EventKind::kModuleParams && e.has(f::module_params::nx_huge_pages)) {
        profile_.nx_at_start = e.get(f::module_params::nx_huge_pages) != 0;
      }
    }
    splitter_ = std::make_unique<InputSplitter>(profile_);
    add_losses_at_ends();
    stream_->rewind();
  }

  bool next(Event& event) override {
    while (out_next_ == out_.size()) {
      if (!refill()) {
        finish();
        return false;
      }
    }
    event = out_[out_next_++];
    event.seq = ++info_.packets;
    return true;
  }

  const trace::TraceInfo& info() const override { return info_; }
  const ImportReport& report() const override { return report_; }

 private:
  void first_pass() {
    Profiler profiler;
    trace::Line raw;
    uint64_t events = 0;
    uint64_t first_bad = 0;
    while (stream_->next_line(raw)) {
      const Line line = raw.overlong ? overlong_line() : tokenize(raw.text);
      if (line.kind == LineKind::kMalformed && first_bad == 0) first_bad = raw.number;
      if (line.kind == LineKind::kEvent) ++events;
      profiler.see(line);
      if (line.kind == LineKind::kEvent && line.body.starts_with("PARAM ")) {
        MarkerFacts facts[2];
        if (read_marker(line.body, facts) == 1) {
          first_settings_.try_emplace(static_cast<trace::ModuleParam>(facts[0].name),
                                      facts[0].value);
        }
      }
    }
    if (events == 0 && first_bad != 0) {
      throw trace::TraceError(trace::TraceErrorKind::kUnknownFormat,
                              {stream_->name(), 0, first_bad, -1},
                              "no line of an ftrace text in this file");
    }
    profile_ = profiler.finish();
  }

  void fill_info() {
    info_.file = stream_->name();
    info_.encoding = "ftrace";
    info_.compression = std::string(stream_->compression());
    info_.kernel = profile_.kernel;
    info_.kernel_text = kernel_text_;
    info_.clock =
        profile_.counter_clock ? trace::ClockKind::kCounter : trace::ClockKind::kNanoseconds;
    info_.loss = loss_state(profile_, side_);
    for (const CpuDrops& cpu : side_.drops) info_.lost_in_all[cpu.cpu] = cpu.dropped + cpu.overrun;
    info_.capabilities = profile_.kinds;
    info_.silent = silent_kinds(side_.probes, profile_.kinds);
    info_.capabilities_known = true;
    report_.capabilities = profile_.kinds;
    report_.kernel = profile_.kernel;
  }

  // What the header or the ring's statistics say is missing has no line of its own.
  void add_losses_at_ends() {
    for (const trace::LostEvents& lost : losses_before_and_after(profile_, side_)) {
      if (lost.how == trace::LossHow::kHeader) {
        out_.push_back(lost_event(lost));
      } else {
        at_end_.push_back(lost_event(lost));
      }
      record_loss(lost);
    }
  }

  static Event lost_event(const trace::LostEvents& lost) {
    Event e;
    trace::start_event(e, EventKind::kLostEvents);
    e.source_line = lost.source_line;
    if (lost.count != 0) e.set(f::lost_events::count, lost.count);
    if (lost.cpu != UINT32_MAX) {
      e.cpu = lost.cpu;
      e.set(f::lost_events::cpu, lost.cpu);
    }
    e.set(f::lost_events::how, static_cast<uint64_t>(lost.how));
    return e;
  }

  void record_loss(const trace::LostEvents& lost) {
    if (info_.lost.size() < kMaxLostRecords) {
      info_.lost.push_back(lost);
      report_.lost.push_back(lost);
    }
  }

  Item& at(size_t index) { return window_[(begin_ + index) & (kWindow - 1)]; }
  Item& add_to_window() {
    const size_t place = (begin_ + count_++) & (kWindow - 1);
    if (place == window_.size()) window_.emplace_back();
    return window_[place];
  }

  void push_loss(const trace::LostEvents& lost, uint64_t offset) {
    record_loss(lost);
    normalizer_->forget_threads();
    Item& item = add_to_window();
    item.event = lost_event(lost);
    item.event.source_offset = offset;
    item.mirror = nullptr;
    item.vm_certain = false;
    item.vm_contested = false;
  }

  void bad_line(const trace::Line& raw) {
    ++info_.malformed;
    ++report_.malformed;
    if (report_.first_malformed_line == 0) report_.first_malformed_line = raw.number;
  }

  // Reads lines until the window has one event more; false at the end.
  bool read_one() {
    trace::Line raw;
    while (stream_->next_line(raw)) {
      ++report_.lines;
      if (raw.overlong) {
        ++report_.overlong;
        bad_line(raw);
        continue;
      }
      const Line line = tokenize(raw.text);
      switch (line.kind) {
        case LineKind::kEvent:
          if (read_event(line, raw)) return true;
          break;
        case LineKind::kLost:
          push_loss(
              {line.a, line.cpu,
               line.has_count ? trace::LossHow::kCounted : trace::LossHow::kUncounted, raw.number},
              raw.offset);
          return true;
        case LineKind::kBufferStarted:
          // With a start that was overwritten, this CPU's events begin only here.
          if (profile_.header_kept == profile_.header_written) break;
          push_loss({0, line.cpu, trace::LossHow::kHeader, raw.number}, raw.offset);
          return true;
        case LineKind::kMalformed: bad_line(raw); break;
        case LineKind::kBlank:
        case LineKind::kComment:
        case LineKind::kEntries: break;
      }
    }
    return false;
  }

  bool read_event(const Line& line, const trace::Line& raw) {
    const EventKind kind = parser().kind_of(line.event);
    if (kind == EventKind::kNone) {
      count_name(report_.skipped, line.event);
      count_name(info_.skipped, line.event);
      return false;
    }
    if (parser().parse(line, kind, raw_) != ParseResult::kOk) {
      count_name(report_.bad, line.event);
      bad_line(raw);
      return false;
    }
    ++read_counts_[static_cast<size_t>(kind)];
    raw_.event.source_line = raw.number;
    raw_.event.source_offset = raw.offset;
    fill_as_id(raw_.event);
    const Normalizer::Result result = normalizer_->resolve(raw_);
    Item& item = add_to_window();
    item.event = raw_.event;
    item.mirror = kind == EventKind::kInitVm ? normalizer_->mirror_facts(raw_.kvm) : nullptr;
    item.vm_certain = result.vm_certain;
    item.vm_contested = result.vm_contested;
    if (!raw_.event.text.empty()) {
      item.text.assign(raw_.event.text);
      item.event.text = item.text;
    }
    return true;
  }

  // 7.2's changed_spte names the table, whose role has the address space: SMM, bits 31:24
  // (mmu_internal.h: kvm_mmu_page_as_id).
  static void fill_as_id(Event& e) {
    namespace c = f::changed_spte;
    if (e.kind != EventKind::kChangedSpte || e.has(c::as_id) || !e.has(c::role)) return;
    e.set(c::as_id, (e.get(c::role) >> 24 & 0xff) != 0);
  }

  // The event `index` places behind the head of the window.
  Item* ahead(size_t index) {
    while (index + 1 >= count_) {
      if (count_ + 1 >= kWindow || !read_one()) return nullptr;
    }
    return &at(index + 1);
  }

  // A fault that was told to retry comes again.
  static bool is_same_fault(const Event& a, const Event& b) {
    namespace c = f::page_fault;
    return b.kind == EventKind::kPageFault && a.get(c::vcpu_id) == b.get(c::vcpu_id) &&
           a.get(c::address) == b.get(c::address) &&
           a.get(c::error_code) == b.get(c::error_code);
  }

  // A VM that only what follows in the thread can tell.
  void settle_vm(Item& item, const LookAhead& look) {
    const EventKind kind = item.event.kind;
    const bool unknown =
        item.event.vm == 0 && (kind == EventKind::kAgeHva || kind == EventKind::kTestAgeHva ||
                               kind == EventKind::kGmemPunchHole || kind == EventKind::kPageFault ||
                               kind == EventKind::kUnmapHvaRange);
    if (!unknown && !item.vm_contested) return;
    size_t index = 0;
    for (size_t n = 0; n < kMaxEventsToVm; ++n) {
      const Event* next = next_of_thread(item.event, look, index);
      if (next == nullptr) return;
      if (next->kind == EventKind::kPageFault && !is_same_fault(*next, item.event)) return;
      if (!at(index).vm_certain) continue;  // `index` is now one behind, so at() is that event
      const bool notifier = next->kind == EventKind::kMnInvStart ||
                            next->kind == EventKind::kMnInvEnd ||
                            next->kind == EventKind::kInvBegin ||
                            next->kind == EventKind::kInvAdd || next->kind == EventKind::kInvEnd;
      if (kind == EventKind::kPageFault && notifier) continue;  // may be another VM's
      item.event.vm = next->vm;
      return;
    }
  }

  bool refill() {
    out_.clear();
    out_next_ = 0;
    if (has_head_) {
      begin_ = (begin_ + 1) & (kWindow - 1);
      --count_;
      has_head_ = false;
    }
    if (count_ == 0) begin_ = 0;  // stay in the cache while nothing looks ahead
    if (count_ == 0 && !read_one()) {
      out_.swap(at_end_);
      return !out_.empty();
    }
    has_head_ = true;
    Item& head = at(0);
    const LookAhead look = [this](size_t index) -> const Event* {
      const Item* item = ahead(index);
      return item != nullptr ? &item->event : nullptr;
    };
    settle_vm(head, look);
    after_.clear();
    splitter_->split(head.event, head.mirror, look, out_, after_);
    std::erase_if(out_, [](const Event& e) { return !can_be(e); });
    for (const Event& e : out_) ++written_counts_[static_cast<size_t>(e.kind)];
    for (const Event& e : after_) ++written_counts_[static_cast<size_t>(e.kind)];
    out_.push_back(head.event);
    out_.insert(out_.end(), after_.begin(), after_.end());
    return true;
  }

  void finish() {
    if (finished_) return;
    finished_ = true;
    for (const trace::KindInfo& info : trace::all_kinds()) {
      const size_t i = static_cast<size_t>(info.kind);
      if (read_counts_[i] != 0) {
        report_.read[std::string(info.kernel_name)] = read_counts_[i];
      }
      if (written_counts_[i] != 0) report_.written[std::string(info.name)] = written_counts_[i];
    }
    report_.outside_direct_map = normalizer_->outside_direct_map();
    report_.untracked_vms = normalizer_->vms().overflow();
    report_.vms = normalizer_->vms().count();
  }

  std::unique_ptr<trace::ByteStream> stream_;
  SideFiles side_;
  Profile profile_;
  FirstSettings first_settings_;
  std::string kernel_text_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<InputSplitter> splitter_;
  trace::TraceInfo info_;
  ImportReport report_;
  std::array<uint64_t, trace::kEventKindLimit> read_counts_{};
  std::array<uint64_t, trace::kEventKindLimit> written_counts_{};
  RawEvent raw_;

  std::vector<Item> window_;  // a ring: begin_ is the event at hand, the rest was looked ahead at
  size_t begin_ = 0;
  size_t count_ = 0;
  bool has_head_ = false;
  std::vector<Event> out_;
  std::vector<Event> after_;
  std::vector<Event> at_end_;
  size_t out_next_ = 0;
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<FtraceSource> open_ftrace(std::unique_ptr<trace::ByteStream> stream,
                                          const FtraceOptions& options) {
  return std::make_unique<Source>(std::move(stream), options);
}

bool sniff_ftrace(std::string_view prefix) {
  if (prefix.starts_with("# tracer:")) return true;
  constexpr int kLines = 64;
  for (int n = 0; n < kLines && !prefix.empty(); ++n) {
    const size_t end = prefix.find('\n');
    const Line line = tokenize(prefix.substr(0, end));
    if (line.kind == LineKind::kEvent || line.kind == LineKind::kLost ||
        line.kind == LineKind::kEntries) {
      return true;
    }
    if (end == std::string_view::npos) break;
    prefix.remove_prefix(end + 1);
  }
  return false;
}

trace::Format ftrace_format(const FtraceOptions& options) {
  return {"ftrace", sniff_ftrace,
          [options](std::unique_ptr<trace::ByteStream> stream, const trace::OpenOptions&) {
            return std::unique_ptr<trace::EventSource>(open_ftrace(std::move(stream), options));
          }};
}

}  // namespace mmucheck::import
