// Memory for what the kernels read and write: owners of kernels.hpp's structs of pointers.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "../kernels/kernels.hpp"

namespace lenscope {

// Zeroed memory, aligned to cache lines and to whole vectors.
template <class Value>
class Buffer {
 public:
  explicit Buffer(std::size_t count)
      : bytes_(count * sizeof(Value)), values_(static_cast<Value*>(::operator new(bytes_, std::align_val_t(64)))) {
    std::memset(static_cast<void*>(values_), 0, bytes_);
  }
  ~Buffer() { ::operator delete(values_, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Value* get() const { return values_; }
  void copy_from(const Buffer& other) { std::memcpy(static_cast<void*>(values_), other.values_, bytes_); }

 private:
  const std::size_t bytes_;
  Value* const values_;
};

struct PackedBuffers {
  explicit PackedBuffers(const Model& model)
      : conv1(model.network.channels * 25 * 8 + 16), conv2(2400), conv2_backward(16 * 2 * 9 * 32),
        view{conv1.get(), conv2.get(), conv2_backward.get()} {}
  Buffer<float> conv1, conv2, conv2_backward;
  PackedWeights view;
};

struct ActivationBuffers {
  ActivationBuffers(const Model& model, int images)
      : values(std::size_t(images) * (features + 2 * (fc1_row + fc2_row) + model.classes_padded + 1) + 64) {
    float* at = values.get();
    const auto next = [&](int row) { return std::exchange(at, at + std::size_t(images) * row); };
    view = {next(features), next(fc1_row), next(fc2_row), next(fc1_row), next(fc2_row), next(model.classes_padded),
            next(1)};
  }
  Buffer<float> values;
  Activations view;
};

struct ScratchBuffers {
  explicit ScratchBuffers(const Model& model)
      : pixels((model.network.channels * 32 + 1) * 32), patches1(2 * model.network.channels * 2704 + 16),
        pool1(block_images * pool1_floats + 16), patches2(14 * 10 * 32 + 16), d_features(block_images * features),
        d_pool1(block_images * pool1_floats), argmax1(block_images * pool1_floats), argmax2(block_images * features),
        patch_offsets(features), weight_offsets(block_images * features),
        distorted(block_images * model.network.channels * 1024),
        view{pixels.get(), patches1.get(), pool1.get(), argmax1.get(), argmax2.get(), patches2.get(),
             d_features.get(), d_pool1.get(), patch_offsets.get(), weight_offsets.get(), distorted.get()} {}
  Buffer<float> pixels, patches1, pool1, patches2, d_features, d_pool1;
  Buffer<std::int32_t> argmax1, argmax2, patch_offsets, weight_offsets;
  Buffer<std::uint8_t> distorted;
  Scratch view;
};

inline std::vector<std::unique_ptr<ScratchBuffers>> scratch_of_threads(const Model& model, int threads) {
  std::vector<std::unique_ptr<ScratchBuffers>> scratch;
  for (int thread = 0; thread < threads; ++thread) scratch.push_back(std::make_unique<ScratchBuffers>(model));
  return scratch;
}

}  // namespace lenscope
