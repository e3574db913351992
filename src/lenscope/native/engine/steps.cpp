#include "steps.hpp"

#include <chrono>
#include <cmath>
#include <exception>
#include <limits>

#include "parallel.hpp"

namespace lenscope {
namespace {

constexpr auto stop_interval = std::chrono::milliseconds(20);

// Each thread follows the steps on its own; what it decides depends on values that all threads read alike.
class Steps {
 public:
  Steps(Learner& learner, const Batches& batches, const std::function<bool()>& stop, std::span<float> losses)
      : learner_(learner), batches_(batches), stop_(stop), losses_(losses), barrier_(learner.threads) {}

  Taken run() {
    ask_to_stop();
    if (!stopping_ && !batches_.ends.empty()) run_parallel(learner_.threads, [this](int thread) { work(thread); });
    return taken_;
  }

 private:
  void work(int thread) {
    std::size_t step = 0;
    int current = learner_.current;
    const std::int64_t before = learner_.steps_done;
    Outcome outcome = Outcome::done;
    for (; step < batches_.ends.size() && !stopping_; ++step) {
      outcome = take(thread, step, current, before + std::int64_t(step) + 1);
      if (outcome != Outcome::done) break;
      current = 1 - current;
    }
    if (thread == 0) conclude(step, current, outcome);
  }

  void conclude(std::size_t step, int current, Outcome outcome) {
    taken_.steps = step;
    taken_.outcome = outcome;
    if (!batches_.rates.empty()) {
      learner_.steps_done += std::int64_t(step);
      learner_.current = outcome == Outcome::lost ? 1 - current : current;
    }
    if (outcome != Outcome::lost && outcome != Outcome::refused) return;
    losses_[step] = std::numeric_limits<float>::quiet_NaN();
    learner_.refused.copy_from(learner_.weights[1 - learner_.current]);
  }

  // One step, number `number` of the training, from the weights `current` to the others.
  Outcome take(int thread, std::size_t step, int current, std::int64_t number) {
    const std::int64_t begin = step ? batches_.ends[step - 1] : 0, count = batches_.ends[step] - begin;
    const int parts = int((count + micro_batch - 1) / micro_batch);
    const float* from = learner_.weights[current].get();
    double loss = 0;
    learner_.clear_shards(thread);
    for (int part = 0; part < parts; ++part) {
      if (part > 0 && stopping_) return Outcome::stopped;
      const std::int64_t first = begin + count * part / parts, end = begin + count * (part + 1) / parts;
      const auto micro = batches_.indices.subspan(first, end - first);
      const bool last = part + 1 == parts, update = last && !batches_.rates.empty();
      learner_.images_phase(thread, from, micro, 1.0 / double(count), batches_.epoch);
      barrier_.wait();
      for (std::size_t image = 0; image < micro.size(); ++image) loss += learner_.activations.view.losses[image];
      if (!std::isfinite(loss)) return Outcome::lost;
      if (last && thread == 0) losses_[step] = float(loss / double(count));
      const Update rule = update ? learner_.update_of(number, batches_.rates[step]) : Update{};
      if (learner_.weights_phase(thread, int(micro.size()), part > 0, last, update ? &rule : nullptr, from,
                                 learner_.weights[1 - current].get()))
        broken_ = true;
      if (thread == 0 && std::chrono::steady_clock::now() - asked_ > stop_interval) ask_to_stop();
      barrier_.wait();
    }
    return broken_ ? Outcome::refused : Outcome::done;
  }

  void ask_to_stop() {
    try {
      if (stop_ && stop_()) stopping_ = true;
    } catch (...) {
      taken_.failure = std::current_exception();
      stopping_ = true;
    }
    asked_ = std::chrono::steady_clock::now();
  }

  Learner& learner_;
  const Batches& batches_;
  const std::function<bool()>& stop_;
  const std::span<float> losses_;
  Barrier barrier_;
  std::atomic<bool> stopping_{false}, broken_{false};  // written between the barriers of a micro-batch, read after them
  std::chrono::steady_clock::time_point asked_;        // of thread 0 alone, as the next
  Taken taken_{0, Outcome::done, {}};
};

}  // namespace

Taken take_steps(Learner& learner, const Batches& batches, const std::function<bool()>& stop, std::span<float> losses) {
  return Steps(learner, batches, stop, losses).run();
}

}  // namespace lenscope
