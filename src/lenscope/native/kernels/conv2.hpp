// The second convolution with ReLU and 2×2 max pooling: (6, 14, 14) to (16, 5, 5), and the gradients of its weights and
// its input.
//
// Forward. The lanes are the 16 output channels. 20 outputs (two rows) are in registers, so that a vector of weights is
// loaded once for 20 multiply-adds, whose other factor is one float of the input, broadcast by its load.
//
// Backward. Both gradients visit the 25 × 16 maxima only, a quarter of the outputs.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

struct Conv2 {
  const float* pool1;  // [6][14][16]
  const float *weights, *bias;
  float* pool2;      // [25][16]
  int32_t* argmax;  // [25][16], null without a gradient
};

// Adds one input channel to two rows of outputs. The ten weights of a row of pixels (kernel row dy for the upper
// outputs, dy − 1 for the lower) are in registers, and each pixel is read once for up to ten multiply-adds.
template <int columns>
LENSCOPE_INLINE void sum_by_pixels(const float* rows, const float* weights, Vector (&out)[2][columns]) {
  Vector upper[5], lower[5];
  unroll<6>([&](auto row) __attribute__((always_inline)) {
    unroll<5>([&](auto dx) __attribute__((always_inline)) {
      lower[dx] = upper[dx];
      if constexpr (row < 5) upper[dx] = load_volatile(weights + (row * 5 + dx) * 16);
    });
    unroll<columns + 4>([&](auto x) __attribute__((always_inline)) {
      const Factor pixel = broadcast(rows + row * 16 + x);
      unroll<5>([&](auto dx) __attribute__((always_inline)) {
        constexpr int j = x - dx;
        if constexpr (j >= 0 && j < columns && row < 5) multiply_add(out[0][j], pixel, upper[dx]);
        if constexpr (j >= 0 && j < columns && row > 0) multiply_add(out[1][j], pixel, lower[dx]);
      });
    });
  });
}

// As sum_by_pixels, with the weights in memory, for few short registers.
template <int columns>
LENSCOPE_INLINE void sum_from_memory(const float* rows, const float* weights, Vector (&out)[2][columns]) {
  unroll<6>([&](auto row) __attribute__((always_inline)) {
    unroll<columns + 4>([&](auto x) __attribute__((always_inline)) {
      const Factor pixel = broadcast(rows + row * 16 + x);
      unroll<5>([&](auto dx) __attribute__((always_inline)) {
        constexpr int j = x - dx;
        if constexpr (j >= 0 && j < columns && row < 5) add_product(out[0][j], pixel, weights + (row * 5 + dx) * 16);
        if constexpr (j >= 0 && j < columns && row > 0) add_product(out[1][j], pixel, weights + (row * 5 + dx - 5) * 16);
      });
    });
  });
}

// As sum_by_pixels, with fewer registers: tap by tap.
template <int columns>
LENSCOPE_INLINE void sum_by_taps(const float* rows, const float* weights, Vector (&out)[2][columns]) {
  unroll<30>([&](auto tap) __attribute__((always_inline)) {
    constexpr int row = tap / 5, dx = tap % 5;
    const Vector upper = row < 5 ? load_volatile(weights + tap * 16) : Vector{};
    const Vector lower = row > 0 ? load_volatile(weights + (tap - 5) * 16) : Vector{};
    unroll<columns>([&](auto j) __attribute__((always_inline)) {
      const Factor pixel = broadcast(rows + row * 16 + dx + j);
      if constexpr (row < 5) out[0][j] += upper * pixel;
      if constexpr (row > 0) out[1][j] += lower * pixel;
    });
  });
}

// `columns` outputs of two rows from (2·py, x), channels channel … channel + lanes − 1; true if one is NaN.
template <int columns>
LENSCOPE_INLINE bool conv2_rows(const Conv2& conv, int py, int x, int channel) {
  Vector out[2][columns];
  const Vector bias = load_aligned(conv.bias + channel);
  unroll<columns>([&](auto j) __attribute__((always_inline)) { out[0][j] = out[1][j] = bias; });
  const float* weights = conv.weights + channel;
  const float* rows = conv.pool1 + 2 * py * 16 + x;
  for (int in = 0; in < 6; ++in, rows += 14 * 16, weights += 25 * 16) {
    if constexpr (registers == 32) sum_by_pixels<columns>(rows, weights, out);
    else if constexpr (lanes == 4) sum_from_memory<columns>(rows, weights, out);
    else sum_by_taps<columns>(rows, weights, out);
  }
  bool broken = false;
  unroll<columns / 2>([&](auto j) __attribute__((always_inline)) {
    const Vector a = out[0][2 * j], b = out[0][2 * j + 1], c = out[1][2 * j], d = out[1][2 * j + 1];
    const Mask right0 = greater(b, a), right1 = greater(d, c);
    const Vector upper = select(right0, b, a), lower = select(right1, d, c);
    const Mask below = greater(lower, upper);
    const int at = (py * 5 + x / 2 + j) * 16 + channel;
    store_aligned(conv.pool2 + at, relu(select(below, lower, upper)));
    broken |= any(unordered(a, b) | unordered(c, d));
    if (conv.argmax) {
      const Integers one = Integers{} + 1, two = one + one, three = two + one;
      const Integers winner = select(below, select(right1, three, two), select(right0, one, Integers{}));
      *reinterpret_cast<Integers*>(conv.argmax + at) = winner;
    }
  });
  return broken;
}

