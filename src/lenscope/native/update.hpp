// The update rules, one pass over weights, gradient and moments.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

// a / (√v · correction + ε). On AVX-512 by the estimates of 14 bits and a Newton step each: 2 units in the last place
// of the exact one, a fifth of the cycles of its square root and division.
LENSCOPE_INLINE Vector adam_quotient(Vector a, Vector v, float correction, float epsilon) {
#if defined(__AVX512F__)
  const Vector floor = splat(1e-36f), safe = _mm512_max_ps(floor, v);  // √0 is 1e-18, nothing beside ε
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

struct Moved {
  Vector weight, first, second;
};

template <Rule rule>
LENSCOPE_INLINE Moved moved(const Update& u, Vector weight, Vector gradient, Vector first, Vector second) {
  if constexpr (rule == Rule::adamw) weight *= 1.0f - u.rate * u.weight_decay;
  else gradient += u.weight_decay * weight;
  if constexpr (rule == Rule::sgd) return {weight - u.rate * gradient, first, second};
  if constexpr (rule == Rule::momentum || rule == Rule::nesterov) {
    first = u.momentum * first + gradient;
    const Vector step = rule == Rule::nesterov ? gradient + u.momentum * first : first;
    return {weight - u.rate * step, first, second};
  }
  first += u.first_share * (gradient - first);
  second = u.second_decay * second + u.second_share * (gradient * gradient);
  return {weight - u.step_size * adam_quotient(first, second, u.root_correction, u.epsilon), first, second};
}

template <Rule rule>
bool update_by(const Update& u, const float* weights, const float* gradient, float* first, float* second,
               float* weights_after, int count) {
  constexpr bool one = rule != Rule::sgd, two = rule == Rule::adam || rule == Rule::adamw;
  Vector squares = {};  // finite as long as all that it sums is, and no larger than 1e19
  for (int at = 0; at < count; at += lanes) {
    const Vector g = load(gradient + at);
    const Moved to = moved<rule>(u, load(weights + at), g, one ? load(first + at) : g, two ? load(second + at) : g);
    store(weights_after + at, to.weight);
    if constexpr (one) store(first + at, to.first);
    if constexpr (two) store(second + at, to.second);
    squares += g * g;
    squares += to.weight * to.weight;
  }
  return !isfinite(sum(squares));
}

bool update(const Update& u, const float* weights, const float* gradient, float* first, float* second,
            float* weights_after, int count) {
  switch (u.rule) {
    case Rule::sgd: return update_by<Rule::sgd>(u, weights, gradient, first, second, weights_after, count);
    case Rule::momentum: return update_by<Rule::momentum>(u, weights, gradient, first, second, weights_after, count);
    case Rule::nesterov: return update_by<Rule::nesterov>(u, weights, gradient, first, second, weights_after, count);
    case Rule::adam: return update_by<Rule::adam>(u, weights, gradient, first, second, weights_after, count);
    case Rule::adamw: return update_by<Rule::adamw>(u, weights, gradient, first, second, weights_after, count);
  }
  return true;
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
