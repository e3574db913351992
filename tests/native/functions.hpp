// The elementary functions of the sets whose bytes are the same on every platform, against long double.
#pragma once

#include <cmath>

#define LENSCOPE_ISA functions_alone
#include "../kernels/elementary.hpp"
#undef LENSCOPE_ISA
#include "setting.hpp"

namespace {

namespace own = lenscope::functions_alone;

// Of `count` values between `from` and `to`, how many are not the correctly rounded float; none may be off by more than
// one float.
template <class Got, class Expected>
int misrounded(const char* name, double from, double to, int count, Got got, Expected expected) {
  int wrong = 0;
  for (int at = 0; at < count; ++at) {
    const float x = float(from + (to - from) * (double(at) + 0.5) / count), value = float(got(x));
    const float right = float(expected((long double)x));
    if (value == right) continue;
    ++wrong;
    require(value == std::nextafter(right, value), name + ("(" + text(x)) + "): " + text(value));
  }
  return wrong;
}

std::string functions(const Setting& here) {
  const int count = here.small ? 2'000 : 400'000;
  const auto exponential = [](long double x) { return std::exp(x); };
  const auto less_one = [](long double x) { return std::expm1(x); };
  const auto logarithm = [](long double x) { return std::log(x); };
  const auto cosine = [](double x) { return own::own_sin(x, 1); };
  const auto tangent = [](double x) { return own::own_sin(x) / own::own_sin(x, 1); };
  int wrong = misrounded("exp", -80, 80, count, own::own_exp, exponential);
  wrong += misrounded("expm1", -20, 0, count, own::own_expm1, less_one);
  wrong += misrounded("expm1", -2e-3, 0, count, own::own_expm1, less_one);
  wrong += misrounded("log", 1, 1000, count, own::own_log, logarithm);
  wrong += misrounded("log", 0.9, 1.1, count, own::own_log, logarithm);
  wrong += misrounded("sin", -7, 7, count, [](double x) { return own::own_sin(x); }, [](long double x) { return std::sin(x); });
  wrong += misrounded("cos", -7, 7, count, cosine, [](long double x) { return std::cos(x); });
  wrong += misrounded("tan", -1.5, 1.5, count, tangent, [](long double x) { return std::tan(x); });
  require(wrong == 0, text(double(wrong)) + " of " + text(8.0 * count) + " values are not rounded correctly");
  require(own::own_exp(-1e4) == 0 && own::own_exp(0) == 1 && own::own_log(1) == 0, "exp(−10⁴), exp(0) or log(1)");
  require(own::own_expm1(-INFINITY) == -1 && std::isnan(own::own_exp(NAN)), "expm1(−∞) or exp(NaN)");
  require(std::isnan(own::own_log(NAN)) && std::isnan(own::own_expm1(NAN)) && own::own_log(INFINITY) == INFINITY,
          "log(NaN), expm1(NaN) or log(∞)");
  return text(8.0 * count) + " values, " + text(double(wrong)) + " not rounded correctly";
}

}  // namespace
