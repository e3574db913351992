// What the engine computes, compared with the plain loops.
#pragma once

#include "setting.hpp"

namespace {

constexpr double tolerance = 2e-5;  // of a tensor's largest value

std::string gradients(const Setting& here) {
  double worst = 0;
  for (const Case& one : here.cases) {
    std::vector<std::unique_ptr<Trainer>> trainers;
    for (const int threads : here.threads) trainers.push_back(make_trainer(one, here.isa, threads));
    for (const Batch& batch : one.batches) {
      const std::string where = one.name + ", batch " + std::to_string(batch.indices.size());
      Floats first(one.weights.size()), got(first.size());
      const double loss = trainers[0]->gradient(one.weights, batch.indices, 1, first);
      require(std::abs(loss - batch.loss) <= 1e-6 * std::max(batch.loss, 1.0), where + ": the loss is " + text(loss));
      for (std::size_t tensor = 0, at = 0; tensor < 10; at += reference::sizes(one.network)[tensor++])
        compare(&first[at], batch.gradient[tensor], tolerance, where + ": parameter " + std::to_string(tensor), worst);
      for (std::size_t at = 1; at < trainers.size(); ++at) {
        const double other = trainers[at]->gradient(one.weights, batch.indices, 1, got);
        require(same(got, first) && other == loss, where + ": differs with " + threads_of(here.threads[at]));
      }
    }
  }
  return "off by at most " + text(worst) + ", the same bytes for each number of threads";
}

// ---- Update rules

// Gradients of all magnitudes. With decay they have the signs of the weights: if the two cancelled, Adam would amplify
// the rounding error that is left.
Floats various_gradients(Random& random, const std::vector<reference::Moving>& weights, bool decay) {
  Floats gradients;
  for (const reference::Moving& moving : weights) {
    const double size = uniform(random, -8, 8);
    const float value = float(std::ldexp(size, -int(random() % 40)));
    gradients.push_back(decay ? std::copysign(value, float(moving.weight)) : value);
  }
  gradients.front() = gradients.back() = 0;
  return gradients;
}

void check_updates(const Setting& here, const Optimizer& optimizer, const std::string& name, double& worst) {
  const Case& one = here.cases.front();
  const auto trainer = make_trainer(one, here.isa, 1, optimizer);
  Random random(5);
  Floats weights = one.weights;
  std::vector<reference::Moving> expected;
  for (const float weight : weights) expected.push_back({weight});
  for (int step = 1; step <= 5; ++step) {
    const Floats gradient = various_gradients(random, expected, optimizer.weight_decay != 0);
    trainer->update(weights, gradient, 0.1 / step);
    reference::update(optimizer, expected, gradient, 0.1 / step, step);
  }
  const State state = trainer->state();
  const auto check = [&](const Floats& got, double reference::Moving::*member, const char* what) {
    reference::Values values;
    for (const reference::Moving& moving : expected) values.push_back(moving.*member);
    if (!got.empty()) compare(got.data(), values, 1e-6, name + ": " + what, worst);
  };
  check(weights, &reference::Moving::weight, "weights");
  check(state.first, &reference::Moving::first, "first moment");
  check(state.second, &reference::Moving::second, "second moment");
  require(state.steps == 5, name + ": counted " + std::to_string(state.steps) + " of 5 steps");
}

std::string updates(const Setting& here) {
  double worst = 0;
  for (const auto& [name, rule] : rules)
    for (const double decay : {0.0, 0.1}) check_updates(here, {rule, 0.9, decay}, name, worst);
  return "five rules, with and without decay, off by at most " + text(worst);
}

// ---- Evaluation

Floats evaluated(const Case& one, const std::string& isa, int threads) {
  Floats log_probabilities(one.count() * one.network.classes);
  lenscope::evaluate(one.network, one.weights, one.images.data(), one.count(), threads, isa, log_probabilities.data());
  return log_probabilities;
}

std::string evaluation(const Setting& here) {
  double worst = 0;
  for (const Case& one : here.cases) {
    const Floats first = evaluated(one, here.isa, 1);
    for (std::size_t image = 0; image < one.count(); ++image)
      compare(&first[image * one.network.classes], one.layers[image].log_probabilities, tolerance, one.name, worst);
    for (const int threads : here.threads)
      require(same(evaluated(one, here.isa, threads), first), one.name + ": differs with " + threads_of(threads));
  }
  return "log-probabilities, off by at most " + text(worst);
}

// ---- Augmentation

constexpr Augmentation distortions[] = {mild, {16, 180, 0.9f, 60, 8, 1}, {2, 0, 0, 0, 0, 4}, {0, 0, 0, 0, 8, 16}};

Pixels distorted(const Case& of, const Augmentation& how, const std::string& isa, std::uint64_t epoch) {
  Integers indices;
  for (std::size_t at = 0; at < of.count(); ++at) indices.push_back(std::int64_t(at));
  Pixels copies(of.images.size());
  lenscope::augment(how, 42, epoch, indices, of.images.data(), of.network.channels, isa, copies.data());
  return copies;
}

// The gradient of images that are distorted during training is that of their distorted copies.
void check_distorted_gradients(const Setting& here, const Case& one, const Augmentation& how, const Pixels& pixels) {
  Case copies = one;
  copies.images = pixels;
  const Integers indices = scattered(one.count(), here.small ? 3 : 13);
  Floats expected(one.weights.size()), got(expected.size());
  make_trainer(copies, here.isa, 1)->gradient(one.weights, indices, 1, expected);
  for (const int threads : {1, 3}) {
    make_trainer(one, here.isa, threads, {}, how)->gradient(one.weights, indices, 7, got);
    require(same(got, expected), one.name + ": the gradient of distorted images differs with " + threads_of(threads));
  }
}

std::string augmentation(const Setting& here) {
  int most = 0;  // the largest difference from the baseline's pixels, in grey levels
  for (const std::size_t number : {0, 1}) {
    const Case& one = here.cases[number];
    for (const Augmentation& how : distortions) {
      const Pixels copies = distorted(one, how, here.isa, 7), baseline = distorted(one, how, "baseline", 7);
      require(!same(copies, distorted(one, how, here.isa, 8)), "the same distortion in another epoch");
      for (std::size_t at = 0; at < copies.size(); ++at) most = std::max(most, std::abs(copies[at] - baseline[at]));
      check_distorted_gradients(here, one, how, copies);
    }
    require(same(distorted(one, {}, here.isa, 7), one.images), "images change without a distortion");
  }
  require(most <= 2, "differs from the baseline's by " + std::to_string(most) + " grey levels");
  return "in training as alone, within " + std::to_string(most) + " grey levels of the baseline's";
}

}  // namespace