// A maximum may drop a NaN; writing one to the features makes the loss NaN.
LENSCOPE_NOINLINE void conv2_forward(const Conv2& conv) {
  bool broken = false;
  for (int py = 0; py < 5; ++py)
    for (int channel = 0; channel < 16; channel += lanes)
      if constexpr (registers == 32) {
        broken |= conv2_rows<10>(conv, py, 0, channel);
      } else {
        broken |= conv2_rows<6>(conv, py, 0, channel);
        broken |= conv2_rows<4>(conv, py, 6, channel);
      }
  if (broken) conv.pool2[0] = __builtin_nanf("");
}

// Lanes of three channels' rows that make three fives of pixels from x on.
template <int x>
struct FirstFives {
  static constexpr int lane(int i) { return i < 5 ? x + i : i < 10 ? 16 + x + i - 5 : 0; }
};
template <int x>
struct ThirdFive {
  static constexpr int lane(int i) { return i < 10 || i == 15 ? i : 16 + x + i - 10; }
};

// patches2 [14][10][32]: five pixels from (y, x) of six channels, as twice [3][5] and one unused float, aligned.
LENSCOPE_NOINLINE void conv2_im2row(const float* pool1, float* patches2) {
  for (int y = 0; y < 14; ++y)
    for (int half = 0; half < 2; ++half) {
      const float* rows[3];
      for (int in = 0; in < 3; ++in) rows[in] = pool1 + ((half * 3 + in) * 14 + y) * 16;
      float* to = patches2 + y * 320 + half * 16;
      if constexpr (lanes == 16) {
        const Vector a = load_aligned(rows[0]), b = load_aligned(rows[1]), c = load_aligned(rows[2]);
        unroll<10>([&](auto x) __attribute__((always_inline)) {
          store_aligned(to + x * 32, shuffle<ThirdFive<x>>(shuffle<FirstFives<x>>(a, b), c));
        });
      } else {
        for (int x = 0; x < 10; ++x, to += 32)
          for (int in = 0; in < 3; ++in) {
            store_four(to + in * 5, load_four(rows[in] + x));
            to[in * 5 + 4] = rows[in][x + 4];
          }
      }
    }
}

// conv2_backward has for each channel and column shift seven rows: zeros, five rows of 36 floats (six pixels × six
// channels), zeros. The last four floats of each row, its tail, are stored after the rows: 24 floats for the six rows
// from the first, 24 for the six from the second, each padded to 32.
constexpr int back_tails = 7 * 32, back_block = back_tails + 2 * 32, back_channel = 2 * back_block;

// For each maximum, where its patch starts in patches2 and its shifted weights in conv2_backward, in floats. If the
// maximum is in the lower row, its weights start at the row of zeros.
void argmax_offsets(const int32_t* argmax, int32_t* patches2, int32_t* weights) {
  for (int position = 0; position < 25; ++position)
    for (int channel = 0; channel < 16; channel += lanes) {
      const int at = position * 16 + channel, first = (position / 5 * 2 * 10 + position % 5 * 2) * 32;
      const Integers winner = *reinterpret_cast<const Integers*>(argmax + at);
      const Integers row = winner >> 1, column = winner & 1, number = iota() + channel;
      *reinterpret_cast<Integers*>(patches2 + at) = first + row * 320 + column * 32;
      *reinterpret_cast<Integers*>(weights + at) = number * back_channel + column * back_block + (1 - row) * 32;
    }
}

// gradient [16][5][32] += Σ patch · d over the maxima; d is [25][16].
LENSCOPE_NOINLINE void conv2_weight_gradient(const float* patches2, const int32_t* offsets, const float* d,
                                             float* gradient) {
  for (int channel = 0; channel < 16; ++channel, gradient += 5 * 32)
    for (int at = 0; at < 32; at += 2 * lanes > 32 ? 32 : 2 * lanes) {
      Vector sums[5][2];
      unroll<5>([&](auto dy) __attribute__((always_inline)) {
        sums[dy][0] = load_aligned(gradient + dy * 32 + at);
        sums[dy][1] = load_aligned(gradient + dy * 32 + at + lanes);
      });
      for (int position = 0; position < 25; ++position) {
        const float* patch = patches2 + offsets[position * 16 + channel] + at;
        const Factor own = factor(d[position * 16 + channel]);
        unroll<5>([&](auto dy) __attribute__((always_inline)) {
          add_product(sums[dy][0], own, patch + dy * 320);
          add_product(sums[dy][1], own, patch + dy * 320 + lanes);
        });
      }
      unroll<5>([&](auto dy) __attribute__((always_inline)) {
        store_aligned(gradient + dy * 32 + at, sums[dy][0]);
        store_aligned(gradient + dy * 32 + at + lanes, sums[dy][1]);
      });
    }
}

