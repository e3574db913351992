// A network, its optimiser, its data: plain types that the engine's interface and the kernels share.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lenscope {

constexpr int image_size = 32;

// A LeNet. Its weights are one flat array in the order of LeNet.parameters(): conv1.weight (6, C, 5, 5), conv1.bias,
// conv2.weight (16, 6, 5, 5), conv2.bias, fc1.weight (120, 400), fc1.bias, fc2.weight (84, 120), fc2.bias,
// fc3.weight (classes, 84), fc3.bias.
struct Network {
  int channels = 1;  // 1 … 3
  int classes = 10;  // 1 … 1,000
  size_t weights() const { return 150 * channels + 6 + 2416 + 48120 + 10164 + 85 * size_t(classes); }
};

enum class Rule { sgd, momentum, nesterov, adam, adamw };

struct Optimizer {
  Rule rule = Rule::adam;
  double momentum = 0.9;      // for momentum and nesterov
  double weight_decay = 0.0;  // L2; decoupled for adamw
};

// The largest distortions, in the units of lenscope.data.augment; zero for none.
struct Augmentation {
  float shift = 0, rotation = 0, scale = 0, shear = 0, elastic = 0, smoothness = 4;
  bool any() const { return shift != 0 || rotation != 0 || scale != 0 || shear != 0 || elastic != 0; }
};

struct Data {
  const uint8_t* images = nullptr;  // (count, channels, 32, 32)
  const int64_t* labels = nullptr;  // (count,), each in 0 … classes − 1
};

}  // namespace lenscope
