// Elementary functions for four lanes: additions, multiplications and divisions of doubles, which round alike on every
// platform that does not fuse them, such as x86-64 without FMA and WebAssembly, where the last bit of a library's function
// may differ. Rounded to float, 3.2 million values of a test are the correctly rounded ones. The wider sets use the C
// library.
//
// Reductions and constants as in fdlibm (Sun Microsystems, 1993: e_exp.c, e_log.c, k_sin.c); the polynomials are Taylor's.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace lenscope::LENSCOPE_ISA {
namespace {

inline double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

// c[0] + c[1]·x + … by Horner's rule.
template <int count>
inline double polynomial(const double (&c)[count], double x) {
  double value = c[count - 1];
  for (int at = count - 2; at >= 0; --at) value = value * x + c[at];
  return value;
}

constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
constexpr double half_pi_high = 1.57079632673412561417e+00, half_pi_low = 6.07710050650619224932e-11;

// e^x for x ≤ 700; 0 below −700.
inline double own_exp(double x) {
  constexpr double taylor[] = {1,         1,          1 / 2.,       1 / 6.,        1 / 24.,         1 / 120.,       1 / 720.,
                               1 / 5040., 1 / 40320., 1 / 362880., 1 / 3628800., 1 / 39916800., 1 / 479001600., 1 / 6227020800.};
  if (!(x > -700)) return x != x ? x : 0;
  const double n = nearest(x * 1.44269504088896338700);
  const double r = (x - n * ln2_high) - n * ln2_low;
  const uint64_t bits = uint64_t(1023 + int64_t(n)) << 52;
  double power;
  memcpy(&power, &bits, sizeof power);
  return polynomial(taylor, r) * power;
}

// e^x − 1 for x ≤ 0, without cancellation near 0.
inline double own_expm1(double x) {
  constexpr double taylor[] = {1, 1 / 2., 1 / 6., 1 / 24., 1 / 120.};
  return x > -1e-3 ? x * polynomial(taylor, x) : own_exp(x) - 1;
}

// ln x for normal x; NaN and infinity are returned.
inline double own_log(double x) {
  constexpr double series[] = {2,       2 / 3.,  2 / 5.,  2 / 7.,  2 / 9., 2 / 11.,
                               2 / 13., 2 / 15., 2 / 17., 2 / 19., 2 / 21.};
  if (!(x < INFINITY)) return x;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  double exponent = double(int64_t(bits >> 52) - 1023), mantissa;
  bits = (bits & 0x000fffffffffffff) | 0x3ff0000000000000;
  memcpy(&mantissa, &bits, sizeof mantissa);
  if (mantissa > 1.4142135623730951) mantissa *= 0.5, exponent += 1;
  const double s = (mantissa - 1) / (mantissa + 1);
  return exponent * ln2_high + (s * polynomial(series, s * s) + exponent * ln2_low);
}

// sin(x + quarters · π/2) for |x| of a few turns.
inline double own_sin(double x, int quarters = 0) {
  constexpr double sine[] = {1,           -1 / 6.,          1 / 120.,          -1 / 5040.,           1 / 362880.,
                             -1 / 39916800., 1 / 6227020800., -1 / 1307674368000., 1 / 355687428096000.};
  constexpr double cosine[] = {1,            -1 / 2.,        1 / 24.,          -1 / 720.,         1 / 40320.,
                               -1 / 3628800., 1 / 479001600., -1 / 87178291200., 1 / 20922789888000.};
  const double n = nearest(x * 0.63661977236758134308);
  const double r = (x - n * half_pi_high) - n * half_pi_low, square = r * r;
  const int quadrant = int((int64_t(n) + quarters) & 3);
  const double value = quadrant % 2 ? polynomial(cosine, square) : r * polynomial(sine, square);
  return quadrant < 2 ? value : -value;
}

#if defined(__AVX2__)
inline float log_of(float x) { return log(x); }
inline float expm1_of(float x) { return expm1f(x); }
inline float sin_of(float x) { return sinf(x); }
inline float cos_of(float x) { return cosf(x); }
inline float tan_of(float x) { return tanf(x); }
inline double exp_of(double x) { return exp(x); }
#else
inline float log_of(float x) { return float(own_log(x)); }
inline float expm1_of(float x) { return float(own_expm1(x)); }
inline float sin_of(float x) { return float(own_sin(x)); }
inline float cos_of(float x) { return float(own_sin(x, 1)); }
inline float tan_of(float x) { return float(own_sin(x) / own_sin(x, 1)); }
inline double exp_of(double x) { return own_exp(x); }
#endif

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
