// Training and evaluation by several threads, over the kernels of one instruction set.
//
// A step has two phases. In the first, each thread takes its images from pixels to gradients; convolution gradients are
// summed in 12 shards of the batch, each by one thread. In the second, each thread takes its rows of the dense weights:
// their gradient over all images in order and the update; one of them sums the
// shards in order and updates the convolutions. So no sum depends on how many threads there are.
#include "trainer.hpp"

#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "instruction_sets.hpp"
#include "kernels.hpp"
#include "team.hpp"

namespace lenscope {
namespace {

constexpr auto stop_interval = std::chrono::milliseconds(20);
constexpr double beta1 = 0.9, beta2 = 0.999, adam_epsilon = 1e-8;

// Zeroed memory at an address that whole vectors, and cache lines, start at.
template <class Value>
class Block {
 public:
  explicit Block(std::size_t count)
      : values_(static_cast<Value*>(::operator new(count * sizeof(Value), std::align_val_t(64)))) {
    std::memset(static_cast<void*>(values_), 0, count * sizeof(Value));
  }
  ~Block() { ::operator delete(values_, std::align_val_t(64)); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  Value* get() const { return values_; }

 private:
  Value* values_;
};

Model describe(Network network) {
  const int classes = padded(network.classes);
  Places at{};
  auto next = [end = 0](int count) mutable { return std::exchange(end, end + padded(count)); };
  at.conv1_weight = next(150 * network.channels);
  at.conv1_bias = next(6);
  at.conv2_weight = next(2400);
  at.conv2_bias = next(16);
  at.fc1_weight = next(120 * features);
  at.fc1_bias = next(fc1_row);
  at.fc2_weight = next(whole_tiles(84) * fc1_row);
  at.fc2_bias = next(fc2_row);
  at.fc3_weight = next(whole_tiles(network.classes) * fc2_row);
  at.fc3_bias = next(classes);
  at.end = next(0);
  const int conv1 = 6 * network.channels * 32;
  return {network, at, {0, conv1, conv1 + 16 * 5 * 32, conv1 + 16 * 5 * 32 + 16}, classes};
}

// Where each weight of the flat array outside is in the engine's.
std::vector<int> find_places(const Model& model) {
  std::vector<int> places;
  const Places& at = model.places;
  const auto rows = [&](int start, int count, int columns, int row, auto column_at) {
    for (int r = 0; r < count; ++r)
      for (int column = 0; column < columns; ++column) places.push_back(start + r * row + column_at(column));
  };
  const auto same = [](int column) { return column; };
  const auto by_position = [](int column) { return column % 25 * 16 + column / 25; };
  rows(at.conv1_weight, 1, 150 * model.network.channels, 0, same);
  rows(at.conv1_bias, 1, 6, 0, same);
  rows(at.conv2_weight, 1, 2400, 0, same);
  rows(at.conv2_bias, 1, 16, 0, same);
  rows(at.fc1_weight, 120, features, features, by_position);
  rows(at.fc1_bias, 1, 120, 0, same);
  rows(at.fc2_weight, 84, 120, fc1_row, same);
  rows(at.fc2_bias, 1, 84, 0, same);
  rows(at.fc3_weight, model.network.classes, 84, fc2_row, same);
  rows(at.fc3_bias, 1, model.network.classes, 0, same);
  return places;
}

// Where each convolution parameter's gradient is in a shard, by its place in the engine's flat array; −1 for padding.
std::vector<int> find_shard_places(const Model& model) {
  const Places& at = model.places;
  const ShardPlaces& shard = model.shard_places;
  const int channels = model.network.channels;
  std::vector<int> found(at.fc1_weight, -1);
  for (int out = 0; out < 6; ++out) {
    found[at.conv1_bias + out] = shard.conv1 + out * channels * 32 + 16 + 2;  // the ones beside the last rows
    for (int in = 0; in < channels; ++in)
      for (int tap = 0; tap < 25; ++tap) {
        const int dy = tap / 5, dx = tap % 5, lane = dy < 3 ? dx * 3 + dy : 16 + dx * 3 + dy - 3;
        found[at.conv1_weight + (out * channels + in) * 25 + tap] = shard.conv1 + (out * channels + in) * 32 + lane;
      }
  }
  for (int out = 0; out < 16; ++out) {
    found[at.conv2_bias + out] = shard.conv2_bias + out;
    for (int in = 0; in < 6; ++in)
      for (int tap = 0; tap < 25; ++tap)
        found[at.conv2_weight + (out * 6 + in) * 25 + tap] = shard.conv2 + (out * 5 + tap / 5) * 32 + in / 3 * 16 + in % 3 * 5 + tap % 5;
  }
  return found;
}

struct CopiesMemory {
  explicit CopiesMemory(const Model& model)
      : conv1(model.network.channels * 25 * 8 + 16), conv2(2400), conv2_back(16 * 2 * 9 * 32),
        view{conv1.get(), conv2.get(), conv2_back.get()} {}
  Block<float> conv1, conv2, conv2_back;
  Copies view;
};

struct RowsMemory {
  RowsMemory(const Model& model, int images)
      : values(std::size_t(images) * (features + 2 * (fc1_row + fc2_row) + model.classes_padded + 1) + 64) {
    float* at = values.get();
    const auto next = [&](int row) { return std::exchange(at, at + std::size_t(images) * row); };
    view = {next(features), next(fc1_row), next(fc2_row), next(fc1_row), next(fc2_row), next(model.classes_padded),
            next(1)};
  }
  Block<float> values;
  Rows view;
};

struct ScratchMemory {
  explicit ScratchMemory(const Model& model)
      : pixels((model.network.channels * 32 + 1) * 32), triples(2 * model.network.channels * 2704 + 16),
        pool1(block_images * pool1_floats + 16), patches(14 * 10 * 32 + 16),
        d_features(block_images * features), d_pool1(block_images * pool1_floats),
        winners1(block_images * pool1_floats), winners2(block_images * features),
        patch_offsets(features), weight_offsets(block_images * features),
        distorted(block_images * model.network.channels * 1024),
        view{pixels.get(), triples.get(), pool1.get(), winners1.get(), winners2.get(), patches.get(), d_features.get(),
             d_pool1.get(), patch_offsets.get(), weight_offsets.get(), distorted.get()} {}
  Block<float> pixels, triples, pool1, patches, d_features, d_pool1;
  Block<std::int32_t> winners1, winners2, patch_offsets, weight_offsets;
  Block<std::uint8_t> distorted;
  Scratch view;
};

}  // namespace

std::size_t Network::weights() const { return 150 * channels + 6 + 2416 + 48120 + 10164 + 85 * std::size_t(classes); }

struct Trainer::Impl {
  // What one thread does at a time in the second phase: rows of a dense layer, a bias, or both convolutions.
  struct Unit {
    enum Kind { rows, bias, convolutions } kind;
    int layer, begin, end;  // rows of a layer
    int at, count;          // its parameters
    int cost() const { return kind == convolutions ? 6000 : count; }  // those take as long as 15 rows of fc1
  };
  struct DenseLayer {  // where its weights are
    DenseGradient gradient;
    int weight, bias;
  };

