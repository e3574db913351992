// The second convolution with its ReLU and pool: (6, 14, 14) to (16, 5, 5), and both of its gradients.
//
// Forward. The 16 output channels are the lanes; 20 outputs (two rows) are in registers at once, so that a vector of
// weights is loaded once for 20 multiply-adds, whose other factor is one float of the input, broadcast by the load.
//
// Backward. One of four outputs won its pool. Both gradients visit the 25 × 16 winners only; a dead one has gradient 0.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

struct Conv2 {
  const float* pool1;  // [6][14][16]
  const float *weights, *bias;
  float* pool2;      // [25][16]
  int32_t* winners;  // [25][16], null where no gradient follows
};

// One input channel's part of two rows of outputs. The ten weights that a row of pixels meets (with the upper outputs it
// is row dy, with the lower ones dy − 1) are in registers, and each pixel is read once for up to ten multiply-adds.
template <int columns>
LENSCOPE_INLINE void sum_by_pixels(const float* rows, const float* weights, Vector (&out)[2][columns]) {
  Vector upper[5], lower[5];
  repeat<6>([&](auto row) __attribute__((always_inline)) {
    repeat<5>([&](auto dx) __attribute__((always_inline)) {
      lower[dx] = upper[dx];
      if constexpr (row < 5) upper[dx] = load_anew(weights + (row * 5 + dx) * 16);
    });
    repeat<columns + 4>([&](auto x) __attribute__((always_inline)) {
      const Vector pixel = broadcast(rows + row * 16 + x);
      repeat<5>([&](auto dx) __attribute__((always_inline)) {
        constexpr int j = x - dx;
        if constexpr (j >= 0 && j < columns && row < 5) out[0][j] += upper[dx] * pixel;
        if constexpr (j >= 0 && j < columns && row > 0) out[1][j] += lower[dx] * pixel;
      });
    });
  });
}

// The same where there are too few registers for that: tap by tap.
template <int columns>
LENSCOPE_INLINE void sum_by_taps(const float* rows, const float* weights, Vector (&out)[2][columns]) {
  repeat<30>([&](auto tap) __attribute__((always_inline)) {
    constexpr int row = tap / 5, dx = tap % 5;
    const Vector upper = row < 5 ? load_anew(weights + tap * 16) : Vector{};
    const Vector lower = row > 0 ? load_anew(weights + (tap - 5) * 16) : Vector{};
    repeat<columns>([&](auto j) __attribute__((always_inline)) {
      const Vector pixel = broadcast(rows + row * 16 + dx + j);
      if constexpr (row < 5) out[0][j] += upper * pixel;
      if constexpr (row > 0) out[1][j] += lower * pixel;
    });
  });
}

// `columns` outputs of two rows from (2·py, x) on, of `lanes` channels from `channel` on; whether one is not a number.
template <int columns>
LENSCOPE_INLINE bool conv2_rows(const Conv2& conv, int py, int x, int channel) {
  Vector out[2][columns];
  const Vector bias = load_aligned(conv.bias + channel);
  repeat<columns>([&](auto j) __attribute__((always_inline)) { out[0][j] = out[1][j] = bias; });
  const float* weights = conv.weights + channel;
  const float* rows = conv.pool1 + 2 * py * 16 + x;
  for (int in = 0; in < 6; ++in, rows += 14 * 16, weights += 25 * 16) {
    if constexpr (registers == 32) sum_by_pixels<columns>(rows, weights, out);
    else sum_by_taps<columns>(rows, weights, out);
  }
  bool broken = false;
  repeat<columns / 2>([&](auto j) __attribute__((always_inline)) {
    const Vector a = out[0][2 * j], b = out[0][2 * j + 1], c = out[1][2 * j], d = out[1][2 * j + 1];
    const Mask right0 = greater(b, a), right1 = greater(d, c);
    const Vector upper = select(right0, b, a), lower = select(right1, d, c);
    const Mask below = greater(lower, upper);
    const int at = (py * 5 + x / 2 + j) * 16 + channel;
    store_aligned(conv.pool2 + at, relu(select(below, lower, upper)));
    broken |= any(unordered(a, b) | unordered(c, d));
    if (conv.winners) {
      const Integers one = Integers{} + 1, two = one + one, three = two + one;
      const Integers winner = select(below, select(right1, three, two), select(right0, one, Integers{}));
      *reinterpret_cast<Integers*>(conv.winners + at) = winner;
    }
  });
  return broken;
}

