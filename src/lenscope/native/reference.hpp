// How a LeNet learns, in the simplest loops and in double precision: the engine computes the same, and is tested
// against this. Read it from the top: an image goes forward through seven layers to a loss; the loss's gradient comes
// back through them to every weight; a rule moves the weights.
//
// The network is the lecture's: LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
// recognition", 1998, section II.B) with max pools, ReLUs and log-softmax.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/types.hpp"

namespace reference {

using lenscope::Network;
using lenscope::Rule;
using Values = std::vector<double>;
using Parameters = std::array<Values, 10>;  // conv1's weights and bias, conv2's, fc1's, fc2's, fc3's

inline std::array<std::size_t, 10> sizes(Network network) {
  const std::size_t channels = network.channels, classes = network.classes;
  return {6 * channels * 25, 6, 16 * 6 * 25, 16, 120 * 400, 120, 84 * 120, 84, classes * 84, classes};
}

// ---- Forward: from pixels to the logarithms of probabilities

// A convolution, 5×5 without padding (strictly a cross-correlation): each output is the sum of a patch times the kernel.
// in (C, size, size), weights (O, C, 5, 5), bias (O) to (O, size − 4, size − 4).
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

inline Values rectify(Values values) {  // ReLU
  for (double& value : values) value = std::max(value, 0.0);
  return values;
}

// Calls visit(the places of its four values, row by row) for each 2×2 window of maps of size × size.
template <class Visit>
void for_each_window(std::size_t values, int size, Visit visit) {
  for (int row = 0; row < int(values) / size; row += 2)
    for (int x = 0; x < size; x += 2) {
      const int at = row * size + x;
      visit(std::array<int, 4>{at, at + 1, at + size, at + size + 1});
    }
}

// Where the first of the window's largest values is: ties go to the first, as PyTorch's do.
inline int winner(const Values& maps, const std::array<int, 4>& window) {
  return *std::max_element(window.begin(), window.end(), [&](int a, int b) { return maps[a] < maps[b]; });
}

inline Values pool(const Values& maps, int size) {
  Values pooled;
  for_each_window(maps.size(), size, [&](const auto& window) { pooled.push_back(maps[winner(maps, window)]); });
  return pooled;
}

inline Values dense(const Values& in, const Values& weights, const Values& bias) {  // weights (out, in)
  Values out = bias;
  for (std::size_t o = 0; o < out.size(); ++o)
    for (std::size_t i = 0; i < in.size(); ++i) out[o] += weights[o * in.size() + i] * in[i];
  return out;
}

inline Values log_softmax(Values logits) {  // the largest is subtracted first, so that no exponential overflows
  const double most = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double logit : logits) total += std::exp(logit - most);
  for (double& logit : logits) logit -= most + std::log(total);
  return logits;
}

struct Layers {  // one image's values: conv1 and conv2 as summed, the others after their ReLU
  Values pixels, conv1, pool1, conv2, pool2, fc1, fc2, log_probabilities;
};

inline Layers forward(const Parameters& p, const std::uint8_t* image, int channels) {
  Layers a;
  for (int at = 0; at < channels * 1024; ++at) a.pixels.push_back(image[at] / 255.0);  // (C, 32, 32)
  a.conv1 = convolve(a.pixels, 32, p[0], p[1]);                                       // (6, 28, 28)
  a.pool1 = pool(rectify(a.conv1), 28);                                               // (6, 14, 14)
  a.conv2 = convolve(a.pool1, 14, p[2], p[3]);                                        // (16, 10, 10)
  a.pool2 = pool(rectify(a.conv2), 10);                                               // (16, 5, 5), that is 400
  a.fc1 = rectify(dense(a.pool2, p[4], p[5]));                                        // 120
  a.fc2 = rectify(dense(a.fc1, p[6], p[7]));                                          // 84
  a.log_probabilities = log_softmax(dense(a.fc2, p[8], p[9]));                        // classes
  return a;                                                                           // loss: minus the label's
}

// ---- Backward: d is the loss's gradient by a layer's output; each function returns that by its input (chain rule)

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
    if (d[at] == 0) continue;  // three of four: they did not win their pool
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

inline Values rectify_back(Values d, const Values& values) {
  for (std::size_t at = 0; at < d.size(); ++at)
    if (values[at] <= 0) d[at] = 0;
  return d;
}

inline Values pool_back(const Values& d, const Values& maps, int size) {
  Values d_maps(maps.size());
  auto from = d.begin();
  for_each_window(maps.size(), size, [&](const auto& window) { d_maps[winner(maps, window)] = *from++; });
  return d_maps;
}

// The gradient of one image's loss. By the logits it is the probabilities, less 1 for the label.
inline Parameters backward(Network network, const Parameters& p, const Layers& a, std::int64_t label) {
  Parameters g;
  for (int tensor = 0; tensor < 10; ++tensor) g[tensor].resize(sizes(network)[tensor]);
  Values d;
  for (const double value : a.log_probabilities) d.push_back(std::exp(value));
  d[label] -= 1;
  d = rectify_back(dense_back(d, a.fc2, p[8], g[8], g[9]), a.fc2);
  d = rectify_back(dense_back(d, a.fc1, p[6], g[6], g[7]), a.fc1);
  d = dense_back(d, a.pool2, p[4], g[4], g[5]);
  d = rectify_back(pool_back(d, rectify(a.conv2), 10), a.conv2);
  d = convolve_back(d, a.pool1, 14, p[2], g[2], g[3]);
  d = rectify_back(pool_back(d, rectify(a.conv1), 28), a.conv1);
  convolve_back(d, a.pixels, 32, p[0], g[0], g[1]);
  return g;
}

// ---- Update: one step of all weights, by the mean gradient of a batch

struct Moving {  // a weight, and what its rule remembers
  double weight, first = 0, second = 0;
};

// Update number `step`, from 1: as torch.optim's documentation has SGD (without dampening), Nesterov's momentum, Adam
// (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019, algorithm 2).
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
