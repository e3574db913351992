// Networks with images, and the plain loops' results for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../reference.hpp"
#include "trainer.hpp"

namespace {

using Integers = std::vector<std::int64_t>;
using Pixels = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

// Images of a case, their mean loss and its gradient.
struct Batch {
  Integers indices;
  double loss;
  reference::Parameters gradient;
};

struct Case {
  std::string name;
  lenscope::Network network;
  std::vector<float> weights;
  Pixels images;
  Integers labels;
  std::vector<reference::Layers> layers;
  std::vector<Batch> batches;

  std::size_t count() const { return labels.size(); }
  lenscope::Data data() const { return {images.data(), labels.data()}; }
};

// The library's own distribution may differ between platforms.
double uniform(Random& random, double low, double high) {
  return low + (high - low) * double(random() >> 11) * 0x1p-53;
}

// `batch` images of `count` out of order, repeated if there are fewer.
Integers scattered(std::size_t count, std::size_t batch) {
  Integers indices;
  for (std::size_t at = 0; at < batch; ++at) indices.push_back(std::int64_t((at * 11 + at / count) % count));
  return indices;
}

reference::Parameters split(lenscope::Network network, std::span<const float> flat) {
  reference::Parameters parameters;
  for (std::size_t tensor = 0, at = 0; tensor < 10; at += reference::sizes(network)[tensor++])
    parameters[tensor].assign(flat.begin() + at, flat.begin() + at + reference::sizes(network)[tensor]);
  return parameters;
}

// How far a pool is from choosing differently: the least distance of a winner to the second, and of the best of a window
// to zero.
double clearance(const reference::Values& sums, int size) {
  double least = 1;
  reference::for_each_window(sums.size(), size, [&](const auto& window) {
    reference::Values values;
    for (const int at : window) values.push_back(sums[at]);
    std::sort(values.begin(), values.end());
    least = std::min({least, std::abs(values[3]), values[3] > 0 ? values[3] - values[2] : 1});
  });
  return least;
}

void add_image(Case& to, const Pixels& image, reference::Layers layers) {
  to.images.insert(to.images.end(), image.begin(), image.end());
  to.labels.push_back(std::int64_t(to.count()) * 7 % to.network.classes);
  to.layers.push_back(std::move(layers));
}

void add_batches(Case& to, const reference::Parameters& parameters, const std::vector<int>& sizes) {
  std::vector<reference::Parameters> gradients;
  for (std::size_t image = 0; image < to.count(); ++image)
    gradients.push_back(reference::backward(to.network, parameters, to.layers[image], to.labels[image]));
  for (const int size : sizes) {
    Batch batch{scattered(to.count(), size), 0, gradients[0]};
    for (reference::Values& tensor : batch.gradient) tensor.assign(tensor.size(), 0);
    for (const std::int64_t index : batch.indices) {
      batch.loss -= to.layers[index].log_probabilities[to.labels[index]] / size;
      for (int tensor = 0; tensor < 10; ++tensor)
        for (std::size_t at = 0; at < batch.gradient[tensor].size(); ++at)
          batch.gradient[tensor][at] += gradients[index][tensor][at] / size;
    }
    to.batches.push_back(std::move(batch));
  }
}

// PyTorch's default distribution of weights; noise on which no pool is nearly tied, so that float32 has its winners.
Case random_case(lenscope::Network network, std::size_t images, const std::vector<int>& batches) {
  Case made{std::to_string(network.channels) + " channels, " + std::to_string(network.classes) + " classes", network,
            {}, {}, {}, {}, {}};
  Random random(network.channels * 1000 + network.classes);
  const double inputs[] = {network.channels * 25.0, 150, 400, 120, 84};
  for (int tensor = 0; tensor < 10; ++tensor)
    for (std::size_t at = 0; at < reference::sizes(network)[tensor]; ++at) {
      const double bound = 1 / std::sqrt(inputs[tensor / 2]);
      made.weights.push_back(float(uniform(random, -bound, bound)));
    }
  const reference::Parameters parameters = split(network, made.weights);
  while (made.count() < images) {
    Pixels image(network.channels * 1024);
    for (std::uint8_t& pixel : image) pixel = std::uint8_t(random() >> 56);
    reference::Layers layers = reference::forward(parameters, image.data(), network.channels);
    if (std::min(clearance(layers.conv1, 28), clearance(layers.conv2, 10)) > 1e-5) add_image(made, image, std::move(layers));
  }
  add_batches(made, parameters, batches);
  return made;
}

// Convolutions by −1, 0 and 1 over black and white pixels: nothing is rounded, and pools tie. A dead channel, an empty
// and a full image are among them.
Case whole_number_case(std::size_t images, const std::vector<int>& batches) {
  Case made{"whole numbers", {1, 10}, {}, {}, {}, {}, {}};
  Random random(3);
  for (int tensor = 0; tensor < 10; ++tensor)
    for (std::size_t at = 0; at < reference::sizes(made.network)[tensor]; ++at) {
      const bool dead = (tensor == 2 && at / 150 == 4) || (tensor == 3 && at == 4);
      const double whole = dead ? (tensor == 2 ? 0 : -1) : double(random() % 3) - 1;
      made.weights.push_back(float(tensor < 4 ? whole : uniform(random, -1, 1) / (tensor < 6 ? 400 : 10)));
    }
  const reference::Parameters parameters = split(made.network, made.weights);
  while (made.count() < images) {
    Pixels image(1024);
    for (std::uint8_t& pixel : image) pixel = made.count() == 1 ? 0 : made.count() == 2 || random() % 4 == 0 ? 255 : 0;
    reference::Layers layers = reference::forward(parameters, image.data(), 1);
    add_image(made, image, std::move(layers));
  }
  add_batches(made, parameters, batches);
  return made;
}

}  // namespace
