// The kernels of one instruction set: compiled once for each, with -DLENSCOPE_ISA=its name.
#include "kernels.hpp"

#include <math.h>

#include "augment.hpp"
#include "conv1.hpp"
#include "conv2.hpp"
#include "dense.hpp"
#include "simd.hpp"
#include "update.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

// The rows of the images `first` … `first + count − 1` of a part go from features to logits.
void dense_forward(const Model& model, const float* weights, const Rows& rows, int first, int count, float* logits) {
  const Places& at = model.places;
  float *fc1 = rows.fc1 + first * fc1_row, *fc2 = rows.fc2 + first * fc2_row;
  forward({rows.features + first * features, features, weights + at.fc1_weight, weights + at.fc1_bias, fc1, fc1_row,
           true}, count, 120);
  forward({fc1, fc1_row, weights + at.fc2_weight, weights + at.fc2_bias, fc2, fc2_row, true}, count,
          whole_tiles(84));
  forward({fc2, fc2_row, weights + at.fc3_weight, weights + at.fc3_bias, logits, model.classes_padded, false}, count,
          whole_tiles(model.network.classes));
}

// From the gradient of the logits to that of the features, each layer's kept for its weights' gradient.
void dense_backward(const Model& model, const float* weights, const Rows& rows, int first, int count,
                    float* d_features) {
  const Places& at = model.places;
  const int classes = model.classes_padded;
  float *d_fc3 = rows.d_fc3 + first * classes, *d_fc2 = rows.d_fc2 + first * fc2_row;
  float* d_fc1 = rows.d_fc1 + first * fc1_row;
  product({.a = d_fc3, .a_row = classes, .a_step = 1, .b = weights + at.fc3_weight, .b_row = fc2_row,
           .depth = model.network.classes, .c = d_fc2, .c_row = fc2_row, .gate = rows.fc2 + first * fc2_row},
          count, fc2_row);
  product({.a = d_fc2, .a_row = fc2_row, .a_step = 1, .b = weights + at.fc2_weight, .b_row = fc1_row, .depth = 84,
           .c = d_fc1, .c_row = fc1_row, .gate = rows.fc1 + first * fc1_row}, count, fc1_row);
  product({.a = d_fc1, .a_row = fc1_row, .a_step = 1, .b = weights + at.fc1_weight, .b_row = features, .depth = 120,
           .c = d_features, .c_row = features, .gate = rows.features + first * features}, count, features);
}

// The bytes of the image after this one: they lie anywhere in the set, and would be waited for.
void fetch_ahead(const Task& task, int image) {
  if (image + 1 >= task.end) return;
  const int bytes = task.model->network.channels * 1024;
  const uint8_t* from = task.data.images + task.indices[image + 1] * bytes;
  for (int at = 0; at < bytes; at += 64) __builtin_prefetch(from + at);
}

const uint8_t* bytes_of(const Task& task, int image, int slot) {
  const int bytes = task.model->network.channels * 1024;
  return task.augmentation->any() ? task.scratch->distorted + slot * bytes : task.data.images + task.indices[image] * bytes;
}

void convolve_once(const Task& task, int image, int slot) {
  const Scratch& scratch = *task.scratch;
  const int channels = task.model->network.channels;
  fetch_ahead(task, image);
  if (task.augmentation->any())
    distort(*task.augmentation, task.seed, task.epoch, (uint64_t)task.indices[image],
            task.data.images + task.indices[image] * channels * 1024, channels,
            scratch.distorted + slot * channels * 1024);
  split_columns(bytes_of(task, image, slot), channels, scratch.pixels);
  conv1_forward({scratch.pixels, channels, task.copies->conv1, task.weights + task.model->places.conv1_bias,
                 scratch.pool1 + slot * pool1_floats, scratch.winners1 + slot * pool1_floats});
}

void convolve_twice(const Task& task, int image, int slot) {
  const Scratch& scratch = *task.scratch;
  conv2_forward({scratch.pool1 + slot * pool1_floats, task.copies->conv2,
                 task.weights + task.model->places.conv2_bias, task.rows->features + image * features,
                 scratch.winners2 + slot * features});
}

