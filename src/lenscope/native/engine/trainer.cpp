#include "trainer.hpp"

#include <stdexcept>

#include "learner.hpp"
#include "steps.hpp"

namespace lenscope {

Trainer::Trainer(Network network, Optimizer optimizer, Data data, Augmentation augmentation, std::uint64_t seed,
                 int threads, const std::string& isa)
    : learner_(std::make_unique<Learner>(network, optimizer, data, augmentation, seed, threads, kernels_of(isa))) {}

Trainer::~Trainer() = default;

std::size_t Trainer::run(std::span<float> weights, std::span<const std::int64_t> indices,
                         std::span<const std::int64_t> ends, std::span<const double> learning_rates,
                         std::uint64_t epoch, const std::function<bool()>& stop, std::span<float> losses) {
  Learner& l = *learner_;
  l.set_weights(weights);
  l.first_at_start.copy_from(l.first);
  l.second_at_start.copy_from(l.second);
  const Taken taken = take_steps(l, {indices, ends, learning_rates, epoch}, stop, losses);
  if (taken.outcome == Outcome::refused) {  // only taking the steps before it again restores the moments
    l.first.copy_from(l.first_at_start);
    l.second.copy_from(l.second_at_start);
    l.steps_done -= std::int64_t(taken.steps);
    l.has_previous = false;
    l.set_weights(weights);
    take_steps(l, {indices, ends.first(taken.steps), learning_rates.first(taken.steps), epoch}, {}, losses);
  }
  l.gather(weights, l.weights[l.current].get());
  if (taken.failure) std::rethrow_exception(taken.failure);
  return taken.steps + (taken.outcome == Outcome::lost || taken.outcome == Outcome::refused);
}

void Trainer::refused(std::span<float> weights) const { learner_->gather(weights, learner_->refused.get()); }

double Trainer::gradient(std::span<const float> weights, std::span<const std::int64_t> indices, std::uint64_t epoch,
                         std::span<float> gradient) {
  learner_->set_weights(weights);
  const std::int64_t end = std::int64_t(indices.size());
  float loss = 0;
  take_steps(*learner_, {indices, {&end, 1}, {}, epoch}, {}, {&loss, 1});
  learner_->gather(gradient, learner_->gradient.get());
  return loss;
}

void Trainer::update(std::span<float> weights, std::span<const float> gradient, double learning_rate) {
  Learner& l = *learner_;
  l.set_weights(weights);
  l.scatter(gradient, l.gradient.get());
  const Update rule = l.update_of(++l.steps_done, learning_rate);
  float *from = l.weights[l.current].get(), *to = l.weights[1 - l.current].get();
  l.kernels.update(rule, l.gradient.get(), l.parameters(from, to, 0), l.model.layout.end);
  l.current = 1 - l.current;
  l.gather(weights, to);
}

void Trainer::reconsider(double every_seconds, double below_share) {
  learner_->pace.interval = every_seconds;
  learner_->pace.least_share = below_share;
}

int Trainer::thread_changes() const { return learner_->thread_changes; }

State Trainer::state() const {
  const Rule rule = learner_->optimizer.rule;
  const std::size_t count = learner_->offsets.size();
  State state{learner_->steps_done, std::vector<float>(rule == Rule::sgd ? 0 : count),
              std::vector<float>(rule == Rule::adam || rule == Rule::adamw ? count : 0)};
  learner_->gather(state.first, learner_->first.get());
  learner_->gather(state.second, learner_->second.get());
  return state;
}

void Trainer::set_state(const State& state) {
  const State own = this->state();
  if (state.first.size() != own.first.size() || state.second.size() != own.second.size())
    throw std::invalid_argument("optimiser state: its sizes are not this network's and optimiser's");
  learner_->steps_done = state.steps;
  learner_->has_previous = false;
  learner_->scatter(state.first, learner_->first.get());
  learner_->scatter(state.second, learner_->second.get());
}

}  // namespace lenscope
