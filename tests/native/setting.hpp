// What the checks share: where they run, how they compare, and their trainers. Included by check.cpp alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "../reference.hpp"
#include "trainer.hpp"

namespace {

using lenscope::Augmentation, lenscope::Optimizer, lenscope::Rule, lenscope::State, lenscope::Trainer;
using Floats = std::vector<float>;

constexpr Augmentation mild{2, 15, 0.15f, 10, 1, 4};
constexpr std::pair<const char*, Rule> rules[] = {{"sgd", Rule::sgd},
                                                  {"momentum", Rule::momentum},
                                                  {"nesterov", Rule::nesterov},
                                                  {"adam", Rule::adam},
                                                  {"adamw", Rule::adamw}};

struct Setting {
  bool small;
  std::vector<int> threads;
  std::vector<Case> cases;
  std::string isa;
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

template <class Value>
bool same(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Value)) == 0);
}

// The largest error, relative to the largest expected value; infinite if a value is not finite.
double error(const float* got, const reference::Values& expected) {
  double most = 0, largest = 1e-300;
  for (std::size_t at = 0; at < expected.size(); ++at) {
    if (!std::isfinite(got[at])) return std::numeric_limits<double>::infinity();
    most = std::max(most, std::abs(got[at] - expected[at]));
    largest = std::max(largest, std::abs(expected[at]));
  }
  return most / largest;
}

std::string text(double value) {
  char written[32];
  std::snprintf(written, sizeof written, "%.2g", value);
  return written;
}

// Records the error of `got` in `worst`; throws if it is above the bound.
void compare(const float* got, const reference::Values& expected, double bound, const std::string& what,
             double& worst) {
  const double off = error(got, expected);
  require(off <= bound, what + " off by " + text(off));
  worst = std::max(worst, off);
}

std::string threads_of(int threads) { return std::to_string(threads) + " threads"; }

std::unique_ptr<Trainer> make_trainer(const Case& of, const std::string& isa, int threads, Optimizer optimizer = {},
                                      Augmentation augmentation = {}) {
  return std::make_unique<Trainer>(of.network, optimizer, of.data(), augmentation, 42, threads, isa);
}

}  // namespace
