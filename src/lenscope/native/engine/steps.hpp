// One call's steps, taken by all threads together.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <span>

#include "learner.hpp"

namespace lenscope {

struct Batches {
  std::span<const std::int64_t> indices, ends;
  std::span<const double> rates;  // empty for the gradient of one batch, without an update
  std::uint64_t epoch;
};

// lost: a loss is not finite, and the step before it was taken back; refused: a gradient or new weight is not finite,
// and the moments have taken the refused update.
enum class Outcome { done, stopped, lost, refused };

struct Taken {
  std::size_t steps;
  Outcome outcome;
  std::exception_ptr failure;  // what stop() threw
};

// Throws std::system_error, having done nothing, if a thread cannot be created.
Taken take_steps(Learner& learner, const Batches& batches, const std::function<bool()>& stop, std::span<float> losses);

}  // namespace lenscope
