// How the engine orders weights and gradients in memory, and how that maps to the flat array of its interface.
#pragma once

#include <utility>
#include <vector>

#include "../kernels/kernels.hpp"

namespace lenscope {

inline Model make_model(Network network) {
  const int classes = pad16(network.classes);
  Layout at{};
  auto next = [end = 0](int count) mutable { return std::exchange(end, end + pad16(count)); };
  at.conv1_weight = next(150 * network.channels);
  at.conv1_bias = next(6);
  at.conv2_weight = next(2400);
  at.conv2_bias = next(16);
  at.fc1_weight = next(120 * features);
  at.fc1_bias = next(fc1_row);
  at.fc2_weight = next(pad4(84) * fc1_row);
  at.fc2_bias = next(fc2_row);
  at.fc3_weight = next(pad4(network.classes) * fc2_row);
  at.fc3_bias = next(classes);
  at.end = next(0);
  const int conv1 = 6 * network.channels * 32;
  return {network, at, {0, conv1, conv1 + 16 * 5 * 32, conv1 + 16 * 5 * 32 + 16}, classes};
}

// For each weight of the interface's flat array, where the engine's array has it.
inline std::vector<int> parameter_offsets(const Model& model) {
  std::vector<int> offsets;
  const Layout& at = model.layout;
  const auto matrix = [&](int start, int rows, int columns, int row) {
    for (int r = 0; r < rows; ++r)
      for (int column = 0; column < columns; ++column) offsets.push_back(start + r * row + column);
  };
  const auto vector = [&](int start, int count) { matrix(start, 1, count, 0); };
  vector(at.conv1_weight, 150 * model.network.channels);
  vector(at.conv1_bias, 6);
  vector(at.conv2_weight, 2400);
  vector(at.conv2_bias, 16);
  for (int row = 0; row < 120; ++row)  // from (channel, position) to (position, channel)
    for (int in = 0; in < features; ++in) offsets.push_back(at.fc1_weight + row * features + in % 25 * 16 + in / 25);
  vector(at.fc1_bias, 120);
  matrix(at.fc2_weight, 84, 120, fc1_row);
  vector(at.fc2_bias, 84);
  matrix(at.fc3_weight, model.network.classes, 84, fc2_row);
  vector(at.fc3_bias, model.network.classes);
  return offsets;
}

// For each convolution parameter of the engine's array, where a shard has its gradient; −1 for padding.
inline std::vector<int> shard_offsets(const Model& model) {
  const Layout& at = model.layout;
  const ShardLayout& shard = model.shard_layout;
  std::vector<int> offsets(at.fc1_weight, -1);
  for (int out = 0; out < 6; ++out) {
    offsets[at.conv1_bias + out] = shard.conv1 + out * model.network.channels * 32 + 16 + 2;  // a lane of ones
    for (int map = out * model.network.channels; map < (out + 1) * model.network.channels; ++map)
      for (int tap = 0; tap < 25; ++tap) {
        const int dy = tap / 5, dx = tap % 5, lane = dy < 3 ? dx * 3 + dy : 16 + dx * 3 + dy - 3;
        offsets[at.conv1_weight + map * 25 + tap] = shard.conv1 + map * 32 + lane;
      }
  }
  for (int out = 0; out < 16; ++out) {
    offsets[at.conv2_bias + out] = shard.conv2_bias + out;
    for (int in = 0; in < 6; ++in)
      for (int tap = 0; tap < 25; ++tap) {
        const int lane = in / 3 * 16 + in % 3 * 5 + tap % 5;
        offsets[at.conv2_weight + (out * 6 + in) * 25 + tap] = shard.conv2 + (out * 5 + tap / 5) * 32 + lane;
      }
  }
  return offsets;
}

}  // namespace lenscope
