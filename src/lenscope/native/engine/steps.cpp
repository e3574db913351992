#include "steps.hpp"

#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <exception>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "parallel.hpp"

namespace lenscope {
namespace {

constexpr double stop_interval = 0.02;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// For how long the calling thread has run; 0 where the system does not say, so that it always seems too little.
double processor_seconds() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  timespec time{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
#endif
  return 0;
}

// Each thread follows the steps on its own; what it decides depends on values that all threads read alike.
class Steps {
 public:
  Steps(Learner& learner, const Batches& batches, const std::function<bool()>& stop, std::span<float> losses)
      : learner_(learner), batches_(batches), stop_(stop), losses_(losses) {}

  Taken run() {
    ask_to_stop();
    learner_.pace.begin(seconds(), processor_seconds());
    while (!stopping_ && taken_.outcome == Outcome::done && taken_.steps < batches_.ends.size()) take_some();
    learner_.pace.end(images_, seconds(), processor_seconds());
    return taken_;
  }

 private:
  // Steps with one number of threads, until the learner's pace changes it.
  void take_some() {
    learner_.set_threads(learner_.pace.threads());
    barrier_.emplace(learner_.threads);
    changing_ = false;
    try {
      run_parallel(learner_.threads, [this](int thread) { work(thread); });
    } catch (const std::system_error&) {
      if (taken_.steps == 0) throw;
      learner_.pace.keep_to_one();
    }
  }

  void work(int thread) {
    const std::size_t first = taken_.steps;
    std::size_t step = first;
    int current = learner_.current;
    const std::int64_t before = learner_.steps_done - std::int64_t(first);
    Outcome outcome = Outcome::done;
    for (; step < batches_.ends.size() && !stopping_ && !changing_; ++step) {
      outcome = take(thread, step, current, before + std::int64_t(step) + 1);
      if (outcome != Outcome::done) break;
      current = 1 - current;
    }
    if (thread == 0) conclude(step - first, current, outcome);
  }

  void conclude(std::size_t steps, int current, Outcome outcome) {
    const std::size_t step = taken_.steps += steps;
    taken_.outcome = outcome;
    if (!batches_.rates.empty()) {
      learner_.steps_done += std::int64_t(steps);
      learner_.current = outcome == Outcome::lost ? 1 - current : current;
    }
    if (outcome != Outcome::lost && outcome != Outcome::refused) return;
    losses_[step] = std::numeric_limits<float>::quiet_NaN();
    learner_.refused.copy_from(learner_.weights[1 - learner_.current]);
  }

  // One step, from the weights `current` to the others; `step_number` counts from the training's first step, 1.
  Outcome take(int thread, std::size_t step, int current, std::int64_t step_number) {
    const std::int64_t begin = step ? batches_.ends[step - 1] : 0, count = batches_.ends[step] - begin;
    const Division division = division_of(count);
    const int parts = int((count + division.images - 1) / division.images);
    const float* from = learner_.weights[current].get();
    double loss = 0;
    for (int number = 0; number < parts; ++number) {
      if (number > 0 && stopping_) return Outcome::stopped;
      const std::int64_t first = begin + count * number / parts, end = begin + count * (number + 1) / parts;
      const Part part{batches_.indices.subspan(first, end - first), 1.0 / double(count), division.shards, number == 0,
                      number + 1 == parts};
      const bool update = part.last && !batches_.rates.empty();
      learner_.images_phase(thread, part, from, batches_.epoch);
      barrier_->wait();
      for (std::size_t image = 0; image < part.indices.size(); ++image) loss += learner_.activations.view.losses[image];
      if (!std::isfinite(loss)) return Outcome::lost;
      if (part.last && thread == 0) losses_[step] = float(loss / double(count));
      const Update rule = update ? learner_.update_of(step_number, batches_.rates[step]) : Update{};
      if (learner_.weights_phase(thread, part, update ? &rule : nullptr, from, learner_.weights[1 - current].get()))
        broken_ = true;
      if (thread == 0) look_up(std::int64_t(part.indices.size()), part.last);
      barrier_->wait();
    }
    return broken_ ? Outcome::refused : Outcome::done;
  }

  // What the first thread does while the others wait, or still work.
  void look_up(std::int64_t images, bool last) {
    const double now = seconds();
    if (now - asked_ > stop_interval) ask_to_stop();
    images_ += images;
    if (!last || !learner_.pace.is_due(now)) return;
    if (learner_.pace.note(std::exchange(images_, 0), now, processor_seconds())) changing_ = true;
  }

  void ask_to_stop() {
    try {
      if (stop_ && stop_()) stopping_ = true;
    } catch (...) {
      taken_.failure = std::current_exception();
      stopping_ = true;
    }
    asked_ = seconds();
  }

  Learner& learner_;
  const Batches& batches_;
  const std::function<bool()>& stop_;
  const std::span<float> losses_;
  std::optional<Barrier> barrier_;
  // Written between the barriers of a micro-batch, read after them.
  std::atomic<bool> stopping_{false}, broken_{false}, changing_{false};
  // Of the first thread alone, which would otherwise take the cache line that the others wait for.
  alignas(64) double asked_ = 0;
  std::int64_t images_ = 0;
  Taken taken_{0, Outcome::done, {}};
};

}  // namespace

Taken take_steps(Learner& learner, const Batches& batches, const std::function<bool()>& stop, std::span<float> losses) {
  return Steps(learner, batches, stop, losses).run();
}

}  // namespace lenscope
