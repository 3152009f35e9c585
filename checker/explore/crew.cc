#include "checker/explore/crew.h"

#include <utility>

namespace mmucheck::explore {

Crew::Crew(unsigned workers) : failures_(workers), start_(workers), end_(workers) {
  for (unsigned i = 1; i < workers; i++) {
    threads_.emplace_back([this, i] {
      for (;;) {
        start_.arrive_and_wait();
        if (work_ == nullptr) return;
        do_work(i);
        end_.arrive_and_wait();
      }
    });
  }
}

Crew::~Crew() {
  work_ = nullptr;
  if (!threads_.empty()) start_.arrive_and_wait();
}

void Crew::do_work(unsigned worker) {
  try {
    (*work_)(worker);
  } catch (...) {
    failures_[worker] = std::current_exception();
  }
}

void Crew::run(const std::function<void(unsigned)>& work) {
  work_ = &work;
  if (!threads_.empty()) start_.arrive_and_wait();
  do_work(0);
  if (!threads_.empty()) end_.arrive_and_wait();
  work_ = nullptr;
  for (std::exception_ptr& e : failures_) {
    if (e) std::rethrow_exception(std::exchange(e, nullptr));
  }
}

}  // namespace mmucheck::explore
