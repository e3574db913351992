// What the native engine offers to its bindings: arrays in, arrays out. No Python, no instruction set here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plain.hpp"

namespace lenscope {

// The optimiser's memory, in the order of the weights; empty where the rule keeps none.
struct State {
  std::int64_t steps = 0;
  std::vector<float> first, second;  // velocity, or Adam's two moments
};

// Instruction sets that were compiled in and that this processor has, best first: avx512, avx2, baseline.
std::vector<std::string> instruction_sets();

class Trainer {
 public:
  // Throws std::invalid_argument for a set of instructions that is not in instruction_sets().
  Trainer(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed, int threads,
          const std::string& isa);
  ~Trainer();

  // Take a step a batch: batch i is indices[ends[i−1]] … indices[ends[i] − 1]. Returns how many losses were written:
  // fewer than steps where stop() turned true (that step is as if it had not begun), or where a step was not finite
  // (its loss is NaN, the last, and the weights are those before it). `weights` is read first and written last.
  // stop() is called by the calling thread, every 20 ms or so; an exception of it comes through, as after a stop.
  std::size_t run(std::span<float> weights, std::span<const std::int64_t> indices, std::span<const std::int64_t> ends,
                  std::span<const double> learning_rates, std::uint64_t epoch, const std::function<bool()>& stop,
                  std::span<float> losses);

  // After a step that was lost or refused: the weights that it was taken from or would have led to.
  void refused(std::span<float> weights) const;

  // The mean loss of these images and its gradient, in the order of the weights.
  double gradient(std::span<const float> weights, std::span<const std::int64_t> indices, std::uint64_t epoch,
                  std::span<float> gradient);

  // One update with a gradient given (flat, like the weights); for tests against torch.optim.
  void update(std::span<float> weights, std::span<const float> gradient, double learning_rate);

  State state() const;
  void set_state(const State& state);  // throws std::invalid_argument for wrong sizes

  struct Impl;  // trainer.cpp's own

 private:
  std::unique_ptr<Impl> impl_;
};

// Log-probabilities (count, classes) of images.
void evaluate(Network network, std::span<const float> weights, const std::uint8_t* images, std::size_t count,
              int threads, const std::string& isa, float* log_probabilities);

// Distorted copies of images; image i is number indices[i] of its data set.
void augment(const Augmentation& how, std::uint64_t seed, std::uint64_t epoch, std::span<const std::int64_t> indices,
             const std::uint8_t* images, int channels, const std::string& isa, std::uint8_t* distorted);

// Float32 multiply-adds a second that the processor can do, on so many threads at once, over about so long.
double measure_peak(const std::string& isa, int threads, double seconds);

}  // namespace lenscope