void conv2_back(const Task& task, int slot, float* shard) {
  const Scratch& scratch = *task.scratch;
  const ShardPlaces& at = task.model->shard_places;
  const float* d = scratch.d_features + slot * features;
  find_offsets(scratch.winners2 + slot * features, scratch.patch_offsets, scratch.weight_offsets + slot * features);
  spread_patches(scratch.pool1 + slot * pool1_floats, scratch.patches);
  conv2_weight_gradient(scratch.patches, scratch.patch_offsets, d, shard + at.conv2);
  column_sums(d, 16, 25, shard + at.conv2_bias);
}

void conv1_back(const Task& task, int image, int slot, float* shard) {
  const Scratch& scratch = *task.scratch;
  const int channels = task.model->network.channels;
  deepen_rows(bytes_of(task, image, slot), channels, scratch.triples);
  conv1_backward(scratch.triples, channels, scratch.winners1 + slot * pool1_floats, scratch.d_pool1 + slot * pool1_floats,
                 shard + task.model->shard_places.conv1);
}

// Both channel halves' part in the gradient of pool1, of one half after the other for all images of the block.
void pool1_gradients(const Task& task, int count) {
  const Scratch& scratch = *task.scratch;
  memset(scratch.d_pool1, 0, count * pool1_floats * sizeof(float));
  for (int channel = 0; channel < 16; channel += channels_at_once)
    for (int slot = 0; slot < count; ++slot)
      conv2_input_gradient(*task.copies, scratch.weight_offsets + slot * features, scratch.d_features + slot * features,
                           channel, scratch.d_pool1 + slot * pool1_floats);
}

float* shard_of(const Task& task, int image) {
  int shard = 0;
  while ((int64_t)(shard + 1) * task.part / shards <= image) ++shard;
  return task.shards + shard * task.model->shard_places.end;
}

// A block goes through a layer before it goes through the next, so that a layer's weights stay in L1.
void block(const Task& task, int first, int count) {
  const Model& model = *task.model;
  const Rows& rows = *task.rows;
  const Scratch& scratch = *task.scratch;
  for (int slot = 0; slot < count; ++slot) convolve_once(task, first + slot, slot);
  for (int slot = 0; slot < count; ++slot) convolve_twice(task, first + slot, slot);
  dense_forward(model, task.weights, rows, first, count, rows.d_fc3 + first * model.classes_padded);
  for (int image = first; image < first + count; ++image) {
    float* logits = rows.d_fc3 + image * model.classes_padded;
    rows.losses[image] = loss_and_gradient(logits, model.network.classes, model.classes_padded,
                                           task.data.labels[task.indices[image]], (float)task.share, logits);
  }
  dense_backward(model, task.weights, rows, first, count, scratch.d_features);
  for (int slot = 0; slot < count; ++slot) conv2_back(task, slot, shard_of(task, first + slot));
  pool1_gradients(task, count);
  for (int slot = 0; slot < count; ++slot) conv1_back(task, first + slot, slot, shard_of(task, first + slot));
}

// Blocks of nearly equal size: 50 images are seven blocks, not six of 8 and one of 2.
void images(const Task& task) {
  const int count = task.end - task.begin, blocks = (count + block_images - 1) / block_images;
  for (int at = 0; at < blocks; ++at) {
    const int first = task.begin + count * at / blocks, last = task.begin + count * (at + 1) / blocks;
    block(task, first, last - first);
  }
}

void dense_gradient(const DenseGradient& of, int begin, int end, float* gradient, bool add) {
  product({.a = of.d + begin, .a_row = 1, .a_step = of.d_row, .b = of.in, .b_row = of.in_row, .depth = of.images,
           .c = gradient, .c_row = of.in_row, .add = add}, end - begin, of.in_row);
}

void shard_sum(const float* all, int size, float* total) {
  for (int at = 0; at < size; at += lanes) {
    Vector values = load(all + at);
    for (int shard = 1; shard < shards; ++shard) values += load(all + shard * size + at);
    store(total + at, values);
  }
}

