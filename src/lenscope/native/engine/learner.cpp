#include "learner.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "layout.hpp"

namespace lenscope {
namespace {

constexpr double beta1 = 0.9, beta2 = 0.999, adam_epsilon = 1e-8;

// By squaring, which every platform rounds alike.
double power(double base, std::int64_t exponent) {
  double value = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2) value *= base;
  return value;
}

int cost(const Unit& unit) { return unit.kind == Unit::convolutions ? 6000 : unit.count; }  // of 15 rows of fc1

// Each thread gets consecutive units of about the same cost; adjacent rows of a layer become one unit.
std::vector<std::vector<Unit>> share(const std::vector<Unit>& units, int threads) {
  std::vector<std::vector<Unit>> shares(threads);
  std::int64_t total = 0, before = 0;
  for (const Unit& unit : units) total += cost(unit);
  for (const Unit& unit : units) {
    std::vector<Unit>& own = shares[(before + cost(unit) / 2) * threads / total];
    before += cost(unit);
    if (unit.kind == Unit::dense_rows && !own.empty() && own.back().kind == unit.kind && own.back().layer == unit.layer)
      own.back().end = unit.end, own.back().count += unit.count;
    else
      own.push_back(unit);
  }
  return shares;
}

}  // namespace

Learner::Learner(Network network, Optimizer optimizer_, Data data_, Augmentation augmentation_, std::uint64_t seed_,
                 int threads_, const Kernels& kernels_)
    : kernels(kernels_), model(make_model(network)), optimizer(optimizer_), data(data_), augmentation(augmentation_),
      seed(seed_), pace(threads_), threads(threads_), offsets(parameter_offsets(model)), convolution_offsets(shard_offsets(model)),
      weights{Buffer<float>(model.layout.end), Buffer<float>(model.layout.end)}, first(model.layout.end),
      second(model.layout.end), first_at_start(model.layout.end), second_at_start(model.layout.end),
      gradient(model.layout.end), refused(model.layout.end),
      shard_values(std::size_t(large_batches.shards) * model.shard_layout.end), shard_total(model.shard_layout.end), packed(model),
      activations(model, large_batches.images), scratch(scratch_of_threads(model, threads)),
      units(share(all_units(), threads)) {}

std::vector<Unit> Learner::all_units() const {
  std::vector<Unit> units;
  const int outs[] = {120, 84, model.network.classes}, bias_rows[] = {fc1_row, fc2_row, model.classes_padded};
  for (int number = 0; number < 3; ++number) {
    const DenseLayer layer = dense_layer(number, 0);
    const int row = layer.gradient.in_row;
    for (int begin = 0; begin < outs[number]; begin += 8) {
      const int end = std::min(begin + 8, outs[number]);
      units.push_back({Unit::dense_rows, number, begin, end, layer.weight + begin * row, (end - begin) * row});
    }
    units.push_back({Unit::dense_bias, number, 0, 0, layer.bias, bias_rows[number]});
  }
  units.push_back({Unit::convolutions, 0, 0, 0, 0, model.layout.fc1_weight});
  return units;
}

Learner::DenseLayer Learner::dense_layer(int number, int images) const {
  const Activations& a = activations.view;
  const Layout& at = model.layout;
  if (number == 0) return {{a.d_fc1, fc1_row, a.features, features, images}, at.fc1_weight, at.fc1_bias};
  if (number == 1) return {{a.d_fc2, fc2_row, a.fc1, fc1_row, images}, at.fc2_weight, at.fc2_bias};
  return {{a.d_fc3, model.classes_padded, a.fc2, fc2_row, images}, at.fc3_weight, at.fc3_bias};
}

void Learner::scatter(std::span<const float> from, float* to) const {
  for (std::size_t at = 0; at < from.size(); ++at) to[offsets[at]] = from[at];
}

void Learner::gather(std::span<float> to, const float* from) const {
  for (std::size_t at = 0; at < to.size(); ++at) to[at] = from[offsets[at]];
}

void Learner::set_weights(std::span<const float> from) {
  scatter(from, weights[current].get());
  if (!std::exchange(has_previous, true)) weights[1 - current].copy_from(weights[current]);
  kernels.pack_weights(model, weights[current].get(), packed.view);
}

Parameters Learner::parameters(const float* from, float* to, int at) {
  return {from + at, first.get() + at, second.get() + at, to + at};
}

void Learner::set_threads(int count) {
  if (count == threads) return;
  ++thread_changes;
  threads = count;
  units = share(all_units(), count);
}

void Learner::clear_shards(int begin, int end) {
  const int size = model.shard_layout.end;
  std::memset(shard_values.get() + begin * size, 0, std::size_t(end - begin) * size * sizeof(float));
}

void Learner::images_phase(int thread, const Part& part, const float* from, std::uint64_t epoch) {
  const int begin = part.shards * thread / threads, end = part.shards * (thread + 1) / threads;
  const int images = int(part.indices.size());
  if (part.first) clear_shards(begin, end);
  kernels.forward_backward({&model, from, &packed.view, &activations.view, &scratch[thread]->view, data,
                            part.indices.data(), images, begin * images / part.shards, end * images / part.shards,
                            part.scale, part.shards, shard_values.get(), &augmentation, seed, epoch});
}

bool Learner::weights_phase(int thread, const Part& part, const Update* rule, const float* from, float* to) {
  bool broken = false;
  for (const Unit& unit : units[thread]) broken |= work_on(unit, part, rule, from, to);
  return broken;
}

bool Learner::work_on(const Unit& unit, const Part& part, const Update* rule, const float* from, float* to) {
  if (unit.kind == Unit::dense_rows && rule && part.first) {
    const DenseLayer layer = dense_layer(unit.layer, int(part.indices.size()));
    return kernels.dense_update(layer.gradient, unit.begin, unit.end, *rule, parameters(from, to, layer.weight));
  }
  if (unit.kind != Unit::convolutions) dense_gradient(unit, part);
  else if (part.last) convolution_gradient(part.shards);
  if (!rule) return false;
  const bool broken = kernels.update(*rule, gradient.get() + unit.at, parameters(from, to, unit.at), unit.count);
  if (unit.kind == Unit::convolutions) kernels.pack_weights(model, to, packed.view);
  return broken;
}

void Learner::dense_gradient(const Unit& unit, const Part& part) {
  const DenseGradient of = dense_layer(unit.layer, int(part.indices.size())).gradient;
  float* to = gradient.get() + unit.at;
  if (unit.kind == Unit::dense_rows) return kernels.dense_gradient(of, unit.begin, unit.end, to, !part.first);
  if (part.first) std::memset(to, 0, unit.count * sizeof(float));
  kernels.column_sums(of.d, of.d_row, of.images, to);
}

void Learner::convolution_gradient(int shards) {
  kernels.sum_shards(shard_values.get(), shards, model.shard_layout.end, shard_total.get());
  for (std::size_t at = 0; at < convolution_offsets.size(); ++at)
    if (convolution_offsets[at] >= 0) gradient.get()[at] = shard_total.get()[convolution_offsets[at]];
}

Update Learner::update_of(std::int64_t step, double rate) const {
  const double correction1 = 1 - power(beta1, step), correction2 = 1 - power(beta2, step);
  return {optimizer.rule, float(rate), float(optimizer.momentum), float(optimizer.weight_decay), float(1 - beta1),
          float(beta2), float(1 - beta2), float(rate / correction1), float(1 / std::sqrt(correction2)),
          float(adam_epsilon)};
}

}  // namespace lenscope