  Impl(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed, int threads,
       const Kernels& kernels);

  void share_units();
  void import_weights(std::span<const float> weights);
  void export_to(std::span<float> to, const float* from) const;
  void clear_shards(int thread);
  void images_phase(int thread, const float* from, const std::int64_t* indices, int part, double share,
                    std::uint64_t epoch);
  void gradient_of(const Unit& unit, int part, bool add);
  void sum_shards();
  bool work_on(const Unit& unit, int part, bool add, bool whole, const Update* rule, const float* from, float* to);
  Update rule_at(std::int64_t step, double rate) const;
  DenseLayer layer(int number, int images) const;
  Parameters parameters(const float* from, float* to, int at);

  const Kernels& kernels;
  const Model model;
  const Optimizer optimizer;
  const Data data;
  const Augmentation augmentation;
  const std::uint64_t seed;
  const int threads;
  const std::vector<int> places, shard_places;
  Block<float> weights[2];  // the present ones, and those before, or those that come
  int present = 0;
  bool started = false;
  Block<float> gradient, first, second, shard_values, shard_total;
  std::int64_t steps_done = 0;
  CopiesMemory copies;
  RowsMemory rows;
  std::vector<std::unique_ptr<ScratchMemory>> scratch;
  std::vector<Unit> units;
  std::vector<std::size_t> first_unit;  // of each thread, and the end
};

Trainer::Impl::Impl(Network network, Optimizer optimizer_, Data data_, Augmentation augmentation_, std::uint64_t seed_,
                    int threads_, const Kernels& kernels_)
    : kernels(kernels_), model(describe(network)), optimizer(optimizer_), data(data_), augmentation(augmentation_),
      seed(seed_), threads(threads_), places(find_places(model)), shard_places(find_shard_places(model)),
      weights{Block<float>(model.places.end), Block<float>(model.places.end)}, gradient(model.places.end),
      first(model.places.end), second(model.places.end), shard_values(std::size_t(shards) * model.shard_places.end),
      shard_total(model.shard_places.end), copies(model), rows(model, part_images) {
  for (int thread = 0; thread < threads; ++thread) scratch.push_back(std::make_unique<ScratchMemory>(model));
  const int outs[] = {120, 84, network.classes}, bias_rows[] = {fc1_row, fc2_row, model.classes_padded};
  for (int number = 0; number < 3; ++number) {
    const DenseLayer dense = layer(number, 0);
    const int row = dense.gradient.in_row;
    for (int begin = 0; begin < outs[number]; begin += 8) {
      const int end = std::min(begin + 8, outs[number]);
      units.push_back({Unit::rows, number, begin, end, dense.weight + begin * row, (end - begin) * row});
    }
    units.push_back({Unit::bias, number, 0, 0, dense.bias, bias_rows[number]});
  }
  units.push_back({Unit::convolutions, 0, 0, 0, 0, model.places.fc1_weight});
  share_units();
}

// Each thread gets about the same cost, in one stretch; rows of a layer that meet become one unit.
void Trainer::Impl::share_units() {
  const std::vector<Unit> small = std::exchange(units, {});
  std::int64_t total = 0, before = 0;
  for (const Unit& unit : small) total += unit.cost();
  for (const Unit& unit : small) {
    const int thread = int((before + unit.cost() / 2) * threads / total);
    before += unit.cost();
    while (first_unit.size() <= std::size_t(thread)) first_unit.push_back(units.size());
    const bool new_thread = first_unit.back() == units.size();
    if (!new_thread && unit.kind == Unit::rows && units.back().kind == Unit::rows && units.back().layer == unit.layer)
      units.back().end = unit.end, units.back().count += unit.count;
    else
      units.push_back(unit);
  }
  while (first_unit.size() <= std::size_t(threads)) first_unit.push_back(units.size());
}

void Trainer::Impl::import_weights(std::span<const float> from) {
  float* to = weights[present].get();
  for (std::size_t at = 0; at < places.size(); ++at) to[places[at]] = from[at];
  if (!std::exchange(started, true)) std::memcpy(weights[1 - present].get(), to, model.places.end * sizeof(float));
  kernels.convolution_copies(model, to, copies.view);
}

void Trainer::Impl::export_to(std::span<float> to, const float* from) const {
  for (std::size_t at = 0; at < places.size(); ++at) to[at] = from[places[at]];
}

Trainer::Impl::DenseLayer Trainer::Impl::layer(int number, int images) const {
  const Rows& r = rows.view;
  const Places& at = model.places;
  if (number == 0) return {{r.d_fc1, fc1_row, r.features, features, images}, at.fc1_weight, at.fc1_bias};
  if (number == 1) return {{r.d_fc2, fc2_row, r.fc1, fc1_row, images}, at.fc2_weight, at.fc2_bias};
  return {{r.d_fc3, model.classes_padded, r.fc2, fc2_row, images}, at.fc3_weight, at.fc3_bias};
}

Parameters Trainer::Impl::parameters(const float* from, float* to, int at) {
  return {from + at, first.get() + at, second.get() + at, to + at};
}

void Trainer::Impl::clear_shards(int thread) {
  const int begin = shards * thread / threads, end = shards * (thread + 1) / threads, size = model.shard_places.end;
  std::memset(shard_values.get() + begin * size, 0, std::size_t(end - begin) * size * sizeof(float));
}

void Trainer::Impl::images_phase(int thread, const float* from, const std::int64_t* indices, int part, double share,
                                 std::uint64_t epoch) {
  const int first_shard = shards * thread / threads, last_shard = shards * (thread + 1) / threads;
  kernels.images({&model, from, &copies.view, &rows.view, &scratch[thread]->view, data, indices, part,
                  first_shard * part / shards, last_shard * part / shards, share, shard_values.get(), &augmentation,
                  seed, epoch});
}

void Trainer::Impl::gradient_of(const Unit& unit, int part, bool add) {
  const DenseLayer dense = layer(unit.layer, part);
  if (unit.kind == Unit::rows) {
    kernels.dense_gradient(dense.gradient, unit.begin, unit.end, gradient.get() + unit.at, add);
    return;
  }
  if (!add) std::memset(gradient.get() + unit.at, 0, unit.count * sizeof(float));
  kernels.column_sums(dense.gradient.d, dense.gradient.d_row, part, gradient.get() + unit.at);
}

// The convolutions' gradient, from what the shards of all parts sum to.
void Trainer::Impl::sum_shards() {
  kernels.shard_sum(shard_values.get(), model.shard_places.end, shard_total.get());
  for (std::size_t at = 0; at < shard_places.size(); ++at)
    if (shard_places[at] >= 0) gradient.get()[at] = shard_total.get()[shard_places[at]];
}

// A part's gradient, and with the last part the update, if there is one; true where one of its numbers is not finite.
bool Trainer::Impl::work_on(const Unit& unit, int part, bool add, bool whole, const Update* rule, const float* from,
                            float* to) {
  if (unit.kind == Unit::rows && rule && !add) {
    const DenseLayer dense = layer(unit.layer, part);
    return kernels.dense_update(dense.gradient, unit.begin, unit.end, *rule, parameters(from, to, dense.weight));
  }
  if (unit.kind != Unit::convolutions) gradient_of(unit, part, add);
  else if (whole) sum_shards();
  if (!rule) return false;
  const bool broken = kernels.update(*rule, gradient.get() + unit.at, parameters(from, to, unit.at), unit.count);
  if (unit.kind == Unit::convolutions) kernels.convolution_copies(model, to, copies.view);
  return broken;
}

Update Trainer::Impl::rule_at(std::int64_t step, double rate) const {
  const double first_left = 1 - std::pow(beta1, double(step)), second_left = 1 - std::pow(beta2, double(step));
  return {optimizer.rule,
          float(rate),
          float(optimizer.momentum),
          float(optimizer.weight_decay),
          float(1 - beta1),
          float(beta2),
          float(1 - beta2),
          float(rate / first_left),
          float(1 / std::sqrt(second_left)),
          float(adam_epsilon)};
}

namespace {

// One call's steps, taken by all threads together; each keeps count for itself of what all count alike.
class Steps {
 public:
  Steps(Trainer::Impl& impl, std::span<const std::int64_t> indices, std::span<const std::int64_t> ends,
        std::span<const double> rates, std::uint64_t epoch, const std::function<bool()>& stop, std::span<float> losses)
      : impl_(impl), indices_(indices), ends_(ends), rates_(rates), epoch_(epoch), stop_(stop), losses_(losses),
        barrier_(impl.threads) {}

