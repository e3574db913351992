// The Python bindings. Every argument is checked here. Arrays that bound reads of other arrays (indices, ends, labels)
// are copied before they are checked: another Python thread may write to them while the engine runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "engine/trainer.hpp"
#include "sigbus.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T, int dimensions>
using Array = nb::ndarray<T, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Images = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, lenscope::image_size, lenscope::image_size>,
                           nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<nb::numpy, std::uint8_t>;
using Floats = nb::ndarray<nb::numpy, float>;
using Integers = std::vector<std::int64_t>;

[[noreturn]] void refuse(const std::string& message) { throw nb::value_error(message.c_str()); }

void check_size(const char* name, std::size_t got, std::size_t expected) {
  if (got != expected)
    refuse(std::string(name) + ": got " + std::to_string(got) + " values, expected " + std::to_string(expected));
}

void check_range(const char* name, std::int64_t got, std::int64_t least, std::int64_t most) {
  if (got < least || got > most)
    refuse(std::string(name) + ": got " + std::to_string(got) + ", expected " + std::to_string(least) + " to " +
           std::to_string(most));
}

void check_threads(int threads) { check_range("threads", threads, 1, 1024); }

Integers copied(const Array<const std::int64_t, 1>& values) { return {values.data(), values.data() + values.size()}; }

Integers copied_indices(const Array<const std::int64_t, 1>& array, std::size_t images) {
  const Integers indices = copied(array);
  for (const std::int64_t index : indices)
    if (index < 0 || index >= static_cast<std::int64_t>(images))
      throw nb::index_error(
          ("indices: got " + std::to_string(index) + " of " + std::to_string(images) + " images").c_str());
  return indices;
}

Integers copied_labels(const Array<const std::int64_t, 1>& array, std::size_t images, int classes) {
  const Integers labels = copied(array);
  check_size("labels", labels.size(), images);
  for (const std::int64_t label : labels) check_range("labels", label, 0, classes - 1);
  return labels;
}

// Where each batch ends among the indices: no batch is empty, and the last ends where they do.
Integers copied_ends(const Array<const std::int64_t, 1>& array, std::size_t indices) {
  const Integers ends = copied(array);
  std::int64_t before = 0;
  for (const std::int64_t end : ends) {
    if (end <= before) refuse("ends: got " + std::to_string(end) + " after " + std::to_string(before));
    before = end;
  }
  check_size("indices", indices, static_cast<std::size_t>(before));
  return ends;
}

lenscope::Network network_of(const Images& images, int classes) {
  check_range("channels of images", static_cast<std::int64_t>(images.shape(1)), 1, 3);
  check_range("classes", classes, 1, 1000);
  return {static_cast<int>(images.shape(1)), classes};
}

lenscope::Rule rule_of(const std::string& name) {
  using enum lenscope::Rule;
  static const std::map<std::string, lenscope::Rule> rules{
      {"sgd", sgd}, {"momentum", momentum}, {"nesterov", nesterov}, {"adam", adam}, {"adamw", adamw}};
  const auto found = rules.find(name);
  if (found == rules.end())
    refuse("optimizer: got '" + name + "', expected sgd, momentum, nesterov, adam or adamw");
  return found->second;
}

// The bounds are those of lenscope.config.Augmentation; the kernels rely on them.
lenscope::Augmentation augmentation_of(const std::array<float, 6>& sizes) {
  constexpr float least[] = {0, 0, 0, 0, 0, 1}, most[] = {16, 180, 0.9f, 60, 8, 16};
  for (std::size_t at = 0; at < sizes.size(); ++at)
    if (!(least[at] <= sizes[at] && sizes[at] <= most[at]))
      refuse("augmentation: got " + std::to_string(sizes[at]) + ", expected " + std::to_string(least[at]) + " to " +
             std::to_string(most[at]));
  return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
}

// An uninitialised numpy array.
template <typename T>
nb::ndarray<nb::numpy, T> new_array(const std::vector<std::size_t>& shape) {
  std::size_t size = 1;
  for (const std::size_t extent : shape) size *= extent;
  auto values = std::make_unique_for_overwrite<T[]>(std::max<std::size_t>(size, 1));
  const nb::capsule owner(values.get(), [](void* data) noexcept { delete[] static_cast<T*>(data); });
  return nb::ndarray<nb::numpy, T>(values.release(), shape.size(), shape.data(), owner);
}

