// LeNet forward and backward and the update rules in the simplest loops, in double: what the engine is held to.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "trainer.hpp"

namespace reference {

using lenscope::Network;
using lenscope::Rule;
using Values = std::vector<double>;
using Parameters = std::array<Values, 10>;  // in the order of lenscope::Network's

inline std::array<std::size_t, 10> sizes(Network network) {
  const std::size_t channels = network.channels, classes = network.classes;
  return {150 * channels, 6, 16 * 150, 16, 120 * 400, 120, 84 * 120, 84, classes * 84, classes};
}

inline Parameters split(Network network, std::span<const float> flat) {
  Parameters parameters;
  for (std::size_t tensor = 0, at = 0; tensor < 10; at += sizes(network)[tensor++])
    parameters[tensor].assign(flat.begin() + at, flat.begin() + at + sizes(network)[tensor]);
  return parameters;
}

// One image's values in each layer, convolutions and hidden layers after their ReLU. `clearance` is how far both pools
// are from choosing differently: the least distance of a winner to the second, and of the best of a window to zero.
struct Layers {
  Values pixels, conv1, pool1, conv2, pool2, fc1, fc2, fc3, log_probabilities;
  double clearance;
};

inline Values convolve(const Values& in, int size, const Values& weights, const Values& bias) {
  const int channels = int(in.size()) / (size * size), outs = int(bias.size()), out_size = size - 4;
  Values out;
  for (int o = 0; o < outs; ++o)
    for (int y = 0; y < out_size; ++y)
      for (int x = 0; x < out_size; ++x) {
        double sum = bias[o];
        for (int c = 0; c < channels; ++c)
          for (int dy = 0; dy < 5; ++dy)
            for (int dx = 0; dx < 5; ++dx)
              sum += weights[((o * channels + c) * 5 + dy) * 5 + dx] * in[(c * size + y + dy) * size + x + dx];
        out.push_back(sum);
      }
  return out;
}

inline Values rectify(Values values) {
  for (double& value : values) value = std::max(value, 0.0);
  return values;
}

// Calls visit(where the window's places in a map are, in the order of rows) for each 2×2 window of maps of size × size.
template <class Visit>
void for_each_window(std::size_t values, int size, Visit visit) {
  for (int row = 0; row < int(values) / size; row += 2)
    for (int x = 0; x < size; x += 2) {
      const int at = row * size + x;
      visit(std::array<int, 4>{at, at + 1, at + size, at + size + 1});
    }
}

// Where the first of the window's largest values is.
inline int winner(const Values& maps, const std::array<int, 4>& window) {
  return *std::max_element(window.begin(), window.end(), [&](int a, int b) { return maps[a] < maps[b]; });
}

inline Values pool(const Values& maps, int size) {
  Values pooled;
  for_each_window(maps.size(), size, [&](const auto& window) { pooled.push_back(maps[winner(maps, window)]); });
  return pooled;
}

inline double clearance(const Values& raw, int size) {
  double least = 1;
  for_each_window(raw.size(), size, [&](const auto& window) {
    Values values;
    for (const int at : window) values.push_back(raw[at]);
    std::sort(values.begin(), values.end());
    least = std::min({least, std::abs(values[3]), values[3] > 0 ? values[3] - values[2] : 1});
  });
  return least;
}

inline Values dense(const Values& in, const Values& weights, const Values& bias) {
  Values out = bias;
  for (std::size_t o = 0; o < out.size(); ++o)
    for (std::size_t i = 0; i < in.size(); ++i) out[o] += weights[o * in.size() + i] * in[i];
  return out;
}

inline Values log_softmax(Values logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double logit : logits) total += std::exp(logit - most);
  for (double& logit : logits) logit -= most + std::log(total);
  return logits;
}

inline Layers forward(const Parameters& p, const std::uint8_t* image, int channels) {
  Layers layers;
  for (int at = 0; at < channels * 1024; ++at) layers.pixels.push_back(image[at] / 255.0);
  const Values first = convolve(layers.pixels, 32, p[0], p[1]);
  layers.conv1 = rectify(first);
  layers.pool1 = pool(layers.conv1, 28);
  const Values second = convolve(layers.pool1, 14, p[2], p[3]);
  layers.conv2 = rectify(second);
  layers.pool2 = pool(layers.conv2, 10);
  layers.fc1 = rectify(dense(layers.pool2, p[4], p[5]));
  layers.fc2 = rectify(dense(layers.fc1, p[6], p[7]));
  layers.fc3 = dense(layers.fc2, p[8], p[9]);
  layers.log_probabilities = log_softmax(layers.fc3);
  layers.clearance = std::min(clearance(first, 28), clearance(second, 10));
  return layers;
}