  // How many losses were written; `impl.present` are the weights to go on from.
  std::size_t run() {
    ask_to_stop();
    if (!stopping_ && !ends_.empty()) work_together(impl_.threads, [this](int thread) { work(thread); });
    if (failure_) std::rethrow_exception(failure_);
    return written_;
  }

 private:
  enum Outcome { done, stopped, lost, refused };

  void work(int thread) {
    std::size_t step = 0;
    int present = impl_.present;
    const std::int64_t before = impl_.steps_done;
    Outcome outcome = done;
    for (; step < ends_.size() && !stopping_; ++step) {
      outcome = take(thread, step, present, before + std::int64_t(step) + 1);
      if (outcome != done) break;
      present = 1 - present;
    }
    if (thread == 0) conclude(step, present, outcome);
  }

  void conclude(std::size_t step, int present, Outcome outcome) {
    if (!rates_.empty()) {
      impl_.steps_done += std::int64_t(step);
      impl_.present = outcome == lost ? 1 - present : present;
    }
    written_ = step;
    if (outcome == lost || outcome == refused) losses_[written_++] = std::numeric_limits<float>::quiet_NaN();
  }

  // Update number `number`, from the weights `present` to the others; without rates, its gradient alone.
  Outcome take(int thread, std::size_t step, int present, std::int64_t number) {
    const std::int64_t begin = step ? ends_[step - 1] : 0, count = ends_[step] - begin;
    const int parts = int((count + part_images - 1) / part_images);
    const float* from = impl_.weights[present].get();
    double loss = 0;
    impl_.clear_shards(thread);
    for (int part = 0; part < parts; ++part) {
      if (part > 0 && stopping_) return stopped;
      const std::int64_t first = begin + count * part / parts, last = begin + count * (part + 1) / parts;
      const bool whole = part + 1 == parts;
      impl_.images_phase(thread, from, indices_.data() + first, int(last - first), 1.0 / double(count), epoch_);
      barrier_.wait();
      for (int image = 0; image < int(last - first); ++image) loss += impl_.rows.view.losses[image];
      if (!std::isfinite(loss)) return lost;
      if (whole && thread == 0) losses_[step] = float(loss / double(count));
      const bool update = whole && !rates_.empty();
      const Update rule = update ? impl_.rule_at(number, rates_[step]) : Update{};
      weights_phase(thread, int(last - first), part > 0, whole, update ? &rule : nullptr, from,
                    impl_.weights[1 - present].get());
      if (thread == 0 && std::chrono::steady_clock::now() - asked_ > stop_interval) ask_to_stop();
      barrier_.wait();
    }
    return broken_ ? refused : done;
  }

