// Networks with images, and what the plain loops make of them.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "reference.hpp"
#include "trainer.hpp"

struct Case {
  std::string name;
  lenscope::Network network;
  std::vector<int> batches;  // to check gradients with; images repeat where a batch has more than there are
  std::vector<float> weights;
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels;
  std::vector<reference::Layers> layers;
  std::vector<reference::Parameters> gradients;

  std::size_t count() const { return labels.size(); }
  lenscope::Data data() const { return {images.data(), labels.data(), labels.size()}; }
};

using Random = std::mt19937_64;

inline double uniform(Random& random, double low, double high) {  // the library's own may differ between platforms
  return low + (high - low) * double(random() >> 11) * 0x1p-53;
}

// An image where float32 finds the winners of double: no pool nearly tied. Whole numbers are exact, ties and all.
inline void add_image(Case& to, const reference::Parameters& parameters, const std::vector<std::uint8_t>& image,
                      bool exact) {
  const reference::Layers layers = reference::forward(parameters, image.data(), to.network.channels);
  if (!exact && layers.clearance < 1e-5) return;
  const std::int64_t label = std::int64_t(to.count()) * 7 % to.network.classes;
  to.images.insert(to.images.end(), image.begin(), image.end());
  to.labels.push_back(label);
  to.layers.push_back(layers);
  to.gradients.push_back(reference::backward(to.network, parameters, layers, label));
}

// PyTorch's default distribution of weights, and noise.
inline Case random_case(lenscope::Network network, std::size_t images, std::vector<int> batches) {
  Case made{std::to_string(network.channels) + " channels, " + std::to_string(network.classes) + " classes", network,
            std::move(batches), {}, {}, {}, {}, {}};
  Random random(network.channels * 1000 + network.classes);
  const double inputs[] = {network.channels * 25.0, 150, 400, 120, 84};
  for (int tensor = 0; tensor < 10; ++tensor)
    for (std::size_t at = 0; at < reference::sizes(network)[tensor]; ++at) {
      const double bound = 1 / std::sqrt(inputs[tensor / 2]);
      made.weights.push_back(float(uniform(random, -bound, bound)));
    }
  const reference::Parameters parameters = reference::split(network, made.weights);
  while (made.count() < images) {
    std::vector<std::uint8_t> image(network.channels * 1024);
    for (std::uint8_t& pixel : image) pixel = std::uint8_t(random() >> 56);
    add_image(made, parameters, image, false);
  }
  return made;
}

// Convolutions by −1, 0 and 1 over black and white pixels: nothing is rounded, and pools tie. A dead channel, an empty
// and a full image are among them.
inline Case whole_number_case(std::size_t images, std::vector<int> batches) {
  Case made{"whole numbers", {1, 10}, std::move(batches), {}, {}, {}, {}, {}};
  Random random(3);
  for (int tensor = 0; tensor < 10; ++tensor)
    for (std::size_t at = 0; at < reference::sizes(made.network)[tensor]; ++at) {
      const bool dead = (tensor == 2 && at / 150 == 4) || (tensor == 3 && at == 4);
      const double whole = dead ? (tensor == 2 ? 0 : -1) : double(random() % 3) - 1;
      made.weights.push_back(float(tensor < 4 ? whole : uniform(random, -1, 1) / (tensor < 6 ? 400 : 10)));
    }
  const reference::Parameters parameters = reference::split(made.network, made.weights);
  for (std::size_t number = 0; number < images; ++number) {
    std::vector<std::uint8_t> image(1024);
    for (std::uint8_t& pixel : image) pixel = number == 1 ? 0 : number == 2 ? 255 : random() % 4 ? 0 : 255;
    add_image(made, parameters, image, true);
  }
  return made;
}

struct Expected {
  double loss = 0;
  reference::Parameters gradient;
};

// The mean over images of a case.
inline Expected mean_of(const Case& of, std::span<const std::int64_t> indices) {
  Expected mean;
  for (int tensor = 0; tensor < 10; ++tensor) mean.gradient[tensor].resize(reference::sizes(of.network)[tensor]);
  for (const std::int64_t index : indices) {
    mean.loss -= of.layers[index].log_probabilities[of.labels[index]] / double(indices.size());
    for (int tensor = 0; tensor < 10; ++tensor)
      for (std::size_t at = 0; at < mean.gradient[tensor].size(); ++at)
        mean.gradient[tensor][at] += of.gradients[index][tensor][at] / double(indices.size());
  }
  return mean;
}
