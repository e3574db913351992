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

// From features to logits, for images first … first + count − 1 of a micro-batch.
void dense_forward(const Model& model, const float* weights, const Activations& act, int first, int count,
                   float* logits) {
  const Layout& at = model.layout;
  float *fc1 = act.fc1 + first * fc1_row, *fc2 = act.fc2 + first * fc2_row;
  forward({act.features + first * features, features, weights + at.fc1_weight, weights + at.fc1_bias, fc1, fc1_row,
           true}, count, 120);
  forward({fc1, fc1_row, weights + at.fc2_weight, weights + at.fc2_bias, fc2, fc2_row, true}, count, pad4(84));
  forward({fc2, fc2_row, weights + at.fc3_weight, weights + at.fc3_bias, logits, model.classes_padded, false}, count,
          pad4(model.network.classes));
}

// From the gradient of the logits to that of the features; the gradients between are kept for the weights' gradients.
void dense_backward(const Model& model, const float* weights, const Activations& act, int first, int count,
                    float* d_features) {
  const Layout& at = model.layout;
  const int classes = model.classes_padded;
  float *d_fc3 = act.d_fc3 + first * classes, *d_fc2 = act.d_fc2 + first * fc2_row;
  float* d_fc1 = act.d_fc1 + first * fc1_row;
  product({.a = d_fc3, .a_row = classes, .a_step = 1, .b = weights + at.fc3_weight, .b_row = fc2_row,
           .depth = model.network.classes, .c = d_fc2, .c_row = fc2_row, .gate = act.fc2 + first * fc2_row},
          count, fc2_row);
  product({.a = d_fc2, .a_row = fc2_row, .a_step = 1, .b = weights + at.fc2_weight, .b_row = fc1_row, .depth = 84,
           .c = d_fc1, .c_row = fc1_row, .gate = act.fc1 + first * fc1_row}, count, fc1_row);
  product({.a = d_fc1, .a_row = fc1_row, .a_step = 1, .b = weights + at.fc1_weight, .b_row = features, .depth = 120,
           .c = d_features, .c_row = features, .gate = act.features + first * features}, count, features);
}

const uint8_t* pixels_of(const Slice& slice, int image) {
  return slice.data.images + slice.indices[image] * slice.model->network.channels * 1024;
}

const uint8_t* distorted_pixels_of(const Slice& slice, int image, int slot) {
  if (!slice.augmentation->any()) return pixels_of(slice, image);
  return slice.scratch->distorted + slot * slice.model->network.channels * 1024;
}

// The next image lies anywhere in the set: without this its pixels would be waited for.
void prefetch_next(const Slice& slice, int image) {
  if (image + 1 >= slice.end) return;
  const uint8_t* from = pixels_of(slice, image + 1);
  for (int at = 0; at < slice.model->network.channels * 1024; at += 64) __builtin_prefetch(from + at);
}

void conv1_forward(const Slice& slice, int image, int slot) {
  const Scratch& scratch = *slice.scratch;
  const int channels = slice.model->network.channels;
  prefetch_next(slice, image);
  if (slice.augmentation->any())
    distort(*slice.augmentation, slice.seed, slice.epoch, (uint64_t)slice.indices[image], pixels_of(slice, image),
            channels, scratch.distorted + slot * channels * 1024);
  split_even_odd(distorted_pixels_of(slice, image, slot), channels, scratch.pixels);
  conv1_forward({scratch.pixels, channels, slice.packed->conv1, slice.weights + slice.model->layout.conv1_bias,
                 scratch.pool1 + slot * pool1_floats, scratch.argmax1 + slot * pool1_floats});
}

void conv2_forward(const Slice& slice, int image, int slot) {
  const Scratch& scratch = *slice.scratch;
  conv2_forward({scratch.pool1 + slot * pool1_floats, slice.packed->conv2,
                 slice.weights + slice.model->layout.conv2_bias, slice.activations->features + image * features,
                 scratch.argmax2 + slot * features});
}

void conv2_backward(const Slice& slice, int slot, float* shard) {
  const Scratch& scratch = *slice.scratch;
  const ShardLayout& at = slice.model->shard_layout;
  const float* d = scratch.d_features + slot * features;
  argmax_offsets(scratch.argmax2 + slot * features, scratch.patch_offsets, scratch.weight_offsets + slot * features);
  conv2_im2row(scratch.pool1 + slot * pool1_floats, scratch.patches2);
  conv2_weight_gradient(scratch.patches2, scratch.patch_offsets, d, shard + at.conv2);
  column_sums(d, 16, 25, shard + at.conv2_bias);
}

void conv1_backward(const Slice& slice, int image, int slot, float* shard) {
  const Scratch& scratch = *slice.scratch;
  const int channels = slice.model->network.channels;
  conv1_im2row(distorted_pixels_of(slice, image, slot), channels, scratch.patches1);
  conv1_backward(scratch.patches1, channels, scratch.argmax1 + slot * pool1_floats,
                 scratch.d_pool1 + slot * pool1_floats, shard + slice.model->shard_layout.conv1);
}

// Half of the channels for all images of the block, then the other half.
void pool1_gradient(const Slice& slice, int count) {
  const Scratch& scratch = *slice.scratch;
  memset(scratch.d_pool1, 0, count * pool1_floats * sizeof(float));
  for (int channel = 0; channel < 16; channel += channels_at_once)
    for (int slot = 0; slot < count; ++slot)
      conv2_input_gradient(*slice.packed, scratch.weight_offsets + slot * features,
                           scratch.d_features + slot * features, channel, scratch.d_pool1 + slot * pool1_floats);
}

float* shard_of(const Slice& slice, int image) {
  int shard = 0;
  while ((int64_t)(shard + 1) * slice.images / slice.shards <= image) ++shard;
  return slice.shard_values + shard * slice.model->shard_layout.end;
}