void convolution_copies(const Model& model, const float* weights, const Copies& copies) {
  const int taps = model.network.channels * 25;
  const float *conv1 = weights + model.places.conv1_weight, *conv2 = weights + model.places.conv2_weight;
  for (int out = 0; out < 6; ++out)
    for (int tap = 0; tap < taps; ++tap) copies.conv1[tap * 8 + out] = conv1[out * taps + tap];
  for (int out = 0; out < 16; ++out)
    for (int in = 0; in < 6; ++in)
      for (int dy = 0; dy < 5; ++dy)
        for (int dx = 0; dx < 5; ++dx) {
          const float weight = conv2[((out * 6 + in) * 5 + dy) * 5 + dx];
          copies.conv2[((in * 5 + dy) * 5 + dx) * 16 + out] = weight;
          float *left = copies.conv2_back + out * back_channel, *right = left + back_block;
          const int at = dx * 6 + in, shifted = at + 6;
          left[(dy + 1) * 32 + at] = weight;
          if (shifted < 32) right[(dy + 1) * 32 + shifted] = weight;
          else right[back_tails + (dy + 1) * 4 + shifted - 32] = right[back_tails + 32 + dy * 4 + shifted - 32] = weight;
        }
}

// Images first … last − 1, by blocks; rows need room for one block only.
void evaluate(const Model& model, const float* weights, const Copies& copies, const Rows& rows, const Scratch& scratch,
              const uint8_t* images, size_t first, size_t last, float* log_probabilities) {
  const int channels = model.network.channels, classes = model.network.classes, padded_classes = model.classes_padded;
  for (size_t at = first; at < last; at += block_images) {
    const int count = last - at < block_images ? (int)(last - at) : block_images;
    for (int slot = 0; slot < count; ++slot) {
      split_columns(images + (at + slot) * channels * 1024, channels, scratch.pixels);
      conv1_forward({scratch.pixels, channels, copies.conv1, weights + model.places.conv1_bias, scratch.pool1, nullptr});
      conv2_forward({scratch.pool1, copies.conv2, weights + model.places.conv2_bias, rows.features + slot * features,
                     nullptr});
    }
    dense_forward(model, weights, rows, 0, count, rows.d_fc3);
    for (int slot = 0; slot < count; ++slot) {
      float* logits = rows.d_fc3 + slot * padded_classes;
      log_softmax(logits, classes, padded_classes);
      memcpy(log_probabilities + (at + slot) * classes, logits, classes * sizeof(float));
    }
  }
}

void augment_one(const Augmentation& how, uint64_t seed, uint64_t epoch, uint64_t index, const uint8_t* image,
                 int channels, uint8_t* distorted) {
  distort(how, seed, epoch, index, image, channels, distorted);
}

// Multiply-adds in registers only: twelve chains hide a latency of six cycles on units for two a cycle.
double peak(long repeats) {
  Vector sums[12], factor = splat(0.999f), term = splat(1e-3f);
  repeat<12>([&](auto i) __attribute__((always_inline)) { sums[i] = splat((float)i); });
  for (long at = 0; at < repeats; ++at) {
    repeat<12>([&](auto i) __attribute__((always_inline)) { sums[i] = sums[i] * factor + term; });
  }
  Vector all = {};
  repeat<12>([&](auto i) __attribute__((always_inline)) { all += sums[i]; });
  volatile float kept = sum(all);
  (void)kept;
  return 12.0 * lanes * (double)repeats;
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA

#define LENSCOPE_JOIN_(a, b) a##b
#define LENSCOPE_JOIN(a, b) LENSCOPE_JOIN_(a, b)
#define LENSCOPE_TEXT_(a) #a
#define LENSCOPE_TEXT(a) LENSCOPE_TEXT_(a)

namespace lenscope {
const Kernels LENSCOPE_JOIN(LENSCOPE_ISA, _kernels) = {
    LENSCOPE_TEXT(LENSCOPE_ISA), LENSCOPE_ISA::images,    LENSCOPE_ISA::dense_gradient,
    LENSCOPE_ISA::dense_update,  LENSCOPE_ISA::column_sums,  LENSCOPE_ISA::shard_sum, LENSCOPE_ISA::update,
    LENSCOPE_ISA::convolution_copies, LENSCOPE_ISA::evaluate,
    LENSCOPE_ISA::augment_one,   LENSCOPE_ISA::peak};
}  // namespace lenscope
