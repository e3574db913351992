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
void dense_forward(const Model& model, const float* weights, const Copies& copies, const Rows& rows, int first,
                   int count, float* logits) {
  const Places& at = model.places;
  const int classes = model.classes_padded;
  float *features_ = rows.features + first * features, *fc1 = rows.fc1 + first * fc1_row;
  float* fc2 = rows.fc2 + first * fc2_row;
  product({.a = features_, .a_row = features, .a_step = 1, .b = copies.fc1, .b_row = fc1_row, .depth = features,
           .c = fc1, .c_row = fc1_row, .bias = weights + at.fc1_bias, .rectify = true}, count, fc1_row);
  product({.a = fc1, .a_row = fc1_row, .a_step = 1, .b = copies.fc2, .b_row = fc2_row, .depth = 120,
           .c = fc2, .c_row = fc2_row, .bias = weights + at.fc2_bias, .rectify = true}, count, fc2_row);
  product({.a = fc2, .a_row = fc2_row, .a_step = 1, .b = copies.fc3, .b_row = classes, .depth = 84,
           .c = logits, .c_row = classes, .bias = weights + at.fc3_bias}, count, classes);
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

const uint8_t* pixels_of(const Task& task, int image, uint8_t* distorted) {
  const int64_t index = task.indices[image];
  const uint8_t* own = task.data.images + index * task.model->network.channels * 1024;
  if (!task.augmentation->any()) return own;
  distort(*task.augmentation, task.seed, task.epoch, (uint64_t)index, own, task.model->network.channels, distorted);
  return distorted;
}

// The bytes of the image after this one: they lie anywhere in the set, and would be waited for.
void fetch_ahead(const Task& task, int image) {
  if (image + 1 >= task.end) return;
  const int bytes = task.model->network.channels * 1024;
  const uint8_t* from = task.data.images + task.indices[image + 1] * bytes;
  for (int at = 0; at < bytes; at += 64) __builtin_prefetch(from + at);
}

void convolve(const Task& task, int image, int slot) {
  const Scratch& scratch = *task.scratch;
  const int channels = task.model->network.channels;
  fetch_ahead(task, image);
  uint8_t* distorted = scratch.distorted + slot * channels * 1024;
  split_columns(pixels_of(task, image, distorted), channels, scratch.pixels);
  float* pool1 = scratch.pool1 + slot * pool1_floats;
  conv1_forward({scratch.pixels, channels, task.copies->conv1, task.weights + task.model->places.conv1_bias, pool1,
                 scratch.winners1 + slot * pool1_floats, nullptr});
  conv2_forward({pool1, task.copies->conv2, task.weights + task.model->places.conv2_bias,
                 task.rows->features + image * features, scratch.winners2 + slot * features, nullptr});
}

void convolve_back(const Task& task, int image, int slot, float* shard) {
  const Scratch& scratch = *task.scratch;
  const ShardPlaces& at = task.model->shard_places;
  const int channels = task.model->network.channels;
  const float* d = scratch.d_features + slot * features;
  const WinnerOffsets offsets = {scratch.offsets, scratch.offsets + features};
  find_offsets(scratch.winners2 + slot * features, offsets);
  spread_patches(scratch.pool1 + slot * pool1_floats, scratch.patches);
  conv2_weight_gradient(scratch.patches, offsets.patches, d, shard + at.conv2);
  column_sums(d, 16, 25, shard + at.conv2_bias);
  conv2_input_gradient(*task.copies, offsets, d, scratch.d_pool1);
  const uint8_t* own = task.data.images + task.indices[image] * channels * 1024;
  deepen_rows(task.augmentation->any() ? scratch.distorted + slot * channels * 1024 : own, channels, scratch.triples);
  conv1_backward(scratch.triples, channels, scratch.winners1 + slot * pool1_floats, scratch.d_pool1,
                 shard + at.conv1);
}

void block(const Task& task, int first, int count, int* shard) {
  const Model& model = *task.model;
  const Rows& rows = *task.rows;
  for (int slot = 0; slot < count; ++slot) convolve(task, first + slot, slot);
  dense_forward(model, task.weights, *task.copies, rows, first, count, rows.d_fc3 + first * model.classes_padded);
  for (int image = first; image < first + count; ++image) {
    float* logits = rows.d_fc3 + image * model.classes_padded;
    rows.losses[image] = loss_and_gradient(logits, model.network.classes, model.classes_padded,
                                           task.data.labels[task.indices[image]], (float)task.share, logits);
  }
  dense_backward(model, task.weights, rows, first, count, task.scratch->d_features);
  for (int slot = 0; slot < count; ++slot) {
    while ((int64_t)(*shard + 1) * task.part / shards <= first + slot) ++*shard;
    convolve_back(task, first + slot, slot, task.shards + *shard * model.shard_places.end);
  }
}

// Blocks of nearly equal size: 50 images are seven blocks, not six of 8 and one of 2.
void images(const Task& task) {
  const int count = task.end - task.begin, blocks = (count + block_images - 1) / block_images;
  int shard = 0;
  for (int at = 0; at < blocks; ++at) {
    const int first = task.begin + count * at / blocks, last = task.begin + count * (at + 1) / blocks;
    block(task, first, last - first, &shard);
  }
}

void dense_gradient(const float* d, int d_row, const float* in, int in_row, int images, int begin, int end,
                    float* gradient, bool add) {
  product({.a = d + begin, .a_row = 1, .a_step = d_row, .b = in, .b_row = in_row, .depth = images,
           .c = gradient + begin * in_row, .c_row = in_row, .add = add}, end - begin, in_row);
}

void shard_sum(const float* all, int size, float* total) {
  for (int at = 0; at < size; at += lanes) {
    Vector values = load(all + at);
    for (int shard = 1; shard < shards; ++shard) values += load(all + shard * size + at);
    store(total + at, values);
  }
}

// Lanes of two vectors in turn: of their lower halves, or of their upper ones.
template <int start>
struct Zip {
  static constexpr int lane(int i) { return start + i / 2 + (i % 2 ? 16 : 0); }
};

// Eight rows of 16 to 16 rows of eight. Zipping vector i with vector i + 4 moves the highest bit of (vector, lane) to
// the lowest place; after three times the vectors hold two columns each.
LENSCOPE_INLINE void transpose_eight(const float* from, int from_row, float* to, int to_row) {
  Vector rows[8], zipped[8];
  repeat<8>([&](auto i) __attribute__((always_inline)) { rows[i] = load(from + i * from_row); });
  repeat<3>([&](auto) __attribute__((always_inline)) {
    repeat<4>([&](auto i) __attribute__((always_inline)) {
      zipped[2 * i] = shuffle<Zip<0>>(rows[i], rows[i + 4]);
      zipped[2 * i + 1] = shuffle<Zip<8>>(rows[i], rows[i + 4]);
    });
    repeat<8>([&](auto i) __attribute__((always_inline)) { rows[i] = zipped[i]; });
  });
  repeat<8>([&](auto i) __attribute__((always_inline)) {
    alignas(64) float two[16];
    store_aligned(two, rows[i]);
    memcpy(to + 2 * i * to_row, two, 32);
    memcpy(to + (2 * i + 1) * to_row, two + 8, 32);
  });
}

LENSCOPE_INLINE void transpose_four(const float* from, int from_row, float* to, int to_row) {
  const Four a = load_four(from), b = load_four(from + from_row), c = load_four(from + 2 * from_row);
  const Four d = load_four(from + 3 * from_row);
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store_four(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  store_four(to + to_row, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  store_four(to + 2 * to_row, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  store_four(to + 3 * to_row, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

// copy[column][row] = weights[row][column]; columns are a multiple of four.
void transpose(const float* weights, int row, int begin, int end, int columns, float* copy, int copy_row) {
  int at = begin, column = 0;
  if constexpr (lanes == 16)
    for (; at + 8 <= end; at += 8) {
      for (column = 0; column + 16 <= columns; column += 16)
        transpose_eight(weights + at * row + column, row, copy + column * copy_row + at, copy_row);
      for (; column < columns; column += 4)
        for (int half = at; half < at + 8; half += 4)
          transpose_four(weights + half * row + column, row, copy + column * copy_row + half, copy_row);
    }
  for (; at + 4 <= end; at += 4)
    for (column = 0; column < columns; column += 4)
      transpose_four(weights + at * row + column, row, copy + column * copy_row + at, copy_row);
  for (; at < end; ++at)
    for (column = 0; column < columns; ++column) copy[column * copy_row + at] = weights[at * row + column];
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
          float* row = copies.conv2_back + out * back_channel + (dy + 1) * 32;
          row[dx * 6 + in] = weight;
          const int right = (dx + 1) * 6 + in;
          if (right < 32) {
            row[back_rows + right] = weight;
          } else {
            copies.conv2_tails[out * 64 + dy * 4 + right - 32] = weight;
            copies.conv2_tails[out * 64 + 32 + (dy + 1) * 4 + right - 32] = weight;
          }
        }
}

void keep(float* to, const float* from, int count, size_t image) {
  if (to) memcpy(to + image * count, from, count * sizeof(float));
}

void keep_features(float* to, const float* from, size_t image) {  // (16, 5, 5) from [25][16]
  if (!to) return;
  for (int position = 0; position < 25; ++position)
    for (int channel = 0; channel < 16; ++channel) to[image * features + channel * 25 + position] = from[position * 16 + channel];
}

void keep_pool1(float* to, const float* from, size_t image) {  // (6, 14, 14) from [6][14][16]
  if (!to) return;
  for (int row = 0; row < 6 * 14; ++row) memcpy(to + image * 1176 + row * 14, from + row * 16, 14 * sizeof(float));
}

// Images first … last − 1, by blocks; rows need room for one block only.
void evaluate(const Model& model, const float* weights, const Copies& copies, const Rows& rows, const Scratch& scratch,
              const uint8_t* images, size_t first, size_t last, float* log_probabilities, const Activations& keeps) {
  const int channels = model.network.channels, classes = model.network.classes, padded_classes = model.classes_padded;
  for (size_t at = first; at < last; at += block_images) {
    const int count = last - at < block_images ? (int)(last - at) : block_images;
    for (int slot = 0; slot < count; ++slot) {
      const size_t image = at + slot;
      split_columns(images + image * channels * 1024, channels, scratch.pixels);
      conv1_forward({scratch.pixels, channels, copies.conv1, weights + model.places.conv1_bias, scratch.pool1, nullptr,
                     keeps.conv1 ? keeps.conv1 + image * 6 * 784 : nullptr});
      conv2_forward({scratch.pool1, copies.conv2, weights + model.places.conv2_bias, rows.features + slot * features,
                     nullptr, keeps.conv2 ? keeps.conv2 + image * 1600 : nullptr});
      keep_pool1(keeps.pool1, scratch.pool1, image);
    }
    dense_forward(model, weights, copies, rows, 0, count, rows.d_fc3);
    for (int slot = 0; slot < count; ++slot) {
      const size_t image = at + slot;
      float* logits = rows.d_fc3 + slot * padded_classes;
      keep_features(keeps.pool2, rows.features + slot * features, image);
      keep(keeps.fc1, rows.fc1 + slot * fc1_row, 120, image);
      keep(keeps.fc2, rows.fc2 + slot * fc2_row, 84, image);
      keep(keeps.fc3, logits, classes, image);
      log_softmax(logits, classes, padded_classes);
      keep(log_probabilities, logits, classes, image);
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
    LENSCOPE_ISA::column_sums,   LENSCOPE_ISA::shard_sum, LENSCOPE_ISA::update,
    LENSCOPE_ISA::transpose,     LENSCOPE_ISA::convolution_copies, LENSCOPE_ISA::evaluate,
    LENSCOPE_ISA::augment_one,   LENSCOPE_ISA::peak};
}  // namespace lenscope