  void weights_phase(int thread, int part, bool add, bool whole, const Update* rule, const float* from, float* to) {
    for (std::size_t at = impl_.first_unit[thread]; at < impl_.first_unit[thread + 1]; ++at)
      if (impl_.work_on(impl_.units[at], part, add, whole, rule, from, to)) broken_ = true;
  }

  void ask_to_stop() {
    try {
      if (stop_ && stop_()) stopping_ = true;
    } catch (...) {
      failure_ = std::current_exception();
      stopping_ = true;
    }
    asked_ = std::chrono::steady_clock::now();
  }

  Trainer::Impl& impl_;
  const std::span<const std::int64_t> indices_, ends_;
  const std::span<const double> rates_;
  const std::uint64_t epoch_;
  const std::function<bool()>& stop_;
  const std::span<float> losses_;
  Barrier barrier_;
  std::atomic<bool> stopping_{false}, broken_{false};  // written between the two barriers of a part, read after
  std::chrono::steady_clock::time_point asked_;        // thread 0's own
  std::exception_ptr failure_;
  std::size_t written_ = 0;
};

}  // namespace

Trainer::Trainer(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed,
                 int threads, const std::string& isa)
    : impl_(std::make_unique<Impl>(network, optimizer, data, augmentation, seed, threads, kernels_of(isa))) {}

Trainer::~Trainer() = default;

std::size_t Trainer::run(std::span<float> weights, std::span<const std::int64_t> indices,
                         std::span<const std::int64_t> ends, std::span<const double> learning_rates,
                         std::uint64_t epoch, const std::function<bool()>& stop, std::span<float> losses) {
  impl_->import_weights(weights);
  const auto leave = [&] { impl_->export_to(weights, impl_->weights[impl_->present].get()); };
  try {
    const std::size_t written = Steps(*impl_, indices, ends, learning_rates, epoch, stop, losses).run();
    leave();
    return written;
  } catch (...) {
    leave();
    throw;
  }
}

void Trainer::refused(std::span<float> weights) const {
  impl_->export_to(weights, impl_->weights[1 - impl_->present].get());
}

double Trainer::gradient(std::span<const float> weights, std::span<const std::int64_t> indices, std::uint64_t epoch,
                         std::span<float> gradient) {
  impl_->import_weights(weights);
  const std::int64_t end = std::int64_t(indices.size());
  float loss = 0;
  Steps(*impl_, indices, {&end, 1}, {}, epoch, {}, {&loss, 1}).run();
  impl_->export_to(gradient, impl_->gradient.get());
  return loss;
}

void Trainer::update(std::span<float> weights, std::span<const float> gradient, double learning_rate) {
  impl_->import_weights(weights);
  for (std::size_t at = 0; at < impl_->places.size(); ++at) impl_->gradient.get()[impl_->places[at]] = gradient[at];
  const Update rule = impl_->rule_at(++impl_->steps_done, learning_rate);
  float *from = impl_->weights[impl_->present].get(), *to = impl_->weights[1 - impl_->present].get();
  impl_->kernels.update(rule, impl_->gradient.get(), impl_->parameters(from, to, 0), impl_->model.places.end);
  impl_->present = 1 - impl_->present;
  impl_->export_to(weights, to);
}

State Trainer::state() const {
  const Rule rule = impl_->optimizer.rule;
  State state{impl_->steps_done, {}, {}};
  if (rule != Rule::sgd) {
    state.first.resize(impl_->places.size());
    impl_->export_to(state.first, impl_->first.get());
  }
  if (rule == Rule::adam || rule == Rule::adamw) {
    state.second.resize(impl_->places.size());
    impl_->export_to(state.second, impl_->second.get());
  }
  return state;
}

void Trainer::set_state(const State& state) {
  const State own = this->state();
  if (state.first.size() != own.first.size() || state.second.size() != own.second.size() || state.steps < 0)
    throw std::invalid_argument("optimiser state: its sizes are not this network's and optimiser's");
  impl_->steps_done = state.steps;
  for (std::size_t at = 0; at < state.first.size(); ++at) impl_->first.get()[impl_->places[at]] = state.first[at];
  for (std::size_t at = 0; at < state.second.size(); ++at) impl_->second.get()[impl_->places[at]] = state.second[at];
}

void evaluate(Network network, std::span<const float> weights, const std::uint8_t* images, std::size_t count,
              int threads, const std::string& isa, float* log_probabilities) {
  const Kernels& kernels = kernels_of(isa);
  const Model model = describe(network);
  const std::vector<int> places = find_places(model);
  const Block<float> own(model.places.end);
  for (std::size_t at = 0; at < places.size(); ++at) own.get()[places[at]] = weights[at];
  const CopiesMemory copies(model);
  kernels.convolution_copies(model, own.get(), copies.view);
  std::vector<std::unique_ptr<RowsMemory>> rows;
  std::vector<std::unique_ptr<ScratchMemory>> scratch;
  for (int thread = 0; thread < threads; ++thread) {
    rows.push_back(std::make_unique<RowsMemory>(model, block_images));
    scratch.push_back(std::make_unique<ScratchMemory>(model));
  }
  work_together(threads, [&](int thread) {
    kernels.evaluate(model, own.get(), copies.view, rows[thread]->view, scratch[thread]->view, images,
                     count * thread / threads, count * (thread + 1) / threads, log_probabilities);
  });
}

void augment(const Augmentation& how, std::uint64_t seed, std::uint64_t epoch, std::span<const std::int64_t> indices,
             const std::uint8_t* images, int channels, const std::string& isa, std::uint8_t* distorted) {
  const Kernels& kernels = kernels_of(isa);
  const std::size_t size = std::size_t(channels) * image_size * image_size;
  for (std::size_t at = 0; at < indices.size(); ++at)
    kernels.augment(how, seed, epoch, std::uint64_t(indices[at]), images + at * size, channels, distorted + at * size);
}

double measure_peak(const std::string& isa, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  const Kernels& kernels = kernels_of(isa);
  std::vector<double> rates(threads);
  work_together(threads, [&](int thread) {
    const auto begun = Clock::now();
    double done = 0, passed = 0;
    while (passed < seconds) {
      done += kernels.peak(100'000);
      passed = std::chrono::duration<double>(Clock::now() - begun).count();
    }
    rates[thread] = done / passed;
  });
  double total = 0;
  for (const double rate : rates) total += rate;
  return total;
}

}  // namespace lenscope
