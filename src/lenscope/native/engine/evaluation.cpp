// What needs no trainer: log-probabilities and distorted images.
#include <algorithm>
#include <atomic>

#include "buffers.hpp"
#include "layout.hpp"
#include "parallel.hpp"
#include "trainer.hpp"

namespace lenscope {

void evaluate(Network network, std::span<const float> weights, const std::uint8_t* images, std::size_t count,
              int threads, const std::string& isa, float* log_probabilities) {
  const Kernels& kernels = kernels_of(isa);
  const Model model = make_model(network);
  const std::vector<int> offsets = parameter_offsets(model);
  const Buffer<float> own(model.layout.end);
  for (std::size_t at = 0; at < offsets.size(); ++at) own.get()[offsets[at]] = weights[at];
  const PackedBuffers packed(model);
  kernels.pack_weights(model, own.get(), packed.view);
  const auto scratch = scratch_of_threads(model, threads);
  std::vector<std::unique_ptr<ActivationBuffers>> activations;
  for (int thread = 0; thread < threads; ++thread)
    activations.push_back(std::make_unique<ActivationBuffers>(model, block_images));
  // Each thread takes the next stretch when it is free: one without a processor holds up one stretch, not its share.
  std::atomic<std::size_t> next = 0;
  constexpr std::size_t stretch = 4 * block_images;
  run_parallel(threads, [&](int thread) {
    for (std::size_t begin; (begin = next.fetch_add(stretch)) < count;)
      kernels.evaluate(model, own.get(), packed.view, activations[thread]->view, scratch[thread]->view, images, begin,
                       std::min(begin + stretch, count), log_probabilities);
  });
}

void augment(const Augmentation& how, std::uint64_t seed, std::uint64_t epoch, std::span<const std::int64_t> indices,
             const std::uint8_t* images, int channels, const std::string& isa, std::uint8_t* distorted) {
  const Kernels& kernels = kernels_of(isa);
  const std::size_t size = std::size_t(channels) * image_size * image_size;
  for (std::size_t at = 0; at < indices.size(); ++at)
    kernels.augment(how, seed, epoch, std::uint64_t(indices[at]), images + at * size, channels, distorted + at * size);
}

}  // namespace lenscope
