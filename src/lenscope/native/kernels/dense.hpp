// The dense layers, with weights (out, in) as in PyTorch. Forward, the lanes are inputs, and a tile of 16 sums is
// reduced over the lanes at its end; backward, the lanes are the inputs whose gradient is computed.
#pragma once

#include "elementary.hpp"
#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

// c[i][j] = Σ k a(i, k) · b[k][j], where a(i, k) = a[i · a_row + k · a_step]. Each sum runs over k in order in every
// tile, so results do not depend on how rows are shared among threads.
struct DenseProduct {
  const float* a;
  int a_row, a_step;
  const float* b;
  int b_row, depth;
  float* c;
  int c_row;
  bool add = false;             // c +=
  const float* gate = nullptr;  // like c: where it is not positive, c[i][j] = 0, as backward through a ReLU
};

template <int rows, int vectors>
LENSCOPE_INLINE void product_tile(const DenseProduct& p, int row, int column) {
  Vector sums[rows][vectors] = {};
  float* c = p.c + row * p.c_row + column;
  if (p.add)
    unroll<rows>([&](auto i) __attribute__((always_inline)) {
      unroll<vectors>([&](auto j) __attribute__((always_inline)) { sums[i][j] = load(c + i * p.c_row + j * lanes); });
    });
  const float *a = p.a + row * p.a_row, *b = p.b + column;
  for (int k = 0; k < p.depth; ++k, a += p.a_step, b += p.b_row) {
    Vector in[vectors];
    unroll<rows>([&](auto i) __attribute__((always_inline)) {
      const Factor own = factor(a[i * p.a_row]);
      unroll<vectors>([&](auto j) __attribute__((always_inline)) {
        if constexpr (i == 0) in[j] = load(b + j * lanes);
        multiply_add(sums[i][j], own, in[j]);
      });
    });
  }
  unroll<rows>([&](auto i) __attribute__((always_inline)) {
    unroll<vectors>([&](auto j) __attribute__((always_inline)) {
      Vector value = sums[i][j];
      if (p.gate)
        value = select(greater(load(p.gate + (row + i) * p.c_row + column + j * lanes), Vector{}), value, Vector{});
      store(c + i * p.c_row + j * lanes, value);
    });
  });
}

// All rows of some columns: the columns of b stay in L1 from one tile of rows to the next.
template <int vectors>
void product_columns(const DenseProduct& p, int rows, int column) {
  constexpr int most = registers == 32 ? 8 : 4;
  int row = 0;
  for (; row + most <= rows; row += most) product_tile<most, vectors>(p, row, column);
  switch (rows - row) {
    case 7: if constexpr (most > 7) return product_tile<7, vectors>(p, row, column); break;
    case 6: if constexpr (most > 6) return product_tile<6, vectors>(p, row, column); break;
    case 5: if constexpr (most > 5) return product_tile<5, vectors>(p, row, column); break;
    case 4: if constexpr (most > 4) return product_tile<4, vectors>(p, row, column); break;
    case 3: return product_tile<3, vectors>(p, row, column);
    case 2: return product_tile<2, vectors>(p, row, column);
    case 1: return product_tile<1, vectors>(p, row, column);
    default: break;
  }
}

// `columns` is a multiple of `lanes`.
void product(const DenseProduct& p, int rows, int columns) {
  int column = 0;
  for (; column + 3 * lanes <= columns; column += 3 * lanes) product_columns<3>(p, rows, column);
  if (column + 2 * lanes <= columns) product_columns<2>(p, rows, column);
  else if (column < columns) product_columns<1>(p, rows, column);
}

// outputs[i][j] = bias[j] + Σ k inputs[i][k] · weights[j][k]; rows are whole vectors, the number of outputs is padded
// to 4.
struct DenseForward {
  const float* inputs;
  int input_row;
  const float *weights, *bias;
  float* outputs;
  int output_row;
  bool rectify;
};

