// The first convolution with ReLU and 2×2 max pooling: (C, 32, 32) bytes to (6, 14, 14) floats, and the gradient of its
// weights.
//
// Forward. A row of pixels is stored as its 16 even columns, then its 16 odd ones. So the outputs of even and of odd
// columns are separate vectors of 14 lanes, and the pool is three maxima without a shuffle:
//
//     row:  0 2 4 … 30 | 1 3 5 … 31      out[2j]     = w0·even[j] + w1·odd[j] + w2·even[j+1] + …
//                                        out[2j + 1] = w0·odd[j] + w1·even[j+1] + w2·odd[j+1] + …
//
// Backward. Only a pool's maximum has a gradient, and only if it is positive. im2row stores the pixels three rows deep,
// rows y, y+1, y+2 next to each other at (y, x), so that the 5×5 patch of a maximum is two loads: 15 floats of the
// first three rows, and from a second array 10 of the last two rows, each pair with a 1, which sums the bias. The
// forward pass stores where the patch starts; for an output of 0 that is a patch of zeros, cheaper than a mispredicted
// branch.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

constexpr int row_floats = 32;
constexpr int patches1_zero = 28 * 96, patches1_size = patches1_zero + 16;
constexpr float pixel_scale = 1.0f / 255;

void split_even_odd(const uint8_t* image, int channels, float* rows) {
  for (int y = 0; y < 32 * channels; ++y, image += 32, rows += row_floats)
    for (int x = 0; x < 16; ++x) {
      rows[x] = float(image[2 * x]) * pixel_scale;
      rows[16 + x] = float(image[2 * x + 1]) * pixel_scale;
    }
  for (int x = 0; x < row_floats; ++x) rows[x] = 0;  // read by lanes 14 and 15 of the last rows
}

struct Conv1 {
  const float* rows;
  int channels;
  const float *weights, *bias;
  float* pool1;       // [6][14][16]
  int32_t* argmax;   // [6][14][16], null without a gradient
};

// Row `py` of the pooled output: channels first … first + group − 1, columns x … x + lanes − 1.
template <int group>
LENSCOPE_INLINE void conv1_row(const Conv1& conv, int py, int first, int x) {
  Vector out[group][2][2];  // [channel][row][even, odd column]
  unroll<group>([&](auto c) __attribute__((always_inline)) {
    out[c][0][0] = out[c][0][1] = out[c][1][0] = out[c][1][1] = splat(conv.bias[first + c]);
  });
  const float* weights = conv.weights + first;
  for (int channel = 0; channel < conv.channels; ++channel) {
    const float* upper = conv.rows + (channel * 32 + 2 * py) * row_floats + x;
    for (int dy = 0; dy < 5; ++dy, upper += row_floats, weights += 5 * 8)
      unroll<5>([&](auto dx) __attribute__((always_inline)) {
        constexpr int even = dx / 2 + (dx % 2 ? 16 : 0), odd = (dx + 1) / 2 + (dx % 2 ? 0 : 16);
        const Vector in[2][2] = {{load_volatile(upper + even), load_volatile(upper + odd)},
                                 {load_volatile(upper + row_floats + even), load_volatile(upper + row_floats + odd)}};
        unroll<group>([&](auto c) __attribute__((always_inline)) {
          const Factor weight = broadcast(weights + dx * 8 + c);
          add_product(out[c][0][0], weight, in[0][0]);
          add_product(out[c][0][1], weight, in[0][1]);
          add_product(out[c][1][0], weight, in[1][0]);
          add_product(out[c][1][1], weight, in[1][1]);
        });
      });
  }
  const Integers start = iota() * 6 + (2 * py * 96 + x * 6);  // patch of each column's upper left output
  unroll<group>([&](auto c) __attribute__((always_inline)) {
    const Mask right0 = greater(out[c][0][1], out[c][0][0]), right1 = greater(out[c][1][1], out[c][1][0]);
    const Vector upper = select(right0, out[c][0][1], out[c][0][0]);
    const Vector lower = select(right1, out[c][1][1], out[c][1][0]);
    const Mask below = greater(lower, upper);  // of equal values the first in row order, as in PyTorch
    const Vector best = select(below, lower, upper);
    const int at = ((first + c) * 14 + py) * 16 + x;
    store_aligned(conv.pool1 + at, relu(best));
    if (conv.argmax) {
      const Integers in_upper = select(right0, start + 3, start), in_lower = select(right1, start + 99, start + 96);
      const Mask alive = greater(best, Vector{});
      const Integers patch = select(alive, select(below, in_lower, in_upper), Integers{} + patches1_zero);
      *reinterpret_cast<Integers*>(conv.argmax + at) = patch;
    }
  });
}

