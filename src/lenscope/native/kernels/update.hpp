// The update rules, in one pass over weights, gradient and moments; for dense layers tile by tile of the gradient, in
// L1.
#pragma once

#include "dense.hpp"
#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

// a / (√v · correction + ε). On AVX-512 by estimates of 14 bits and a Newton step each: within 2 units in the last
// place, at a fifth of the cycles of a square root and a division.
LENSCOPE_INLINE Vector adam_quotient(Vector a, Vector v, float correction, float epsilon) {
#if defined(__AVX512F__)
  const Vector floor = splat(1e-36f), safe = _mm512_max_ps(floor, v);  // √0 becomes 1e-18, negligible against ε
  const Vector estimate = _mm512_rsqrt14_ps(safe), near = safe * estimate;
  const Vector root = near + (0.5f * near) * (1.0f - near * estimate);
  const Vector divisor = root * correction + epsilon;
  const Vector inverse = _mm512_rcp14_ps(divisor), quotient = a * inverse;
  return quotient + inverse * (a - quotient * divisor);
#else
  Vector root;
  for (int lane = 0; lane < lanes; ++lane) root[lane] = __builtin_sqrtf(v[lane]);
  return a / (root * correction + epsilon);
#endif
}

struct Updated {
  Vector weight, first, second;
};

template <Rule rule>
LENSCOPE_INLINE Updated updated(const Update& u, Vector weight, Vector gradient, Vector first, Vector second) {
  if constexpr (rule == Rule::adamw) weight *= 1.0f - u.rate * u.weight_decay;
  else gradient += u.weight_decay * weight;
  if constexpr (rule == Rule::sgd) return {weight - u.rate * gradient, first, second};
  if constexpr (rule == Rule::momentum || rule == Rule::nesterov) {
    first = u.momentum * first + gradient;
    const Vector step = rule == Rule::nesterov ? gradient + u.momentum * first : first;
    return {weight - u.rate * step, first, second};
  }
  first += u.one_minus_beta1 * (gradient - first);
  second = u.beta2 * second + u.one_minus_beta2 * (gradient * gradient);
  return {weight - u.step_size * adam_quotient(first, second, u.root_correction, u.epsilon), first, second};
}

// A rectangle of parameters with its gradient.
struct Tile {
  const float* gradient;
  int gradient_row;
  Parameters at;
  int row, rows, count;
};

// Returns the sum of squares of gradients and new weights: finite while they are finite and below 1e19.
template <Rule rule>
Vector update_by(const Update& u, const Tile& s) {
  constexpr bool one = rule != Rule::sgd, two = rule == Rule::adam || rule == Rule::adamw;
  Vector squares = {};
  for (int row = 0; row < s.rows; ++row)
    for (int column = 0; column < s.count; column += lanes) {
      const int at = row * s.row + column;
      const Vector g = load(s.gradient + row * s.gradient_row + column);
      const Updated to = updated<rule>(u, load(s.at.before + at), g, one ? load(s.at.first + at) : g,
                                   two ? load(s.at.second + at) : g);
      store(s.at.after + at, to.weight);
      if constexpr (one) store(s.at.first + at, to.first);
      if constexpr (two) store(s.at.second + at, to.second);
      squares += g * g;
      squares += to.weight * to.weight;
    }
  return squares;
}

Vector update_tile(const Update& u, const Tile& s) {
  switch (u.rule) {
    case Rule::sgd: return update_by<Rule::sgd>(u, s);
    case Rule::momentum: return update_by<Rule::momentum>(u, s);
    case Rule::nesterov: return update_by<Rule::nesterov>(u, s);
    case Rule::adam: return update_by<Rule::adam>(u, s);
    case Rule::adamw: return update_by<Rule::adamw>(u, s);
  }
  return Vector{};
}

bool update(const Update& u, const float* gradient, const Parameters& at, int count) {
  return !isfinite(sum(update_tile(u, {gradient, 0, at, 0, 1, count})));
}

LENSCOPE_INLINE Parameters offset_by(const Parameters& p, int at) {
  return {p.before + at, p.first + at, p.second + at, p.after + at};
}

// Fetches what an update reads into L1 while the gradient is summed.
template <int rows, int vectors>
LENSCOPE_INLINE void prefetch(const Update& u, const Parameters& p, int row) {
  const bool one = u.rule != Rule::sgd, two = u.rule == Rule::adam || u.rule == Rule::adamw;
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors * lanes; j += 16) {
      __builtin_prefetch(p.before + i * row + j);
      __builtin_prefetch(p.after + i * row + j, 1);
      if (one) __builtin_prefetch(p.first + i * row + j, 1);
      if (two) __builtin_prefetch(p.second + i * row + j, 1);
    }
}

template <int rows, int vectors>
Vector dense_update_tile(const DenseGradient& of, int begin, int column, const Update& u, const Parameters& all) {
  alignas(64) float gradient[rows * vectors * lanes];
  const Parameters own = offset_by(all, begin * of.in_row + column);
  prefetch<rows, vectors>(u, own, of.in_row);
  product_tile<rows, vectors>({.a = of.d + begin, .a_row = 1, .a_step = of.d_row, .b = of.in + column,
                               .b_row = of.in_row, .depth = of.images, .c = gradient, .c_row = vectors * lanes}, 0, 0);
  return update_tile(u, {gradient, vectors * lanes, own, of.in_row, rows, vectors * lanes});
}

template <int vectors>
Vector dense_update_columns(const DenseGradient& of, int begin, int end, int column, const Update& u,
                            const Parameters& all) {
  constexpr int most = registers == 32 ? 8 : 4;
  Vector squares = {};
  int row = begin;
  for (; row + most <= end; row += most) squares += dense_update_tile<most, vectors>(of, row, column, u, all);
  for (; row + 2 <= end; row += 2) squares += dense_update_tile<2, vectors>(of, row, column, u, all);
  for (; row < end; ++row) squares += dense_update_tile<1, vectors>(of, row, column, u, all);
  return squares;
}

bool dense_update(const DenseGradient& of, int begin, int end, const Update& u, const Parameters& all) {
  Vector squares = {};
  int column = 0;
  for (; column + 3 * lanes <= of.in_row; column += 3 * lanes)
    squares += dense_update_columns<3>(of, begin, end, column, u, all);
  for (; column < of.in_row; column += lanes) squares += dense_update_columns<1>(of, begin, end, column, u, all);
  return !isfinite(sum(squares));
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