// Up to four images by four outputs: 16 vectors of sums, each reduced over its lanes at the end.
template <int images>
LENSCOPE_INLINE void forward_tile(const DenseForward& f, int image, int output) {
  Vector sums[16] = {};
  const float *in = f.inputs + image * f.input_row, *weights = f.weights + output * f.input_row;
  for (int at = 0; at < f.input_row; at += lanes) {
    Vector values[images];
    unroll<images>([&](auto i) __attribute__((always_inline)) {
      values[i] = load_volatile(in + i * f.input_row + at);
    });
    unroll<4>([&](auto j) __attribute__((always_inline)) {
      const Vector own = load_volatile(weights + j * f.input_row + at);
      unroll<images>([&](auto i) __attribute__((always_inline)) { sums[i * 4 + j] += own * values[i]; });
    });
  }
  alignas(64) float outputs[16];
  sum_lanes(sums, outputs);
  const Four bias = load_four(f.bias + output), zero = {};
  unroll<images>([&](auto i) __attribute__((always_inline)) {
    const Four out = load_four(outputs + i * 4) + bias;
    store_four(f.outputs + (image + i) * f.output_row + output, f.rectify ? (out < zero ? zero : out) : out);
  });
}

// The weights of a tile stay in L1 from one group of images to the next.
void forward(const DenseForward& f, int images, int outputs) {
  constexpr int most = registers == 32 ? 4 : 3;
  for (int output = 0; output < outputs; output += 4) {
    int image = 0;
    for (; image + most <= images; image += most) forward_tile<most>(f, image, output);
    switch (images - image) {
      case 3: if constexpr (most > 3) forward_tile<3>(f, image, output); break;
      case 2: forward_tile<2>(f, image, output); break;
      case 1: forward_tile<1>(f, image, output); break;
      default: break;
    }
  }
}

// sums[j] += Σ images d[image][j], in order.
void column_sums(const float* d, int row, int images, float* sums) {
  for (int at = 0; at < row; at += lanes) {
    Vector total = load(sums + at);
    for (int image = 0; image < images; ++image) total += load(d + image * row + at);
    store(sums + at, total);
  }
}

// e^x for x ≤ 0 to one unit in the last place, 0 below −87, NaN for NaN. Cody and Waite's reduction
// ("Software Manual for the Elementary Functions", 1980, chapter 6) and a polynomial of degree 6.
LENSCOPE_INLINE Vector exponential(Vector x) {
  const Vector magic = splat(0x1.8p23f), scaled = x * splat(1.44269504088896341f);
  const Vector shifted = scaled + magic, n = shifted - magic;
  const Vector r = (x - n * splat(0x1.62e4p-1f)) - n * splat(0x1.7f7d1cp-20f);  // ln 2 in two parts
  Vector p = splat(1.3888889e-3f);
  p = p * r + splat(8.3333333e-3f);
  p = p * r + splat(4.1666667e-2f);
  p = p * r + splat(1.6666667e-1f);
  p = p * r + splat(0.5f);
  p = p * r + splat(1.0f);
  p = p * r + splat(1.0f);
  Integers bits = (Integers)shifted << 23;
  const Vector power = (Vector)(bits + (127 << 23));
  return select(greater(splat(-87.0f), x), Vector{}, p * power);
}

// One image's logits become log-probabilities in place; `row` floats are allocated, whole vectors.
void log_softmax(float* logits, int classes, int row) {
  float most = logits[0];
  for (int at = 1; at < classes; ++at) most = logits[at] > most ? logits[at] : most;
  for (int at = classes; at < row; ++at) logits[at] = -INFINITY;
  Vector total = {};
  for (int at = 0; at < row; at += lanes) total += exponential(load(logits + at) - most);
  const float logarithm = log_of(sum(total));
  for (int at = 0; at < row; at += lanes) store(logits + at, (load(logits + at) - most) - logarithm);
}

// The negative log-likelihood of one image, and `scale` times its gradient by the logits.
float loss_and_gradient(float* logits, int classes, int row, int64_t label, float scale, float* gradient) {
  log_softmax(logits, classes, row);
  const float own = logits[label];  // `gradient` may be `logits`
  for (int at = 0; at < row; at += lanes) store(gradient + at, scale * exponential(load(logits + at)));
  gradient[label] = scale * expm1_of(own);  // p − 1 without cancellation where p is near 1
  return -own;
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
