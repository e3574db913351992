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

// Relu'd outputs of one position, [16][10][10], for who wants to see them.
LENSCOPE_INLINE void keep_position(float* maps, int y, int x, int channel, Vector out) {
  alignas(64) float kept[lanes];  // an index into `out` itself would keep it in memory, in the loops above too
  store_aligned(kept, relu(out));
  for (int lane = 0; lane < lanes; ++lane) maps[((channel + lane) * 10 + y) * 10 + x] = kept[lane];
}

struct Conv2 {
  const float* pool1;  // [6][14][16]
  const float *weights, *bias;
  float* pool2;      // [25][16]
  int32_t* winners;  // [25][16], null where no gradient follows
  float* maps;       // [16][10][10], or null
};

// `columns` outputs of two rows from (2·py, x) on, of `lanes` channels from `channel` on; whether one is not a number.
template <int columns>
LENSCOPE_INLINE bool conv2_rows(const Conv2& conv, int py, int x, int channel) {
  Vector out[2][columns];
  const Vector bias = load_aligned(conv.bias + channel);
  repeat<columns>([&](auto j) __attribute__((always_inline)) { out[0][j] = out[1][j] = bias; });
  const float* weights = conv.weights + channel;
  const float* rows = conv.pool1 + 2 * py * 16 + x;
  for (int in = 0; in < 6; ++in, rows += 14 * 16, weights += 25 * 16)
    repeat<30>([&](auto tap) __attribute__((always_inline)) {
      constexpr int row = tap / 5, dx = tap % 5;  // of the input: the upper outputs' dy, and the lower ones' dy + 1
      const Vector upper = row < 5 ? load_aligned(weights + tap * 16) : Vector{};
      const Vector lower = row > 0 ? load_aligned(weights + (tap - 5) * 16) : Vector{};
      repeat<columns>([&](auto j) __attribute__((always_inline)) {
        const Vector pixel = broadcast(rows + row * 16 + dx + j);
        if constexpr (row < 5) out[0][j] += upper * pixel;
        if constexpr (row > 0) out[1][j] += lower * pixel;
      });
    });
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
    if (conv.maps) {
      keep_position(conv.maps, 2 * py, x + 2 * j, channel, a);
      keep_position(conv.maps, 2 * py, x + 2 * j + 1, channel, b);
      keep_position(conv.maps, 2 * py + 1, x + 2 * j, channel, c);
      keep_position(conv.maps, 2 * py + 1, x + 2 * j + 1, channel, d);
    }
  });
  return broken;
}

// A maximum drops what is not a number; one in the features keeps the loss from looking sound.
void conv2_forward(const Conv2& conv) {
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
void spread_patches(const float* pool1, float* patches) {
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

// Where each winner's patch starts in `patches`, and its shifted weights in the two copies: bytes, the copy's in the lower
// half of the number, the tails' in the upper.
struct WinnerOffsets {
  int32_t *patches, *weights;  // [25][16] each
};

constexpr int back_rows = 6 * 32, back_channel = 2 * back_rows, tails_zero = 16 * 64;

void find_offsets(const int32_t* winners, const WinnerOffsets& offsets) {
  for (int position = 0; position < 25; ++position)
    for (int channel = 0; channel < 16; channel += lanes) {
      const int at = position * 16 + channel, first = (position / 5 * 2 * 10 + position % 5 * 2) * 32;
      const Integers winner = *reinterpret_cast<const Integers*>(winners + at);
      const Integers row = winner >> 1, column = winner & 1, number = counted() + channel;
      const Integers right = -column;  // all ones where the right column won
      const Integers rows = number * back_channel + (right & back_rows) + 32 - (row << 5);
      const Integers tails = (right & ((number << 6) + (row << 5))) | (~right & tails_zero);
      *reinterpret_cast<Integers*>(offsets.patches + at) = first + (-row & 320) + (right & 32);
      *reinterpret_cast<Integers*>(offsets.weights + at) = (rows << 2) | (tails << 18);
    }
}

// gradient [16][5][32] += the patches of the winners, each times its gradient d [25][16].
void conv2_weight_gradient(const float* patches, const int32_t* offsets, const float* d, float* gradient) {
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

LENSCOPE_INLINE const float* beyond(const float* from, uint32_t bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(from) + bytes);
}

// The gradient of pool1 that one pooled position's 16 winners make: 6 rows of 6 pixels × 6 channels. A row of 36 floats
// is 32 and a tail of 4; the tails of the six rows are vectors of their own. A winner's weights are read with its column
// shift (a copy each) and its row shift (an earlier start, rows of zeros about them), so that all 16 sum in registers.
template <int tail_vectors>
LENSCOPE_INLINE void conv2_tile(const Copies& copies, const int32_t* offsets, const float* d, int at, float* d_pool1) {
  Vector sums[6][2] = {}, ends[tail_vectors ? tail_vectors : 1] = {};
  for (int channel = 0; channel < 16; ++channel) {
    const uint32_t offset = (uint32_t)offsets[channel];
    const float* weights = beyond(copies.conv2_back + at, offset & 0xffff);
    const float* tail = beyond(copies.conv2_tails, offset >> 16);
    const Vector factor = splat(d[channel]);
    repeat<6>([&](auto row) __attribute__((always_inline)) {
      sums[row][0] += factor * load_aligned(weights + row * 32);
      sums[row][1] += factor * load_aligned(weights + row * 32 + lanes);
    });
    repeat<tail_vectors>([&](auto part) __attribute__((always_inline)) {
      ends[part] += factor * load_aligned(tail + part * lanes);
    });
  }
  repeat<6>([&](auto row) __attribute__((always_inline)) {
    float* to = d_pool1 + row * 96 + at;
    store(to, load(to) + sums[row][0]);
    store(to + lanes, load(to + lanes) + sums[row][1]);
  });
  if constexpr (tail_vectors > 0) {
    alignas(64) float kept[32];
    repeat<tail_vectors>([&](auto part) __attribute__((always_inline)) {
      store_aligned(kept + part * lanes, ends[part]);
    });
    repeat<6>([&](auto row) __attribute__((always_inline)) {
      float* to = d_pool1 + row * 96 + 32;
      store_four(to, load_four(to) + load_four(kept + row * 4));
    });
  }
}

// d_pool1 [14][96]: rows of 14 pixels × 6 channels.
void conv2_input_gradient(const Copies& copies, const WinnerOffsets& offsets, const float* d, float* d_pool1) {
  memset(d_pool1, 0, 14 * 96 * sizeof(float));
  for (int position = 0; position < 25; ++position) {
    const int32_t* own = offsets.weights + position * 16;
    float* tile = d_pool1 + position / 5 * 2 * 96 + position % 5 * 12;
    conv2_tile<(24 + lanes - 1) / lanes>(copies, own, d + position * 16, 0, tile);
    for (int at = 2 * lanes; at < 32; at += 2 * lanes) conv2_tile<0>(copies, own, d + position * 16, at, tile);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
