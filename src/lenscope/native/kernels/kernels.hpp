// What one instruction set offers, and the memory that it works on: the only header shared by the engine and the sets.
// Plain data and pointers to functions; nothing here may become code that the linker could merge between sets.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "types.hpp"

namespace lenscope {

constexpr int block_images = 8;  // that a thread takes from pixels to gradients at a time: 150 KB, within L2

// How a batch is divided, by its size alone. A large one is taken in equal micro-batches of at most `images`, whose
// activations are kept for the dense layers' gradients. A micro-batch has `shards` of about the same size, each with
// convolution gradients of its own, summed in order; threads share them, so that 48 serve more threads than 12.
struct Division {
  int shards, images;
};
constexpr Division small_batches{12, 240}, large_batches{48, 960};
constexpr Division division_of(int64_t batch) { return batch <= small_batches.images ? small_batches : large_batches; }

constexpr int pad16(int count) { return (count + 15) / 16 * 16; }
constexpr int pad4(int rows) { return (rows + 3) / 4 * 4; }

// Sizes in floats of the padded rows.
constexpr int pool1_floats = 6 * 14 * 16, features = 400, fc1_row = 128, fc2_row = 96;

// Where each parameter starts in the engine's own flat array. Convolution weights are laid out as PyTorch's. Dense
// weights are (out, in) as PyTorch's, with rows padded to 16 floats and fc1's inputs in the order (position, channel),
// in which conv2 writes them.
struct Layout {
  int conv1_weight, conv1_bias, conv2_weight, conv2_bias;
  int fc1_weight, fc1_bias, fc2_weight, fc2_bias, fc3_weight, fc3_bias, end;
};

// One shard's convolution gradients, in the order in which the kernels sum them.
struct ShardLayout {
  int conv1, conv2, conv2_bias, end;  // conv1 [6][C][2][16], conv2 [16][5][32], conv2_bias [16]
};

struct Model {
  Network network;
  Layout layout;
  ShardLayout shard_layout;
  int classes_padded;
};

// The convolutions' weights in the orders that the kernels read.
struct PackedWeights {
  float* conv1;           // [C][5 dy][5 dx][8], six output channels
  float* conv2;           // [6][5 dy][5 dx][16]
  float* conv2_backward;  // [16][2 column shifts][7 rows and 2 of tails][32]
};

// What a micro-batch of n images keeps for the dense layers' gradients.
struct Activations {
  float *features, *fc1, *fc2;   // [n][400], [n][128], [n][96]
  float *d_fc1, *d_fc2, *d_fc3;  // gradients of fc1, of fc2 and of the logits [n][padded classes]
  float* losses;                 // [n]
};

// One thread's memory for a block of B images.
struct Scratch {
  float* pixels;             // [C][32][32] and a row of zeros: rows split into even and odd columns
  float* patches1;           // [2][C][28][32][3] and zeros: im2row of conv1's input
  float* pool1;              // [B][6][14][16]
  int32_t* argmax1;          // [B][6][14][16]: where in `patches1` the patch of the pool's maximum starts
  int32_t* argmax2;          // [B][25][16]: 2 · row + column of the pool's maximum
  float* patches2;           // [14][10][32]: im2row of conv2's input
  float* d_features;         // [B][400]
  float* d_pool1;            // [B][14][96]
  int32_t* patch_offsets;    // [25][16]: where in `patches2` the patch of each maximum starts
  int32_t* weight_offsets;   // [B][25][16]: where in `conv2_backward` its weights start
  uint8_t* distorted;        // [B][C][32][32]
};

// One thread's images of a micro-batch.
struct Slice {
  const Model* model;
  const float* weights;
  const PackedWeights* packed;
  const Activations* activations;
  const Scratch* scratch;
  Data data;
  const int64_t* indices;  // of the micro-batch's images
  int images;              // in the micro-batch
  int begin, end;          // this thread's
  double scale;            // 1 / images of the whole batch
  int shards;              // of the micro-batch
  float* shard_values;     // [shards][shard_layout.end]
  const Augmentation* augmentation;
  uint64_t seed, epoch;
};

struct Update {
  Rule rule;
  float rate, momentum, weight_decay;
  float one_minus_beta1, beta2, one_minus_beta2;
  float step_size, root_correction, epsilon;  // rate / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ)
};

// Weights before and after an update, and the optimiser's moments.
struct Parameters {
  const float* before;
  float *first, *second, *after;
};

// What the gradient of a dense layer's weights is made of: gradients of its outputs, and its inputs.
struct DenseGradient {
  const float* d;  // [images][d_row]
  int d_row;
  const float* in;  // [images][in_row]
  int in_row, images;
};

struct Kernels {
  const char* name;
  void (*forward_backward)(const Slice&);
  // gradient[row][·] = or += Σ images d[image][row] · in[image][·], for rows begin … end − 1
  void (*dense_gradient)(const DenseGradient&, int begin, int end, float* gradient, bool add);
  // The gradient and the update by it, a tile at a time while it is in L1; true as for `update`.
  bool (*dense_update)(const DenseGradient&, int begin, int end, const Update&, const Parameters&);
  void (*column_sums)(const float* d, int row, int images, float* sums);  // sums += Σ images d[image][·]
  void (*sum_shards)(const float* values, int shards, int size, float* sum);
  // after = before − …; true where a gradient or a new weight is not finite.
  bool (*update)(const Update&, const float* gradient, const Parameters&, int count);
  void (*pack_weights)(const Model&, const float* weights, const PackedWeights&);
  void (*evaluate)(const Model&, const float* weights, const PackedWeights&, const Activations&, const Scratch&,
                   const uint8_t* images, size_t first, size_t last, float* log_probabilities);
  void (*augment)(const Augmentation&, uint64_t seed, uint64_t epoch, uint64_t index, const uint8_t* image,
                  int channels, uint8_t* distorted);
};

extern const Kernels baseline_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;

}  // namespace lenscope