Floats array_of(const float* values, std::size_t size) {
  Floats array = new_array<float>({size});
  std::copy_n(values, size, array.data());
  return array;
}

// Calls work(), which uses `threads` threads; raises LenscopeError if they or their memory cannot be allocated.
template <typename Work>
auto with_room(int threads, Work work) {
  std::string lacks;
  try {
    return work();
  } catch (const std::bad_alloc&) {
    lacks = "memory";
  } catch (const std::system_error& error) {  // from creating a thread
    lacks = error.what();
  }
  const std::string message = "--threads " + std::to_string(threads) + ": cannot start them (" + lacks +
                              "); use fewer, or allow the process more memory and threads";
  PyErr_SetString(nb::module_::import_("lenscope.errors").attr("LenscopeError").ptr(), message.c_str());
  throw nb::python_error();
}

// A trainer and the arrays that it reads; one call at a time.
class Trainer {
 public:
  Trainer(Images images, const Array<const std::int64_t, 1>& labels, int classes, const std::string& optimizer,
          double momentum, double weight_decay, int threads, const std::string& isa, std::uint64_t seed,
          const std::array<float, 6>& augmentation)
      : images_(std::move(images)),
        network_(network_of(images_, classes)),
        threads_(threads),
        labels_(copied_labels(labels, images_.shape(0), classes)) {
    check_threads(threads);
    const lenscope::Optimizer rule{rule_of(optimizer), momentum, weight_decay};
    const lenscope::Data data{images_.data(), labels_.data()};
    const lenscope::Augmentation distortions = augmentation_of(augmentation);
    trainer_ = with_room(threads, [&] {
      return std::make_unique<lenscope::Trainer>(network_, rule, data, distortions, seed, threads, isa);
    });
  }

  Floats run(const Array<float, 1>& weights, const Array<const std::int64_t, 1>& indices,
             const Array<const std::int64_t, 1>& ends, const Array<const double, 1>& learning_rates,
             std::uint64_t epoch, const nb::callable& stop) {
    const Use use(in_use_);
    check_weights(weights.size());
    const Integers images = copied_indices(indices, labels_.size());
    const Integers batches = copied_ends(ends, images.size());
    check_size("learning_rates", learning_rates.size(), batches.size());
    std::vector<float> losses(batches.size());
    std::size_t written = 0;
    if (!batches.empty())
      written = with_room(threads_, [&] {
        const nb::gil_scoped_release unlocked;
        return trainer_->run({weights.data(), weights.size()}, images, batches,
                             {learning_rates.data(), learning_rates.size()}, epoch, [&] { return asked(stop); },
                             losses);
      });
    return array_of(losses.data(), written);
  }

  Floats refused() {
    const Use use(in_use_);
    Floats weights = new_array<float>({network_.weights()});
    trainer_->refused({weights.data(), weights.size()});
    return weights;
  }

  nb::tuple state() {
    const Use use(in_use_);
    const lenscope::State state = trainer_->state();
    return nb::make_tuple(state.steps, array_of(state.first.data(), state.first.size()),
                          array_of(state.second.data(), state.second.size()));
  }

  void set_state(std::int64_t steps, const Array<const float, 1>& first, const Array<const float, 1>& second) {
    const Use use(in_use_);
    if (steps < 0) refuse("steps: got " + std::to_string(steps) + ", expected 0 or more");
    trainer_->set_state(
        {steps, {first.data(), first.data() + first.size()}, {second.data(), second.data() + second.size()}});
  }

 private:
  // Refuses a call during another one, from another thread or from `stop`.
  class Use {
   public:
    explicit Use(std::atomic<bool>& in_use) : in_use_(in_use) {
      if (in_use_.exchange(true)) throw std::runtime_error("this trainer is in another call");
    }
    ~Use() { in_use_ = false; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::atomic<bool>& in_use_;
  };

  static bool asked(const nb::callable& stop) {
    const nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    return static_cast<bool>(nb::bool_(stop()));
  }

