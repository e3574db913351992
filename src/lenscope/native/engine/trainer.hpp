// The native engine's interface for its bindings: arrays in, arrays out. No Python and no instruction set here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../kernels/types.hpp"

namespace lenscope {

// The optimiser's state. The moments are in the order of the weights, empty where the rule has none.
struct State {
  std::int64_t steps = 0;
  std::vector<float> first, second;  // the velocity, or Adam's two moments
};

// Instruction sets that were compiled in and that this processor has, best first: avx512, avx2, baseline.
std::vector<std::string> instruction_sets();
const struct Kernels& kernels_of(const std::string& isa);  // throws std::invalid_argument for another name

class Trainer {
 public:
  // Throws std::invalid_argument for an `isa` that is not in instruction_sets().
  Trainer(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed, int threads,
          const std::string& isa);
  ~Trainer();

  // Takes one step per batch; batch i is indices[ends[i−1]] … indices[ends[i] − 1]. Returns how many losses it wrote:
  // fewer than steps if stop() returned true (the interrupted step changes nothing), or if a step was not finite: its
  // loss, the last, is NaN, and the weights are the last that gave a finite loss. `weights` is read first and written
  // last. The calling thread calls stop() about every 20 ms; an exception thrown by it stops the call and propagates.
  std::size_t run(std::span<float> weights, std::span<const std::int64_t> indices, std::span<const std::int64_t> ends,
                  std::span<const double> learning_rates, std::uint64_t epoch, const std::function<bool()>& stop,
                  std::span<float> losses);

  // After a step that was not finite: the weights whose loss it was, or that it would have led to.
  void refused(std::span<float> weights) const;

  // The mean loss of these images and its gradient, in the order of the weights.
  double gradient(std::span<const float> weights, std::span<const std::int64_t> indices, std::uint64_t epoch,
                  std::span<float> gradient);

  // One update with a given gradient; for tests against torch.optim.
  void update(std::span<float> weights, std::span<const float> gradient, double learning_rate);

  // How often the number of threads is reconsidered, and below which share of a processor; for tests (see pace.hpp).
  void reconsider(double every_seconds, double below_share);
  int thread_changes() const;  // how often it has changed

  State state() const;
  void set_state(const State& state);  // throws std::invalid_argument for wrong sizes

 private:
  std::unique_ptr<struct Learner> learner_;
};

// Log-probabilities (count, classes) of images.
void evaluate(Network network, std::span<const float> weights, const std::uint8_t* images, std::size_t count,
              int threads, const std::string& isa, float* log_probabilities);

// Distorted copies of images; image i is number indices[i] of its data set.
void augment(const Augmentation& how, std::uint64_t seed, std::uint64_t epoch, std::span<const std::int64_t> indices,
             const std::uint8_t* images, int channels, const std::string& isa, std::uint8_t* distorted);

}  // namespace lenscope
