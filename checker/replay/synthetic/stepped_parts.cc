// The state of stepped threads part by part: a search keeps each part once, and puts back only what
// differs.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "checker/replay/synthetic/stepped_state.h"

namespace mmucheck::replay {

class SteppedState::Part {
 public:
  using Cells = std::vector<std::pair<model::Cell, uint64_t>>;
  struct Table {
    uint32_t id;
    Cells cells;
  };
  struct Others {
    Cells cells;
  };
  struct NoCells {
    std::unordered_map<uint32_t, uint32_t> roles;
    uint64_t next_frame;
    invariant::Monitor::Memory monitor;
  };
  struct Running {
    SyntheticReplayer::Thread thread;
    std::optional<model::TdxHook> hook;
  };

  explicit Part(std::variant<Table, Others, NoCells, Running> what) : what_(std::move(what)) {}

  void take_out(SyntheticReplayer& r) const {
    SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
    if (const auto* table = std::get_if<Table>(&what_)) {
      vm.model->store.free_table(table->id);
    } else if (const auto* others = std::get_if<Others>(&what_)) {
      for (const auto& [c, v] : others->cells) vm.model->store.set(c, 0);
    } else if (const auto* running = std::get_if<Running>(&what_)) {
      r.threads_.erase(running->thread.tid);
      vm.model->env.hooks_.erase(running->thread.tid);
    }
  }

  void put_in(SyntheticReplayer& r) const {
    SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
    ReplayEnv& env = vm.model->env;
    if (const auto* table = std::get_if<Table>(&what_)) {
      vm.model->store.put_table(table->id, table->cells);
    } else if (const auto* others = std::get_if<Others>(&what_)) {
      for (const auto& [c, v] : others->cells) {
        vm.model->store.set(c, v);
        if (c.kind == model::CellKind::kLpTranslation) {
          vm.model->follow(model::tdx::translated_gpa(c.index));
        }
      }
    } else if (const auto* nowhere = std::get_if<NoCells>(&what_)) {
      env.roles = nowhere->roles;
      env.next_provisional_ = nowhere->next_frame;
      vm.monitor->remember(nowhere->monitor);
    } else {
      const Running& running = std::get<Running>(what_);
      SyntheticReplayer::Thread& t = r.threads_[running.thread.tid] = running.thread;
      for (SyntheticReplayer::Task& task : t.stack) task.op.vm = vm.model.get();
      if (running.hook) env.hooks_[t.tid] = *running.hook;
    }
  }

 private:
  std::variant<Table, Others, NoCells, Running> what_;
};

SteppedState::KeptPart SteppedState::keep(const SyntheticReplayer& r, size_t i) {
  const SyntheticReplayer::Vm& vm = r.vms_.begin()->second;
  const ReplayEnv& env = vm.model->env;
  size_t parts = 0;
  Part::Cells cells;
  for_cells(
      vm.model->store, [&](size_t part) { parts = part + 1; },
      [&](model::Cell c, uint64_t v) {
        if (parts == i + 1) cells.emplace_back(c, v);
      });
  if (i < parts) {
    const bool table = !cells.empty() && cells[0].first.kind <= model::kLastTableField;
    if (table) return std::make_shared<const Part>(Part::Table{cells[0].first.object, cells});
    return std::make_shared<const Part>(Part::Others{std::move(cells)});
  }
  if (i == parts) {
    return std::make_shared<const Part>(
        Part::NoCells{env.roles, env.next_provisional_, vm.monitor->memory()});
  }
  size_t running = parts + 1;
  for (const auto& [tid, t] : r.threads_) {
    if (t.stack.empty() || running++ != i) continue;
    Part::Running kept{t, {}};
    kept.thread.queue.clear();  // a step begins with that
    kept.thread.queue_at = 0;
    const auto hook = env.hooks_.find(tid);
    if (hook != env.hooks_.end()) kept.hook = hook->second;
    return std::make_shared<const Part>(std::move(kept));
  }
  throw std::logic_error("a state has no such part");
}

std::vector<SteppedState::KeptPart> SteppedState::keep_all(const SyntheticReplayer& r) {
  std::vector<KeptPart> all;
  for (size_t i = 0, n = parts(r).size(); i < n; i++) all.push_back(keep(r, i));
  return all;
}

void SteppedState::put(SyntheticReplayer& r, std::span<const Part* const> now,
                       std::span<const Part* const> wanted) {
  const auto in = [](const Part* p, std::span<const Part* const> all) {
    return std::find(all.begin(), all.end(), p) != all.end();
  };
  // What a thread has left that does nothing is no part of a state.
  std::erase_if(r.threads_, [](const auto& t) { return t.second.stack.empty(); });
  std::erase_if(r.vms_.begin()->second.model->env.hooks_,
                [&](const auto& hook) { return !r.threads_.contains(hook.first); });
  for (const Part* p : now) {
    if (!in(p, wanted)) p->take_out(r);
  }
  for (const Part* p : wanted) {
    if (!in(p, now)) p->put_in(r);
  }
}

}  // namespace mmucheck::replay