// Gradients of a dense layer's weights and bias are added to; that of its input is returned.
inline Values dense_back(const Values& d, const Values& in, const Values& weights, Values& d_weights, Values& d_bias) {
  Values d_in(in.size());
  for (std::size_t o = 0; o < d.size(); ++o) {
    d_bias[o] += d[o];
    for (std::size_t i = 0; i < in.size(); ++i) {
      d_weights[o * in.size() + i] += d[o] * in[i];
      d_in[i] += d[o] * weights[o * in.size() + i];
    }
  }
  return d_in;
}

inline Values convolve_back(const Values& d, const Values& in, int size, const Values& weights, Values& d_weights,
                            Values& d_bias) {
  const int channels = int(in.size()) / (size * size), out_size = size - 4;
  Values d_in(in.size());
  for (int at = 0; at < int(d.size()); ++at) {
    if (d[at] == 0) continue;
    const int o = at / (out_size * out_size), y = at / out_size % out_size, x = at % out_size;
    d_bias[o] += d[at];
    for (int c = 0; c < channels; ++c)
      for (int tap = 0; tap < 25; ++tap) {
        const int weight = (o * channels + c) * 25 + tap, pixel = (c * size + y + tap / 5) * size + x + tap % 5;
        d_weights[weight] += d[at] * in[pixel];
        d_in[pixel] += d[at] * weights[weight];
      }
  }
  return d_in;
}

inline Values gated(Values d, const Values& rectified) {
  for (std::size_t at = 0; at < d.size(); ++at)
    if (rectified[at] <= 0) d[at] = 0;
  return d;
}

inline Values unpool(const Values& d, const Values& maps, int size) {
  Values d_maps(maps.size());
  auto from = d.begin();
  for_each_window(maps.size(), size, [&](const auto& window) { d_maps[winner(maps, window)] = *from++; });
  return d_maps;
}

// The gradient of one image's negative log-likelihood.
inline Parameters backward(Network network, const Parameters& p, const Layers& layers, std::int64_t label) {
  Parameters g;
  for (int tensor = 0; tensor < 10; ++tensor) g[tensor].resize(sizes(network)[tensor]);
  Values d;
  for (const double value : layers.log_probabilities) d.push_back(std::exp(value));
  d[label] -= 1;
  d = gated(dense_back(d, layers.fc2, p[8], g[8], g[9]), layers.fc2);
  d = gated(dense_back(d, layers.fc1, p[6], g[6], g[7]), layers.fc1);
  d = dense_back(d, layers.pool2, p[4], g[4], g[5]);
  d = gated(unpool(d, layers.conv2, 10), layers.conv2);
  d = convolve_back(d, layers.pool1, 14, p[2], g[2], g[3]);
  d = gated(unpool(d, layers.conv1, 28), layers.conv1);
  convolve_back(d, layers.pixels, 32, p[0], g[0], g[1]);
  return g;
}

// One weight and its optimiser's memory.
struct Moving {
  double weight, first = 0, second = 0;
};

// Update number `step` (the first is 1) as torch.optim's documentation has it, without dampening.
inline void update(const lenscope::Optimizer& how, std::vector<Moving>& all, std::span<const float> gradients,
                   double rate, int step) {
  const double first_left = 1 - std::pow(0.9, step), second_left = 1 - std::pow(0.999, step);
  for (std::size_t at = 0; at < all.size(); ++at) {
    Moving& m = all[at];
    double gradient = gradients[at];
    if (how.rule == Rule::adamw) m.weight *= 1 - rate * how.weight_decay;
    else gradient += how.weight_decay * m.weight;
    if (how.rule == Rule::sgd) {
      m.weight -= rate * gradient;
    } else if (how.rule == Rule::momentum || how.rule == Rule::nesterov) {
      m.first = how.momentum * m.first + gradient;
      m.weight -= rate * (how.rule == Rule::nesterov ? gradient + how.momentum * m.first : m.first);
    } else {
      m.first = 0.9 * m.first + 0.1 * gradient;
      m.second = 0.999 * m.second + 0.001 * gradient * gradient;
      m.weight -= rate * (m.first / first_left) / (std::sqrt(m.second / second_left) + 1e-8);
    }
  }
}

}  // namespace reference