// Six rows of pool1's gradient in registers, each 6 pixels × 6 channels: 32 floats (fewer at a time with short
// registers) and a tail of 4. The tails of the six rows are vectors of their own. `row_vectors` is 2, or 0 for tails alone.
template <int row_vectors, int tail_vectors>
struct SixRows {
  Vector sums[6][row_vectors ? row_vectors : 1], tails[tail_vectors ? tail_vectors : 1];

  template <int rows>
  LENSCOPE_INLINE void add_to(float* d_pool1) const {
    alignas(64) float kept[32];
    unroll<tail_vectors>([&](auto part) __attribute__((always_inline)) {
      store_aligned(kept + part * lanes, tails[part]);
    });
    unroll<rows>([&](auto row) __attribute__((always_inline)) {
      float* to = d_pool1 + row * 96;
      unroll<row_vectors>([&](auto part) __attribute__((always_inline)) {
        store(to + part * lanes, load(to + part * lanes) + sums[row][part]);
      });
      if constexpr (tail_vectors > 0) store_four(to + 32, load_four(to + 32) + load_four(kept + row * 4));
    });
  }

  LENSCOPE_INLINE void move_up_two() {
    unroll<row_vectors>([&](auto part) __attribute__((always_inline)) {
      unroll<4>([&](auto row) __attribute__((always_inline)) { sums[row][part] = sums[row + 2][part]; });
      sums[4][part] = sums[5][part] = Vector{};
    });
    if constexpr (lanes == 16 && tail_vectors == 2) {
      tails[0] = shuffle<From<8>>(tails[0], tails[1]);
      tails[1] = Vector{};
    } else {
      constexpr int two = 8 / lanes ? 8 / lanes : 1;
      unroll<tail_vectors>([&](auto part) __attribute__((always_inline)) {
        tails[part] = part + two < tail_vectors ? tails[(part + two) % tail_vectors] : Vector{};
      });
    }
  }
};

constexpr int channels_at_once = 8;  // their weights, 18 KB with both shifts, stay in L1 from image to image

// One column of pooled positions, of some channels. Each position reaches six rows, two further down than the position
// before it, so that two rows are complete after each. Weights are read with the column shift (a copy for each) and the
// row shift (an earlier start, among rows of zeros) of the maximum, so that all sums stay in registers.
template <int row_vectors, int tail_vectors>
LENSCOPE_INLINE void conv2_column(const PackedWeights& packed, const int32_t* offsets, const float* d, int at,
                                  float* d_pool1) {
  SixRows<row_vectors, tail_vectors> rows = {};
  for (int py = 0; py < 5; ++py, offsets += 5 * 16, d += 5 * 16, d_pool1 += 2 * 96) {
    for (int channel = 0; channel < channels_at_once; ++channel) {
      const float* weights = packed.conv2_backward + offsets[channel];
      const Factor own = broadcast(d + channel);
      unroll<6>([&](auto row) __attribute__((always_inline)) {
        unroll<row_vectors>([&](auto part) __attribute__((always_inline)) {
          add_product(rows.sums[row][part], own, weights + at + row * 32 + part * lanes);
        });
      });
      unroll<tail_vectors>([&](auto part) __attribute__((always_inline)) {
        add_product(rows.tails[part], own, weights + back_tails + part * lanes);
      });
    }
    rows.template add_to<2>(d_pool1);
    rows.move_up_two();
  }
  rows.template add_to<4>(d_pool1);
}

constexpr int wide = lanes == 4 && registers == 32 ? 4 : 2;  // vectors of a row at a time

// d_pool1 [14][96], rows of 14 pixels × 6 channels, += the part of output channels first … first + 7.
LENSCOPE_NOINLINE void conv2_input_gradient(const PackedWeights& packed, const int32_t* offsets, const float* d,
                                            int first, float* d_pool1) {
  for (int px = 0; px < 5; ++px) {
    const int own = px * 16 + first;
    float* tile = d_pool1 + px * 12;
    constexpr int tails = (24 + lanes - 1) / lanes;
    constexpr bool together = 6 * wide + tails < registers;  // else the tails have a turn of their own
    if constexpr (!together) conv2_column<0, tails>(packed, offsets + own, d + own, 0, tile);
    conv2_column<wide, together ? tails : 0>(packed, offsets + own, d + own, 0, tile);
    for (int at = wide * lanes; at < 32; at += wide * lanes)
      conv2_column<wide, 0>(packed, offsets + own, d + own, at, tile + at);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
