// What the engine computes, held to the plain loops.
#pragma once

#include "setting.hpp"

namespace {

constexpr double tolerance = 2e-5;  // of a tensor's largest value

// How far a gradient is off at most; throws where that is too much.
double compare_gradient(const Case& one, const Floats& got, double loss, const Batch& expected,
                        const std::string& where) {
  require(std::abs(loss - expected.loss) <= 1e-6 * std::max(expected.loss, 1.0), where + ": the loss is " + text(loss));
  double worst = 0;
  for (std::size_t tensor = 0, at = 0; tensor < 10; at += reference::sizes(one.network)[tensor++]) {
    const double off = error(got.data() + at, expected.gradient[tensor]);
    require(off <= tolerance, where + ": parameter " + std::to_string(tensor) + " is off by " + text(off));
    worst = std::max(worst, off);
  }
  return worst;
}

std::string gradients(const Setting& here) {
  double worst = 0;
  for (const Case& one : here.cases) {
    std::vector<std::unique_ptr<Trainer>> machines;
    for (const int threads : here.threads) machines.push_back(trainer(one, here.isa, threads));
    for (const Batch& batch : one.batches) {
      const std::string where = one.name + ", batch " + std::to_string(batch.indices.size());
      Floats first(one.weights.size()), got(first.size());
      const double loss = machines[0]->gradient(one.weights, batch.indices, 1, first);
      worst = std::max(worst, compare_gradient(one, first, loss, batch, where));
      for (std::size_t at = 1; at < machines.size(); ++at) {
        const double other = machines[at]->gradient(one.weights, batch.indices, 1, got);
        require(same(got, first) && other == loss, where + ": differs with " + threads_of(here.threads[at]));
      }
    }
  }
  return "off by at most " + text(worst) + ", the same bytes for each number of threads";
}

// ---- Update rules

void compare_moving(const Floats& got, const std::vector<reference::Moving>& expected, double reference::Moving::*member,
                    const std::string& what, double& worst) {
  if (got.empty()) return;
  reference::Values values;
  for (const reference::Moving& moving : expected) values.push_back(moving.*member);
  const double off = error(got.data(), values);
  require(off <= 1e-6, what + " off by " + text(off));
  worst = std::max(worst, off);
}

// Gradients of all sizes. With decay they have the signs of the weights: where the two cancel, Adam makes much of what
// rounding left.
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

double check_updates(const Setting& here, const Optimizer& optimizer, const std::string& name) {
  const Case& one = here.cases.front();
  const auto machine = trainer(one, here.isa, 1, optimizer);
  Random random(5);
  Floats weights = one.weights;
  std::vector<reference::Moving> expected;
  for (const float weight : weights) expected.push_back({weight});
  for (int step = 1; step <= 5; ++step) {
    const Floats gradient = various_gradients(random, expected, optimizer.weight_decay != 0);
    machine->update(weights, gradient, 0.1 / step);
    reference::update(optimizer, expected, gradient, 0.1 / step, step);
  }
  const State state = machine->state();
  double worst = 0;
  compare_moving(weights, expected, &reference::Moving::weight, name + ": weights", worst);
  compare_moving(state.first, expected, &reference::Moving::first, name + ": first moment", worst);
  compare_moving(state.second, expected, &reference::Moving::second, name + ": second moment", worst);
  require(state.steps == 5, name + ": counted " + std::to_string(state.steps) + " of 5 steps");
  return worst;
}

std::string updates(const Setting& here) {
  double worst = 0;
  for (const auto& [name, rule] : rules)
    for (const double decay : {0.0, 0.1}) worst = std::max(worst, check_updates(here, {rule, 0.9, decay}, name));
  return "five rules, with and without decay, off by at most " + text(worst);
}

// ---- Evaluation

Floats evaluated(const Case& one, const std::string& isa, int threads) {
  Floats log_probabilities(one.count() * one.network.classes);
  lenscope::evaluate(one.network, one.weights, one.images.data(), one.count(), threads, isa, log_probabilities.data());
  return log_probabilities;
}

double check_log_probabilities(const Case& one, const Floats& got) {
  double worst = 0;
  for (std::size_t image = 0; image < one.count(); ++image) {
    const double off = error(got.data() + image * one.network.classes, one.layers[image].log_probabilities);
    require(off <= tolerance, one.name + ": log-probabilities are off by " + text(off));
    worst = std::max(worst, off);
  }
  return worst;
}

std::string evaluation(const Setting& here) {
  double worst = 0;
  for (const Case& one : here.cases) {
    const Floats first = evaluated(one, here.isa, 1);
    worst = std::max(worst, check_log_probabilities(one, first));
    for (const int threads : here.threads)
      require(same(evaluated(one, here.isa, threads), first), one.name + ": differs with " + threads_of(threads));
    lenscope::evaluate(one.network, one.weights, nullptr, 0, 3, here.isa, nullptr);
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

// The greatest difference from the baseline's pixels, in grey levels.
int check_distortion(const Case& one, const Augmentation& how, const std::string& isa) {
  const Pixels copies = distorted(one, how, isa, 7), baseline = distorted(one, how, "baseline", 7);
  require(same(copies, distorted(one, how, isa, 7)), "the same image is distorted otherwise the second time");
  require(!same(copies, distorted(one, how, isa, 8)), "the same distortion in another epoch");
  require(!same(copies, one.images), "images are not distorted");
  distorted(one, how, isa, std::uint64_t(-1));
  int most = 0;
  for (std::size_t at = 0; at < copies.size(); ++at) most = std::max(most, std::abs(copies[at] - baseline[at]));
  return most;
}

// The gradient of images that are distorted on the way is that of their distorted copies.
void check_distorted_gradients(const Setting& here, const Case& one, const Augmentation& how) {
  Case copies = one;
  copies.images = distorted(one, how, here.isa, 7);
  const Integers indices = scattered(one.count(), here.size == Size::large ? 13 : 3);
  Floats expected(one.weights.size()), got(expected.size());
  trainer(copies, here.isa, 1)->gradient(one.weights, indices, 1, expected);
  for (const int threads : {1, 3}) {
    trainer(one, here.isa, threads, {}, how)->gradient(one.weights, indices, 7, got);
    require(same(got, expected), one.name + ": the gradient of distorted images differs with " + threads_of(threads));
  }
}

std::string augmentation(const Setting& here) {
  int most = 0;
  for (const std::size_t number : {0, 1}) {
    const Case& one = here.cases[number];
    for (const Augmentation& how : distortions) {
      most = std::max(most, check_distortion(one, how, here.isa));
      check_distorted_gradients(here, one, how);
    }
    require(same(distorted(one, {}, here.isa, 7), one.images), "images are distorted by nothing");
  }
  require(most <= 2, "differs from the baseline's by " + std::to_string(most) + " grey levels");
  return "in training as alone, within " + std::to_string(most) + " grey levels of the baseline's";
}

}  // namespace
