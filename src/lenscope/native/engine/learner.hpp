// A LeNet in training, and what one thread does in each phase of a step; steps.cpp brings the threads together.
//
// A step has two phases. In the first, each thread takes its images from pixels to gradients; convolution gradients are
// summed in shards of the batch, each by one thread. In the second, each thread takes its units of parameters: their
// gradient, summed over all images in order, and the update. So no sum depends on the number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../kernels/kernels.hpp"
#include "buffers.hpp"
#include "pace.hpp"

namespace lenscope {

// Work of one thread in the second phase: rows of a dense layer's weights, its bias, or both convolutions.
struct Unit {
  enum Kind { dense_rows, dense_bias, convolutions } kind;
  int layer, begin, end;  // rows of a dense layer
  int at, count;          // its parameters in the engine's array
};

// What the phases need to know of a micro-batch.
struct Part {
  std::span<const std::int64_t> indices;
  double scale;  // 1 / images of the whole batch
  int shards;
  bool first, last;  // of its batch
};

struct Learner {
  Learner(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed, int threads,
          const Kernels& kernels);

  void scatter(std::span<const float> from, float* to) const;  // from the interface's order to the engine's
  void gather(std::span<float> to, const float* from) const;   // and back
  void set_weights(std::span<const float> from);

  // How many threads take the next steps, at most as many as given to the constructor.
  void set_threads(int count);
  // The first phase: this thread's images of a micro-batch.
  void images_phase(int thread, const Part& part, const float* weights, std::uint64_t epoch);
  // The second phase: adds the gradient to that of the micro-batches before. After the last one updates by `rule`,
  // unless it is null, from `from` to `to`; true where a number is not finite.
  bool weights_phase(int thread, const Part& part, const Update* rule, const float* from, float* to);
  Update update_of(std::int64_t step, double rate) const;
  Parameters parameters(const float* from, float* to, int at);

  const Kernels& kernels;
  const Model model;
  const Optimizer optimizer;
  const Data data;
  const Augmentation augmentation;
  const std::uint64_t seed;
  Pace pace;
  int threads, thread_changes = 0;
  const std::vector<int> offsets, convolution_offsets;  // of parameters, of convolution gradients in a shard
  Buffer<float> weights[2];  // the current ones; and those before the last update, or being written by the next
  int current = 0;
  bool has_previous = false;  // whether the others are those before the last update
  Buffer<float> first, second, first_at_start, second_at_start;  // the moments, now and at the start of the call
  Buffer<float> gradient, refused, shard_values, shard_total;
  std::int64_t steps_done = 0;
  PackedBuffers packed;
  ActivationBuffers activations;
  std::vector<std::unique_ptr<ScratchBuffers>> scratch;
  std::vector<std::vector<Unit>> units;  // per thread

 private:
  struct DenseLayer {
    DenseGradient gradient;
    int weight, bias;  // where its parameters start
  };
  DenseLayer dense_layer(int number, int images) const;
  std::vector<Unit> all_units() const;
  void clear_shards(int begin, int end);
  void dense_gradient(const Unit& unit, const Part& part);
  void convolution_gradient(int shards);
  bool work_on(const Unit& unit, const Part& part, const Update* rule, const float* from, float* to);
};

}  // namespace lenscope