// All images of a block go through a layer before the next layer, so that its weights stay in L1.
void forward_backward(const Slice& slice, int first, int count) {
  const Model& model = *slice.model;
  const Activations& act = *slice.activations;
  const Scratch& scratch = *slice.scratch;
  for (int slot = 0; slot < count; ++slot) conv1_forward(slice, first + slot, slot);
  for (int slot = 0; slot < count; ++slot) conv2_forward(slice, first + slot, slot);
  dense_forward(model, slice.weights, act, first, count, act.d_fc3 + first * model.classes_padded);
  for (int image = first; image < first + count; ++image) {
    float* logits = act.d_fc3 + image * model.classes_padded;
    act.losses[image] = loss_and_gradient(logits, model.network.classes, model.classes_padded,
                                          slice.data.labels[slice.indices[image]], (float)slice.scale, logits);
  }
  dense_backward(model, slice.weights, act, first, count, scratch.d_features);
  for (int slot = 0; slot < count; ++slot) conv2_backward(slice, slot, shard_of(slice, first + slot));
  pool1_gradient(slice, count);
  for (int slot = 0; slot < count; ++slot) conv1_backward(slice, first + slot, slot, shard_of(slice, first + slot));
}

// Blocks of nearly equal size: 50 images are seven blocks, not six of 8 and one of 2.
void forward_backward(const Slice& slice) {
  const int count = slice.end - slice.begin, blocks = (count + block_images - 1) / block_images;
  for (int at = 0; at < blocks; ++at) {
    const int first = slice.begin + count * at / blocks, last = slice.begin + count * (at + 1) / blocks;
    forward_backward(slice, first, last - first);
  }
}

void dense_gradient(const DenseGradient& of, int begin, int end, float* gradient, bool add) {
  product({.a = of.d + begin, .a_row = 1, .a_step = of.d_row, .b = of.in, .b_row = of.in_row, .depth = of.images,
           .c = gradient, .c_row = of.in_row, .add = add}, end - begin, of.in_row);
}

void sum_shards(const float* all, int shards, int size, float* total) {
  for (int at = 0; at < size; at += lanes) {
    Vector values = load(all + at);
    for (int shard = 1; shard < shards; ++shard) values += load(all + shard * size + at);
    store(total + at, values);
  }
}

void pack_weights(const Model& model, const float* weights, const PackedWeights& packed) {
  const int taps = model.network.channels * 25;
  const float *conv1 = weights + model.layout.conv1_weight, *conv2 = weights + model.layout.conv2_weight;
  for (int out = 0; out < 6; ++out)
    for (int tap = 0; tap < taps; ++tap) packed.conv1[tap * 8 + out] = conv1[out * taps + tap];
  for (int out = 0; out < 16; ++out)
    for (int in = 0; in < 6; ++in)
      for (int dy = 0; dy < 5; ++dy)
        for (int dx = 0; dx < 5; ++dx) {
          const float weight = conv2[((out * 6 + in) * 5 + dy) * 5 + dx];
          packed.conv2[((in * 5 + dy) * 5 + dx) * 16 + out] = weight;
          float *left = packed.conv2_backward + out * back_channel, *right = left + back_block;
          float* tails = right + back_tails;
          const int at = dx * 6 + in, shifted = at + 6;
          left[(dy + 1) * 32 + at] = weight;
          if (shifted < 32) right[(dy + 1) * 32 + shifted] = weight;
          else tails[(dy + 1) * 4 + shifted - 32] = tails[32 + dy * 4 + shifted - 32] = weight;
        }
}

// Log-probabilities of images first … last − 1; the activations have room for one block.
void evaluate(const Model& model, const float* weights, const PackedWeights& packed, const Activations& act,
              const Scratch& scratch, const uint8_t* images, size_t first, size_t last, float* log_probabilities) {
  const int channels = model.network.channels, classes = model.network.classes;
  const float *bias1 = weights + model.layout.conv1_bias, *bias2 = weights + model.layout.conv2_bias;
  for (size_t at = first; at < last; at += block_images) {
    const int count = last - at < block_images ? (int)(last - at) : block_images;
    for (int slot = 0; slot < count; ++slot) {
      split_even_odd(images + (at + slot) * channels * 1024, channels, scratch.pixels);
      conv1_forward({scratch.pixels, channels, packed.conv1, bias1, scratch.pool1, nullptr});
      conv2_forward({scratch.pool1, packed.conv2, bias2, act.features + slot * features, nullptr});
    }
    dense_forward(model, weights, act, 0, count, act.d_fc3);
    for (int slot = 0; slot < count; ++slot) {
      float* logits = act.d_fc3 + slot * model.classes_padded;
      log_softmax(logits, classes, model.classes_padded);
      memcpy(log_probabilities + (at + slot) * classes, logits, classes * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA

#define LENSCOPE_JOIN_(a, b) a##b
#define LENSCOPE_JOIN(a, b) LENSCOPE_JOIN_(a, b)
#define LENSCOPE_TEXT_(a) #a
#define LENSCOPE_TEXT(a) LENSCOPE_TEXT_(a)

namespace lenscope {
const Kernels LENSCOPE_JOIN(LENSCOPE_ISA, _kernels) = {
    LENSCOPE_TEXT(LENSCOPE_ISA), LENSCOPE_ISA::forward_backward, LENSCOPE_ISA::dense_gradient,
    LENSCOPE_ISA::dense_update,  LENSCOPE_ISA::column_sums,      LENSCOPE_ISA::sum_shards,
    LENSCOPE_ISA::update,        LENSCOPE_ISA::pack_weights,     LENSCOPE_ISA::evaluate,
    LENSCOPE_ISA::distort};
}  // namespace lenscope