LENSCOPE_NOINLINE void conv1_forward(const Conv1& conv) {
  constexpr int group = registers == 32 ? 6 : 2;
  for (int py = 0; py < 14; ++py)
    for (int x = 0; x < 16; x += lanes)
      for (int first = 0; first < 6; first += group) conv1_row<group>(conv, py, first, x);
}

// Lanes of two rows of 16 pixels that interleave to the third that starts at `start`, and of the third row to insert.
template <int start>
struct FirstTwo {
  static constexpr int lane(int i) { return (start + i) / 3 + ((start + i) % 3 == 1 ? 16 : 0); }
};
template <int start>
struct AndThird {
  static constexpr int lane(int i) { return (start + i) % 3 == 2 ? 16 + (start + i) / 3 : i; }
};

// to [16][3]: 16 pixels of three rows, interleaved.
LENSCOPE_INLINE void interleave(const float* a, const float* b, const float* c, float* to) {
  if constexpr (lanes == 16) {
    unroll<3>([&](auto third) __attribute__((always_inline)) {
      const Vector two = shuffle<FirstTwo<third * 16>>(load(a), load(b));
      store(to + third * 16, shuffle<AndThird<third * 16>>(two, load(c)));
    });
  } else {
    for (int x = 0; x < 16; ++x, to += 3) to[0] = a[x], to[1] = b[x], to[2] = c[x];
  }
}

// patches1 [2][C] of [28][32][3] and 16 zeros: rows y, y+1, y+2; then rows y+3, y+4 and ones.
LENSCOPE_NOINLINE void conv1_im2row(const uint8_t* image, int channels, float* patches1) {
  alignas(64) float pixels[33][32];
  for (int x = 0; x < 32; ++x) pixels[32][x] = 1;
  for (int channel = 0; channel < channels; ++channel, image += 1024) {
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) pixels[y][x] = float(image[y * 32 + x]) * pixel_scale;
    float* first = patches1 + channel * patches1_size;
    float* second = first + channels * patches1_size;
    for (int y = 0; y < 28; ++y)
      for (int x = 0; x < 32; x += 16) {
        interleave(&pixels[y][x], &pixels[y + 1][x], &pixels[y + 2][x], first + (y * 32 + x) * 3);
        interleave(&pixels[y + 3][x], &pixels[y + 4][x], &pixels[32][x], second + (y * 32 + x) * 3);
      }
    for (int x = 0; x < 16; ++x) first[patches1_zero + x] = second[patches1_zero + x] = 0;
  }
}

// gradient [6][C][2][16] += Σ patch · d_pool1 over the maxima of one image; d_pool1 is [14][96], rows of 14 × 6 + 12.
template <int group>
LENSCOPE_INLINE void conv1_patches(const float* first, const float* second, const int32_t* argmax,
                                   const float* d_pool1, float* gradient, int stride) {
  constexpr int parts = 16 / lanes;
  Vector sums[group][2][parts] = {};
  for (int py = 0; py < 14; ++py)
    for (int px = 0; px < 14; ++px)
      unroll<group>([&](auto c) __attribute__((always_inline)) {
        const int patch = argmax[(c * 14 + py) * 16 + px];
        const Factor d = factor(d_pool1[py * 96 + px * 6 + c]);
        unroll<parts>([&](auto part) __attribute__((always_inline)) {
          multiply_add(sums[c][0][part], d, load(first + patch + part * lanes));
          multiply_add(sums[c][1][part], d, load(second + patch + part * lanes));
        });
      });
  unroll<group>([&](auto c) __attribute__((always_inline)) {
    unroll<parts>([&](auto part) __attribute__((always_inline)) {
      float* to = gradient + c * stride + part * lanes;
      store_aligned(to, load_aligned(to) + sums[c][0][part]);
      store_aligned(to + 16, load_aligned(to + 16) + sums[c][1][part]);
    });
  });
}

LENSCOPE_NOINLINE void conv1_backward(const float* patches1, int channels, const int32_t* argmax, const float* d_pool1,
                                      float* gradient) {
  constexpr int group = lanes == 16 ? 6 : lanes == 8 ? 3 : registers == 32 ? 3 : 1;
  for (int channel = 0; channel < channels; ++channel) {
    const float *first = patches1 + channel * patches1_size, *second = first + channels * patches1_size;
    for (int c = 0; c < 6; c += group)
      conv1_patches<group>(first, second, argmax + c * 14 * 16, d_pool1 + c, gradient + (c * channels + channel) * 32,
                           channels * 32);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