  void check_weights(std::size_t got) const { check_size("weights", got, network_.weights()); }

  Images images_;
  lenscope::Network network_;
  int threads_;
  Integers labels_;
  std::unique_ptr<lenscope::Trainer> trainer_;
  std::atomic<bool> in_use_ = false;
};

Floats evaluate(const Images& images, const Array<const float, 1>& weights, int classes, int threads,
                const std::string& isa) {
  const lenscope::Network network = network_of(images, classes);
  check_size("weights", weights.size(), network.weights());
  check_threads(threads);
  const std::size_t count = images.shape(0);
  Floats log_probabilities = new_array<float>({count, static_cast<std::size_t>(classes)});
  if (count > 0)
    with_room(threads, [&] {
      const nb::gil_scoped_release unlocked;
      lenscope::evaluate(network, {weights.data(), weights.size()}, images.data(), count, threads, isa,
                         log_probabilities.data());
    });
  return log_probabilities;
}

Bytes augment(const Images& images, const Array<const std::int64_t, 1>& indices,
              const std::array<float, 6>& augmentation, std::uint64_t seed, std::uint64_t epoch,
              const std::string& isa) {
  check_range("channels of images", static_cast<std::int64_t>(images.shape(1)), 1, 3);
  check_size("indices", indices.size(), images.shape(0));
  if (std::any_of(indices.data(), indices.data() + indices.size(), [](std::int64_t index) { return index < 0; }))
    refuse("indices: expected 0 or more");
  const lenscope::Augmentation how = augmentation_of(augmentation);
  Bytes distorted = new_array<std::uint8_t>({images.shape(0), images.shape(1), images.shape(2), images.shape(3)});
  {
    const nb::gil_scoped_release unlocked;
    lenscope::augment(how, seed, epoch, {indices.data(), indices.size()}, images.data(),
                      static_cast<int>(images.shape(1)), isa, distorted.data());
  }
  return distorted;
}

}  // namespace

NB_MODULE(_core, module) {
  // An interactive session that ends after an error still refers to its frames, and so to a trainer: not a leak.
  nb::set_leak_warnings(false);
  module.doc() = "The fused engine's native half: a LeNet's training and evaluation on the CPU.";
  module.attr("compiler") = __VERSION__;  // another compiler orders sums differently, which changes the last bits

  nb::class_<Trainer>(module, "Trainer", "Trains one LeNet on one training set; see trainer.hpp.")
      .def(nb::init<Images, const Array<const std::int64_t, 1>&, int, const std::string&, double, double, int,
                    const std::string&, std::uint64_t, const std::array<float, 6>&>(),
           "images"_a.noconvert(), "labels"_a.noconvert(), "classes"_a, nb::kw_only(), "optimizer"_a, "momentum"_a,
           "weight_decay"_a, "threads"_a, "isa"_a, "seed"_a, "augmentation"_a)
      .def("run", &Trainer::run, "weights"_a.noconvert(), "indices"_a.noconvert(), "ends"_a.noconvert(),
           "learning_rates"_a.noconvert(), "epoch"_a, "stop"_a,
           "Take one step per batch, changing the weights in place; return the steps' losses.")
      .def("refused", &Trainer::refused, "The weights that a non-finite step was taken from, or led to.")
      .def("state", &Trainer::state, "The optimiser's state: steps, and the two moments or the velocity.")
      .def("set_state", &Trainer::set_state, "steps"_a, "first"_a.noconvert(), "second"_a.noconvert(),
           "Continue from what `state` returned.");

  module.def("evaluate", &evaluate, "images"_a.noconvert(), "weights"_a.noconvert(), "classes"_a, "threads"_a, "isa"_a,
             "Log-probabilities of images.");
  module.def("augment", &augment, "images"_a.noconvert(), "indices"_a.noconvert(), "augmentation"_a, "seed"_a,
             "epoch"_a, "isa"_a, "Distorted copies of images whose numbers in the data set are `indices`.");
  module.def("report_cut_files", &lenscope::report_cut_files,
             "If a mapped file is truncated while it is read, exit with a one-line message instead of SIGBUS.");
  module.def("instruction_sets", &lenscope::instruction_sets, "This processor's instruction sets, best first.");
}
