#include "checker/replay/synthetic/under_designs.h"

#include <deque>
#include <utility>

#include "checker/replay/synthetic/overlapping.h"
#include "checker/replay/synthetic/synthetic_replayer.h"

namespace mmucheck::replay {

std::vector<report::Verdict> replay_under(trace::EventSource& source,
                                          std::span<const model::Design> designs,
                                          const std::function<bool()>& tick) {
  std::deque<SyntheticReplayer> replayers;
  for (const model::Design& d : designs) replayers.emplace_back(source.info(), &d);
  bool stopped = false;
  Overlapping ordered(source);
  for (trace::Event e; !stopped && ordered.next(e);) {
    for (SyntheticReplayer& r : replayers) r.event(e);
    if (tick) stopped = !tick();
  }
  std::vector<report::Verdict> verdicts;
  for (SyntheticReplayer& r : replayers) {
    r.finish(source.info());
    verdicts.push_back(std::move(r.verdict()));
    verdicts.back().interrupted = stopped;
    verdicts.back().expected.reset();
  }
  return verdicts;
}

}  // namespace mmucheck::replay
