// What the engine is about, as plain data: shared by its interface and the kernels.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lenscope {

constexpr int image_size = 32;

// A LeNet by its two free sizes. Weights travel as one flat array in the order and the layout of
// LeNet.parameters(): conv1.weight (6, C, 5, 5), conv1.bias, conv2.weight (16, 6, 5, 5), conv2.bias,
// fc1.weight (120, 400), fc1.bias, fc2.weight (84, 120), fc2.bias, fc3.weight (classes, 84), fc3.bias.
struct Network {
  int channels = 1;   // 1 … 3
  int classes = 10;   // 1 … 1,000
  size_t weights() const;
};

enum class Rule { sgd, momentum, nesterov, adam, adamw };

struct Optimizer {
  Rule rule = Rule::adam;
  double momentum = 0.9;      // for momentum and nesterov
  double weight_decay = 0.0;  // L2; decoupled for adamw
};

// How far images are distorted; all zero leaves them alone. Units as in lenscope.data.augment.
struct Augmentation {
  float shift = 0, rotation = 0, scale = 0, shear = 0, elastic = 0, smoothness = 4;
  bool any() const { return shift != 0 || rotation != 0 || scale != 0 || shear != 0 || elastic != 0; }
};

struct Data {
  const uint8_t* images = nullptr;  // (count, channels, 32, 32)
  const int64_t* labels = nullptr;  // (count,), each in 0 … classes − 1
  size_t count = 0;
};

}  // namespace lenscope
