// What the native engine offers to its bindings: arrays in, arrays out. No Python, no instruction set here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lenscope {

constexpr int image_size = 32;

// A LeNet by its two free sizes. Weights travel as one flat array in the order and the layout of
// LeNet.parameters(): conv1.weight (6, C, 5, 5), conv1.bias, conv2.weight (16, 6, 5, 5), conv2.bias,
// fc1.weight (120, 400), fc1.bias, fc2.weight (84, 120), fc2.bias, fc3.weight (classes, 84), fc3.bias.
struct Network {
  int channels = 1;   // 1 … 3
  int classes = 10;   // 1 … 1,000
  std::size_t weights() const;
};

enum class Rule { sgd, momentum, nesterov, adam, adamw };

struct Optimizer {
  Rule rule = Rule::adam;
  double momentum = 0.9;      // for momentum and nesterov
  double weight_decay = 0.0;  // L2; decoupled for adamw
};

// How far images are distorted; all zero leaves them alone. Units as in lenscope.data.augment.
struct Augmentation {
  float shift = 0, rotation = 0, scale = 0, shear = 0, elastic = 0, smoothness = 4;
  bool any() const { return shift != 0 || rotation != 0 || scale != 0 || shear != 0 || elastic != 0; }
};

struct Data {
  const std::uint8_t* images = nullptr;  // (count, channels, 32, 32)
  const std::int64_t* labels = nullptr;  // (count,), each in 0 … classes − 1
  std::size_t count = 0;
};

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

// Where the outputs of the layers go, each where it is not null: after ReLU where the layer has one, and pooled for
// pool1 and pool2; PyTorch's layouts, one image after another.
struct Activations {
  float *conv1 = nullptr, *pool1 = nullptr, *conv2 = nullptr, *pool2 = nullptr;  // (6, 28, 28), (6, 14, 14), …
  float *fc1 = nullptr, *fc2 = nullptr, *fc3 = nullptr;                          // (120,), (84,), (classes,)
};

// Log-probabilities (count, classes) of images.
void evaluate(Network network, std::span<const float> weights, const std::uint8_t* images, std::size_t count,
              int threads, const std::string& isa, float* log_probabilities, const Activations& activations);

// Distorted copies of images; image i is number indices[i] of its data set.
void augment(const Augmentation& how, std::uint64_t seed, std::uint64_t epoch, std::span<const std::int64_t> indices,
             const std::uint8_t* images, int channels, const std::string& isa, std::uint8_t* distorted);

// Float32 multiply-adds a second that the processor can do, on so many threads at once, over about so long.
double measure_peak(const std::string& isa, int threads, double seconds);

}  // namespace lenscope
