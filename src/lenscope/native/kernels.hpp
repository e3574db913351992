// What one instruction set offers, and the memory that it works on: the only header that the sets share with the rest.
// Plain data and pointers to functions; nothing here may become code that the linker could merge between sets.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "plain.hpp"

namespace lenscope {

constexpr int shards = 12;      // of a part's images, each with convolution gradients of its own, summed in order
constexpr int block_images = 8;  // images that a thread takes from pixels to gradients at a time: 150 KB, within L2
constexpr int part_images = 240;  // images whose activations are kept for the dense layers' gradients

constexpr int padded(int count) { return (count + 15) / 16 * 16; }
constexpr int whole_tiles(int rows) { return (rows + 3) / 4 * 4; }  // rows of weights, with some of zeros

// Sizes in floats of the padded rows.
constexpr int pool1_floats = 6 * 14 * 16, features = 400, fc1_row = 128, fc2_row = 96;

// Where each parameter starts in the engine's own flat array. Dense weights are (out, in) like PyTorch's, rows padded
// to 16 floats, and fc1's inputs are in the order (position, channel), in which conv2 writes them. The convolutions'
// are PyTorch's own.
struct Places {
  int conv1_weight, conv1_bias, conv2_weight, conv2_bias;
  int fc1_weight, fc1_bias, fc2_weight, fc2_bias, fc3_weight, fc3_bias, end;
};

// One shard's convolution gradients, in the order in which the kernels sum them.
struct ShardPlaces {
  int conv1, conv2, conv2_bias, end;  // conv1 [6][C][2][16], conv2 [16][5][32], conv2_bias [16]
};

// Copies of the convolutions' weights in the orders that the kernels read.
struct Copies {
  float* conv1;        // [C][5 dy][5 dx][8]: six output channels
  float* conv2;        // [6][5 dy][5 dx][16]
  float* conv2_back;   // [16][2 column shifts][7 rows and 2 of tails][32]
};

// What is kept of a part's images for the dense layers' gradients, one row an image.
struct Rows {
  float *features, *fc1, *fc2;   // [part][400], [part][128], [part][96]
  float *d_fc1, *d_fc2, *d_fc3;  // gradients of fc1, fc2 and of the logits [part][padded classes]
  float* losses;                 // [part]
};

// A thread's own memory for a block of images.
struct Scratch {
  float* pixels;       // [C][34][32]: rows split into even and odd columns; or rows of three for conv1's gradient
  float* triples;      // [2][C][28][32][3] and zeros
  float* pool1;        // [block][6][14][16]
  int32_t* winners1;   // [block][6][14][16]: where in `triples` the winner's patch starts
  int32_t* winners2;   // [block][25][16]: 2 · row + column of the winner
  float* patches;      // [14][10][32]
  float* d_features;   // [block][400]
  float* d_pool1;      // [block][14][96]
  int32_t *patch_offsets, *weight_offsets;  // [25][16], [block][25][16]
  uint8_t* distorted;  // [block][C][32][32]
};

struct Model {
  Network network;
  Places places;
  ShardPlaces shard_places;
  int classes_padded;
};

struct Task {  // the images of one part that one thread takes
  const Model* model;
  const float* weights;
  const Copies* copies;
  const Rows* rows;
  const Scratch* scratch;
  Data data;
  const int64_t* indices;  // of the part's images
  int part;                // how many
  int begin, end;          // this thread's
  double share;            // 1 / images of the whole step
  float* shards;           // [12][shard_places.end]
  const Augmentation* augmentation;
  uint64_t seed, epoch;
};

struct Update {
  Rule rule;
  float rate, momentum, weight_decay;
  float first_share, second_decay, second_share;  // 1 − β₁, β₂, 1 − β₂
  float step_size, root_correction, epsilon;  // rate / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ)
};

struct Parameters {
  const float* before;
  float *first, *second, *after;  // moments, new weights
};

struct DenseGradient {  // of the outputs, and inputs, of a layer's images
  const float* d;
  int d_row;
  const float* in;
  int in_row, images;
};

struct Kernels {
  const char* name;
  void (*images)(const Task&);
  // The gradients of a dense layer's rows: gradient[row][·] = or += Σ images d[image][row] · in[image][·].
  void (*dense_gradient)(const DenseGradient&, int begin, int end, float* gradient, bool add);
  // The same, and the update by it: a tile of the gradient at a time, which is used while it is in L1.
  bool (*dense_update)(const DenseGradient&, int begin, int end, const Update&, const Parameters&);
  void (*column_sums)(const float* d, int row, int images, float* sums);  // sums += Σ images d[image][·]
  void (*shard_sum)(const float* shards, int size, float* sum);
  // after = before − …; true where a gradient or a new weight is not finite.
  bool (*update)(const Update&, const float* gradient, const Parameters&, int count);
  void (*convolution_copies)(const Model&, const float* weights, const Copies&);
  void (*evaluate)(const Model&, const float* weights, const Copies&, const Rows&, const Scratch&,
                   const uint8_t* images, size_t first, size_t last, float* log_probabilities);
  void (*augment)(const Augmentation&, uint64_t seed, uint64_t epoch, uint64_t index, const uint8_t* image,
                  int channels, uint8_t* distorted);
  double (*peak)(long repeats);  // multiply-adds done
};

extern const Kernels baseline_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;

}  // namespace lenscope
