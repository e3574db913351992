// The distortion of one image in the simplest loops, in double, as lenscope.data.augment defines it.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "trainer.hpp"

namespace reference {

constexpr int size = lenscope::image_size;
constexpr double pi = 3.14159265358979323846;

// The first words of a stream, by Philox 4×64 with 10 rounds.
inline std::vector<std::uint64_t> random_words(std::uint64_t seed, std::uint64_t epoch, std::uint64_t index, int count) {
  __extension__ using Wide = unsigned __int128;
  std::vector<std::uint64_t> words;
  for (std::uint64_t block = 1; int(words.size()) < count; ++block) {
    std::array<std::uint64_t, 4> at{block, epoch, index, 0};
    std::uint64_t keys[] = {seed, 4};
    for (int round = 0; round < 10; ++round) {
      const Wide even = Wide(0xD2E7470EE14C6C93) * at[0], odd = Wide(0xCA5A826395121157) * at[2];
      at = {std::uint64_t(odd >> 64) ^ at[1] ^ keys[0], std::uint64_t(odd), std::uint64_t(even >> 64) ^ at[3] ^ keys[1],
            std::uint64_t(even)};
      keys[0] += 0x9E3779B97F4A7C15;
      keys[1] += 0xBB67AE8584CAA73B;
    }
    words.insert(words.end(), at.begin(), at.end());
  }
  return words;
}

// Along one axis, [32][32]: the noise of 1024 bytes from word `first` on, smoothed, in pixels.
inline std::vector<double> elastic_field(const lenscope::Augmentation& how, const std::vector<std::uint64_t>& words,
                                         int first) {
  const double reach = how.smoothness, factor = how.elastic / (std::sqrt(65535.0 / 12 * pi) * reach);
  const auto weight = [&](int apart) { return std::exp(-apart * apart / (2 * reach * reach)); };
  std::vector<double> rows(size * size), field(size * size);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      for (int k = 0; k < size; ++k) {
        const int byte = y * size + k;
        rows[y * size + x] += weight(x - k) * (double(words[first + byte / 8] >> byte % 8 * 8 & 255) - 127.5);
      }
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      for (int k = 0; k < size; ++k) field[y * size + x] += factor * weight(y - k) * rows[k * size + x];
  return field;
}

// What a channel shows at a place between its pixels; 0 outside.
inline double bilinear(const std::uint8_t* channel, double x, double y) {
  const int left = int(std::floor(x)), top = int(std::floor(y));
  double value = 0;
  for (int row = top; row < top + 2; ++row)
    for (int column = left; column < left + 2; ++column)
      if (0 <= row && row < size && 0 <= column && column < size)
        value += (1 - std::abs(y - row)) * (1 - std::abs(x - column)) * channel[row * size + column];
  return value;
}

inline std::vector<std::uint8_t> distorted(const lenscope::Augmentation& how, std::uint64_t seed, std::uint64_t epoch,
                                           std::uint64_t index, const std::uint8_t* image, int channels) {
  const std::vector<std::uint64_t> words = random_words(seed, epoch, index + 1, 8 + 2 * size * size / 8);
  const float settings[] = {how.shift, how.shift, how.rotation, how.scale, how.shear};
  double drawn[5];
  for (int at = 0; at < 5; ++at) drawn[at] = settings[at] * (float(words[at] >> 40) * 0x1p-23f - 1);
  const double turn = drawn[2] * pi / 180, lean = std::tan(drawn[4] * pi / 180), middle = (size - 1) / 2.0;
  const std::vector<double> d_x = elastic_field(how, words, 8), d_y = elastic_field(how, words, 8 + size * size / 8);
  std::vector<std::uint8_t> copy;
  for (int channel = 0; channel < channels; ++channel)
    for (int at = 0; at < size * size; ++at) {
      const double x = (at % size - middle - drawn[0]) / (1 + drawn[3]), y = (at / size - middle - drawn[1]) / (1 + drawn[3]);
      const double from_y = -std::sin(turn) * x + std::cos(turn) * y;
      const double from_x = std::cos(turn) * x + std::sin(turn) * y - lean * from_y;
      const double value = bilinear(image + channel * size * size, middle + from_x + d_x[at], middle + from_y + d_y[at]);
      copy.push_back(std::uint8_t(std::floor(value + 0.5)));
    }
  return copy;
}

}  // namespace reference
