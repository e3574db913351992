// Distorted copies of 32×32 images as defined by lenscope.data.augment, within one grey level of that reference.
//
// Three stages: the elastic field, the position that each pixel is sampled from, bilinear sampling.
// - The field is K · noise · K, where K[i][j] is proportional to exp(−(i − j)²/2σ²). K is symmetric under a half turn,
//   so the even and odd parts of the noise along each axis are independent: two products of 32×32 matrices become eight
//   of 16×16, half of the multiply-adds.
// - The four pixels around each position are packed into one word beforehand: one gather per pixel.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "elementary.hpp"
#include "kernels.hpp"
#include "philox.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

constexpr uint64_t augment_purpose = 4;  // lenscope.randomness.Purpose.AUGMENT
constexpr int pixels = image_size * image_size, half = image_size / 2;
constexpr int quads_row = image_size + 4;
constexpr double pi = 3.14159265358979323846, noise_variance = 65535.0 / 12;

struct Positions {
  alignas(64) float right_share[pixels], lower_share[pixels];
  alignas(64) int32_t quad[pixels];
};

// Maps a pixel to its position in the image with a border of one pixel: x′ = xx·x + xy·y + x0, y′ likewise.
struct Inverse {
  float xx, xy, x0, yx, yy, y0;
};

LENSCOPE_INLINE float uniform(uint64_t word) { return float(int32_t(word >> 40)) * 0x1p-23f - 1; }

Inverse draw_inverse(const Augmentation& how, uint64_t seed, uint64_t epoch, uint64_t index) {
  const Words first = random_block(seed, augment_purpose, 1, epoch, index + 1);
  const Words second = random_block(seed, augment_purpose, 2, epoch, index + 1);
  const float rotation = how.rotation * uniform(first.at[2]) * float(pi / 180);
  const float scale = 1 / (1 + how.scale * uniform(first.at[3]));
  const float lean = tan_of(how.shear * uniform(second.at[0]) * float(pi / 180));
  const float sine = sin_of(rotation) * scale, cosine = cos_of(rotation) * scale;
  const float xx = cosine + lean * sine, xy = sine - lean * cosine, yx = -sine, yy = cosine;
  constexpr float centre = (image_size - 1) * 0.5f;
  const float x = centre + how.shift * uniform(first.at[0]), y = centre + how.shift * uniform(first.at[1]);
  return {xx, xy, centre + 1 - xx * x - xy * y, yx, yy, centre + 1 - yx * x - yy * y};
}

// The even and the odd half of K: weights[parity][i][j] = (K[i][j] ± K[i][31 − j]) / 2.
void gaussian_halves(const Augmentation& how, float weights[2][half][half]) {
  float near[2 * half - 1], far[2 * half - 1];  // near[15 + i − j] = K[i][j] / 2, far[i + j] = K[i][31 − j] / 2
  const double factor = exp_of(-0.5 / (double(how.smoothness) * how.smoothness)), step = factor * factor;
  double weight = 0.5 * sqrt(how.elastic / (sqrt(noise_variance * pi) * how.smoothness)), ratio = factor;
  for (int apart = 0; apart < image_size; ++apart) {
    const float value = weight > 1e-20 ? float(weight) : 0;  // denormals would take a hundred cycles each
    if (apart < half) near[half - 1 + apart] = near[half - 1 - apart] = value;
    if (apart > 0) far[image_size - 1 - apart] = value;
    weight *= ratio;
    ratio *= step;
  }
  for (int i = 0; i < half; ++i)
    for (int j = 0; j < half; ++j) {
      weights[0][i][j] = near[half - 1 - i + j] + far[i + j];
      weights[1][i][j] = near[half - 1 - i + j] - far[i + j];
    }
}