// A maximum drops what is not a number; one in the features keeps the loss from looking sound.
LENSCOPE_ALONE void conv2_forward(const Conv2& conv) {
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

// Which lanes of the rows of three channels make the three fives of pixels that start at x.
template <int x>
struct FirstFives {
  static constexpr int lane(int i) { return i < 5 ? x + i : i < 10 ? 16 + x + i - 5 : 0; }
};
template <int x>
struct ThirdFive {
  static constexpr int lane(int i) { return i < 10 || i == 15 ? i : 16 + x + i - 10; }
};

// [14][10][32]: the five pixels of six channels from (y, x) on, twice [3][5] and one that nobody reads, each aligned.
LENSCOPE_ALONE void spread_patches(const float* pool1, float* patches) {
  for (int y = 0; y < 14; ++y)
    for (int half = 0; half < 2; ++half) {
      const float* rows[3];
      for (int in = 0; in < 3; ++in) rows[in] = pool1 + ((half * 3 + in) * 14 + y) * 16;
      float* to = patches + y * 320 + half * 16;
      if constexpr (lanes == 16) {
        const Vector a = load_aligned(rows[0]), b = load_aligned(rows[1]), c = load_aligned(rows[2]);
        repeat<10>([&](auto x) __attribute__((always_inline)) {
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

// The copy of the weights for the gradient of pool1: for each channel and each column shift a block of rows, a row of
// zeros, five of 36 floats (six channels beside each other for each of six pixels), another of zeros. A row's last four floats, its
// tail, are elsewhere: 24 floats for six rows from the first on, 24 for those from the second on, each padded to 32.
constexpr int back_tails = 7 * 32, back_block = back_tails + 2 * 32, back_channel = 2 * back_block;

// Where each winner's patch starts in `patches`, and its shifted weights in the copy, in floats. Where the lower row won,
// the row of zeros comes first, and its tails.
void find_offsets(const int32_t* winners, int32_t* patches, int32_t* weights) {
  for (int position = 0; position < 25; ++position)
    for (int channel = 0; channel < 16; channel += lanes) {
      const int at = position * 16 + channel, first = (position / 5 * 2 * 10 + position % 5 * 2) * 32;
      const Integers winner = *reinterpret_cast<const Integers*>(winners + at);
      const Integers row = winner >> 1, column = winner & 1, number = counted() + channel;
      *reinterpret_cast<Integers*>(patches + at) = first + row * 320 + column * 32;
      *reinterpret_cast<Integers*>(weights + at) = number * back_channel + column * back_block + (1 - row) * 32;
    }
}

// gradient [16][5][32] += the patches of the winners, each times its gradient d [25][16].
LENSCOPE_ALONE void conv2_weight_gradient(const float* patches, const int32_t* offsets, const float* d,
                                          float* gradient) {
  for (int channel = 0; channel < 16; ++channel, gradient += 5 * 32)
    for (int at = 0; at < 32; at += 2 * lanes > 32 ? 32 : 2 * lanes) {
      Vector sums[5][2];
      repeat<5>([&](auto dy) __attribute__((always_inline)) {
        sums[dy][0] = load_aligned(gradient + dy * 32 + at);
        sums[dy][1] = load_aligned(gradient + dy * 32 + at + lanes);
      });
      for (int position = 0; position < 25; ++position) {
        const float* patch = patches + offsets[position * 16 + channel] + at;
        const Vector factor = splat(d[position * 16 + channel]);
        repeat<5>([&](auto dy) __attribute__((always_inline)) {
          sums[dy][0] += factor * load_aligned(patch + dy * 320);
          sums[dy][1] += factor * load_aligned(patch + dy * 320 + lanes);
        });
      }
      repeat<5>([&](auto dy) __attribute__((always_inline)) {
        store_aligned(gradient + dy * 32 + at, sums[dy][0]);
        store_aligned(gradient + dy * 32 + at + lanes, sums[dy][1]);
      });
    }
}

// Six rows of a gradient of pool1 in registers, 6 pixels × 6 channels wide. A row of 36 floats is 32 (where a register
// holds less, some of them at a time) and a tail of 4; the tails of the six rows are vectors of their own.
template <int tail_vectors>
struct SixRows {
  Vector sums[6][2], tails[tail_vectors ? tail_vectors : 1];

  template <int rows>
  LENSCOPE_INLINE void add_to(float* d_pool1) const {
    alignas(64) float kept[32];
    repeat<tail_vectors>([&](auto part) __attribute__((always_inline)) {
      store_aligned(kept + part * lanes, tails[part]);
    });
    repeat<rows>([&](auto row) __attribute__((always_inline)) {
      float* to = d_pool1 + row * 96;
      store(to, load(to) + sums[row][0]);
      store(to + lanes, load(to + lanes) + sums[row][1]);
      if constexpr (tail_vectors > 0) store_four(to + 32, load_four(to + 32) + load_four(kept + row * 4));
    });
  }

  LENSCOPE_INLINE void move_up_two() {
    repeat<4>([&](auto row) __attribute__((always_inline)) {
      sums[row][0] = sums[row + 2][0];
      sums[row][1] = sums[row + 2][1];
    });
    sums[4][0] = sums[4][1] = sums[5][0] = sums[5][1] = Vector{};
    if constexpr (lanes == 16 && tail_vectors == 2) {
      tails[0] = shuffle<From<8>>(tails[0], tails[1]);
      tails[1] = Vector{};
    } else {
      constexpr int two = 8 / lanes ? 8 / lanes : 1;
      repeat<tail_vectors>([&](auto part) __attribute__((always_inline)) {
        tails[part] = part + two < tail_vectors ? tails[(part + two) % tail_vectors] : Vector{};
      });
    }
  }
};

constexpr int channels_at_once = 8;  // whose weights, 18 KB with those of both shifts, stay in L1 from image to image

// What these channels' winners in one column of pooled positions make. Each reaches 6 rows, two below the last one's, so
// that two are done after each. A winner's weights are read with its column shift (a copy each) and its row shift (an
// earlier start, rows of zeros about them), so that all sum in registers.
template <int tail_vectors>
LENSCOPE_INLINE void conv2_column(const Copies& copies, const int32_t* offsets, const float* d, int at, float* d_pool1) {
  SixRows<tail_vectors> rows = {};
  for (int py = 0; py < 5; ++py, offsets += 5 * 16, d += 5 * 16, d_pool1 += 2 * 96) {
    for (int channel = 0; channel < channels_at_once; ++channel) {
      const float* weights = copies.conv2_back + offsets[channel];
      const Vector factor = broadcast(d + channel);
      repeat<6>([&](auto row) __attribute__((always_inline)) {
        rows.sums[row][0] += factor * load_aligned(weights + at + row * 32);
        rows.sums[row][1] += factor * load_aligned(weights + at + row * 32 + lanes);
      });
      repeat<tail_vectors>([&](auto part) __attribute__((always_inline)) {
        rows.tails[part] += factor * load_aligned(weights + back_tails + part * lanes);
      });
    }
    rows.template add_to<2>(d_pool1);
    rows.move_up_two();
  }
  rows.template add_to<4>(d_pool1);
}

// d_pool1 [14][96], rows of 14 pixels × 6 channels, += what the channels from `first` on make.
LENSCOPE_ALONE void conv2_input_gradient(const Copies& copies, const int32_t* offsets, const float* d, int first,
                                         float* d_pool1) {
  for (int px = 0; px < 5; ++px) {
    const int own = px * 16 + first;
    float* tile = d_pool1 + px * 12;
    conv2_column<(24 + lanes - 1) / lanes>(copies, offsets + own, d + own, 0, tile);
    for (int at = 2 * lanes; at < 32; at += 2 * lanes) conv2_column<0>(copies, offsets + own, d + own, at, tile + at);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