// folded[parity along y][parity along x]; the right half of each row of noise is mirrored
void fold(const uint8_t* noise, float folded[2][2][half][half]) {
  alignas(64) float values[pixels];
  for (int i = 0; i < pixels; ++i) values[i] = float(int32_t(noise[i]));
  for (int y = 0; y < half; ++y) {
    const float *upper = values + y * image_size, *lower = values + (image_size - 1 - y) * image_size;
    for (int x = 0; x < half; x += lanes) {
      const Vector a = load_aligned(upper + x), b = load_aligned(upper + half + x);
      const Vector c = load_aligned(lower + x), d = load_aligned(lower + half + x);
      store_aligned(&folded[0][0][y][x], (a + b) + (c + d) - 510.0f);
      store_aligned(&folded[0][1][y][x], (a - b) + (c - d));
      store_aligned(&folded[1][0][y][x], (a + b) - (c + d));
      store_aligned(&folded[1][1][y][x], (a - b) - (c - d));
    }
  }
}

void unfold(const float folded[2][2][half][half], float* field) {
  for (int y = 0; y < half; ++y) {
    float *upper = field + y * image_size, *lower = field + (image_size - 1 - y) * image_size;
    for (int x = 0; x < half; ++x) {
      const float a = folded[0][0][y][x] + folded[1][0][y][x], b = folded[0][1][y][x] + folded[1][1][y][x];
      const float c = folded[0][0][y][x] - folded[1][0][y][x], d = folded[0][1][y][x] - folded[1][1][y][x];
      upper[x] = a + b;
      upper[image_size - 1 - x] = a - b;
      lower[x] = c + d;
      lower[image_size - 1 - x] = c - d;
    }
  }
}

// out = a · b, each 16×16
void multiply(const float a[half][half], const float b[half][half], float out[half][half]) {
  constexpr int columns = half / lanes, rows = registers / 2 / columns;
  // Unrolled on AVX-512, where g++ 12 would otherwise keep 16 pointers (2.4 µs, not 1.9, for both fields); with SSE2's
  // registers unrolling doubles the time.
  constexpr int depth = lanes == 16 ? half : 1;
  for (int y = 0; y < half; y += rows) {
    Vector sums[rows][columns] = {};
    for (int start = 0; start < half; start += depth)
      unroll<depth>([&](auto step) __attribute__((always_inline)) {
        const int k = start + step;
        Vector right[columns];
        unroll<columns>([&](auto c) __attribute__((always_inline)) { right[c] = load_aligned(&b[k][c * lanes]); });
        unroll<rows>([&](auto r) __attribute__((always_inline)) {
          const Vector left = splat(a[y + r][k]);
          unroll<columns>([&](auto c) __attribute__((always_inline)) { sums[r][c] += left * right[c]; });
        });
      });
    unroll<rows>([&](auto r) __attribute__((always_inline)) {
      unroll<columns>([&](auto c) __attribute__((always_inline)) {
        store_aligned(&out[y + r][c * lanes], sums[r][c]);
      });
    });
  }
}

void smooth(const uint8_t* noise, const float weights[2][half][half], float* field) {
  alignas(64) float folded[2][2][half][half], rows[half][half];
  fold(noise, folded);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j) {
      multiply(weights[i], folded[i][j], rows);
      multiply(rows, weights[j], folded[i][j]);
    }
  unfold(folded, field);
}

// field[axis][y][x] in pixels
void elastic_field(const Augmentation& how, uint64_t seed, uint64_t epoch, uint64_t index, float* field) {
  alignas(64) uint8_t noise[2 * pixels];
  for (int row = 0; row < 2 * image_size; ++row) {  // a block of random words per row, the right half mirrored
    const Words words = random_block(seed, augment_purpose, 3 + row, epoch, index + 1);
    const uint64_t bytes[4] = {words.at[0], words.at[1],
                               __builtin_bswap64(words.at[3]), __builtin_bswap64(words.at[2])};
    memcpy(noise + row * image_size, bytes, image_size);
  }
  alignas(64) float weights[2][half][half];
  gaussian_halves(how, weights);
  smooth(noise, weights, field);
  smooth(noise + pixels, weights, field + pixels);
}

// Between 0 and just below 33, in the border of zeros: positions farther out have the value 0, too.
LENSCOPE_INLINE Vector clamped(Vector place) {
  constexpr float highest = image_size + 1 - 0x1p-18f;  // positions in steps of 2⁻¹⁸ are exact
  return highest - relu(highest - relu(place));
}

LENSCOPE_INLINE Integers truncated(Vector values) { return __builtin_convertvector(values, Integers); }
LENSCOPE_INLINE Vector floored(Vector values) { return __builtin_convertvector(truncated(values), Vector); }

void find_positions(const Inverse& inverse, const float* field, Positions& positions) {
  Vector steps;
  for (int lane = 0; lane < lanes; ++lane) steps[lane] = float(lane);
  for (int y = 0; y < image_size; ++y) {
    const float x0 = inverse.xy * float(y) + inverse.x0, y0 = inverse.yy * float(y) + inverse.y0;
    for (int x = 0; x < image_size; x += lanes) {
      const int at = y * image_size + x;
      const Vector along = steps + float(x);
      const Vector from_x = clamped(inverse.xx * along + (x0 + load_aligned(field + at)));
      const Vector from_y = clamped(inverse.yx * along + (y0 + load_aligned(field + pixels + at)));
      const Vector left = floored(from_x), top = floored(from_y);
      store_aligned(positions.right_share + at, from_x - left);
      store_aligned(positions.lower_share + at, from_y - top);
      const Integers quad = truncated(top * float(quads_row) + left);
      memcpy(positions.quad + at, &quad, sizeof quad);
    }
  }
}

// quads[y][x] = the pixels (y − 1, x − 1), (y − 1, x), (y, x − 1), (y, x), from the lowest byte on
void make_quads(const uint8_t* image, uint32_t quads[image_size + 1][quads_row]) {
  alignas(64) uint8_t row[image_size][64];    // a row of pixels from byte 16 on, between zeros
  uint16_t pairs[image_size + 2][quads_row];  // pairs[y][x] = the pixels (y − 1, x − 1), (y − 1, x)
  memset(pairs[0], 0, sizeof pairs[0]);
  memset(pairs[image_size + 1], 0, sizeof pairs[0]);
  for (int y = 0; y < image_size; ++y) {
    memcpy(row[y] + 16, image + y * image_size, image_size);
    row[y][15] = row[y][16 + image_size] = 0;
  }
  for (int y = 0; y < image_size; ++y)
    for (int x = 0; x <= image_size; ++x) pairs[y + 1][x] = uint16_t(row[y][15 + x] | row[y][16 + x] << 8);
  for (int y = 0; y <= image_size; ++y)
    for (int x = 0; x <= image_size; ++x) quads[y][x] = pairs[y][x] | uint32_t(pairs[y + 1][x]) << 16;
}

// Without restrict, `copy` could alias everything and the loop would not be vectorised.
void sample(const uint32_t* quads, const Positions& positions, uint8_t* __restrict copy) {
  for (int i = 0; i < pixels; ++i) {
    const uint32_t quad = quads[positions.quad[i]];
    const float a = float(int32_t(quad & 255)), b = float(int32_t(quad >> 8 & 255));
    const float c = float(int32_t(quad >> 16 & 255)), d = float(int32_t(quad >> 24));
    const float upper = a + positions.right_share[i] * (b - a), lower = c + positions.right_share[i] * (d - c);
    copy[i] = uint8_t(int32_t(upper + positions.lower_share[i] * (lower - upper) + 0.5f));
  }
}

// One image's distorted copy, (channels, 32, 32).
void distort(const Augmentation& how, uint64_t seed, uint64_t epoch, uint64_t index, const uint8_t* image,
             int channels, uint8_t* distorted) {
  alignas(64) float field[2 * pixels];
  Positions positions;
  if (how.elastic != 0)
    elastic_field(how, seed, epoch, index, field);
  else
    memset(field, 0, sizeof field);
  find_positions(draw_inverse(how, seed, epoch, index), field, positions);
  for (int channel = 0; channel < channels; ++channel) {
    uint32_t quads[image_size + 1][quads_row];
    make_quads(image + channel * pixels, quads);
    sample(&quads[0][0], positions, distorted + channel * pixels);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
