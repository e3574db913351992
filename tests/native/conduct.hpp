// How the engine takes steps, stops and refuses.
#pragma once

#include <functional>
#include <span>
#include <thread>

#include "setting.hpp"

namespace {

struct Plan {
  Integers indices, ends;
  std::vector<double> rates;
};

Plan plan(const Case& of, const std::vector<int>& batches) {
  Plan made;
  for (const int batch : batches) {
    made.ends.push_back((made.ends.empty() ? 0 : made.ends.back()) + batch);
    made.rates.push_back(0.01 / double(made.ends.size()));
  }
  made.indices = scattered(of.count(), made.ends.back());
  return made;
}

struct Trained {
  Floats weights, losses;
  State state;
};

bool same(const Trained& a, const Trained& b) {
  return same(a.weights, b.weights) && same(a.losses, b.losses) && same(a.state, b.state);
}

// ---- Calls

// Steps `begin` … `end − 1` of the plan in one call.
void run(Trainer& machine, const Plan& plan, std::size_t begin, std::size_t end, Trained& to) {
  const std::int64_t start = begin ? plan.ends[begin - 1] : 0;
  const Integers indices(plan.indices.begin() + start, plan.indices.begin() + (end ? plan.ends[end - 1] : 0));
  Integers ends;
  for (std::size_t step = begin; step < end; ++step) ends.push_back(plan.ends[step] - start);
  Floats losses(end - begin);
  const auto rates = std::span(plan.rates).subspan(begin, end - begin);
  const std::size_t written = machine.run(to.weights, indices, ends, rates, 3, {}, losses);
  require(written == end - begin, "took " + std::to_string(written) + " steps of " + std::to_string(end - begin));
  to.losses.insert(to.losses.end(), losses.begin(), losses.end());
  to.state = machine.state();
}

// A step by hand: the gradient, then the update.
Trained by_hand(const Case& of, const std::string& isa, Optimizer optimizer, Augmentation augmentation,
                const Plan& plan) {
  const auto machine = trainer(of, isa, 1, optimizer, augmentation);
  Trained to{of.weights, {}, {}};
  Floats gradient(of.weights.size());
  for (std::size_t step = 0, start = 0; step < plan.ends.size(); start = plan.ends[step++]) {
    const auto batch = std::span(plan.indices).subspan(start, plan.ends[step] - start);
    to.losses.push_back(float(machine->gradient(to.weights, batch, 3, gradient)));
    machine->update(to.weights, gradient, plan.rates[step]);
  }
  to.state = machine->state();
  return to;
}

// A call each part; by another trainer each, with another number of threads, where `anew`.
Trained in_calls(const Case& of, const std::string& isa, int threads, Optimizer optimizer, Augmentation augmentation,
                 const Plan& plan, const std::vector<std::size_t>& parts, bool anew) {
  auto machine = trainer(of, isa, threads, optimizer, augmentation);
  Trained to{of.weights, {}, {}};
  std::size_t begin = 0;
  for (const std::size_t part : parts) {
    run(*machine, plan, begin, begin + part, to);
    begin += part;
    if (!anew) continue;
    machine = trainer(of, isa, threads = threads % 4 + 1, optimizer, augmentation);
    machine->set_state(to.state);
  }
  return to;
}

void check_calls(const Setting& here, const Optimizer& optimizer, const std::string& name) {
  const Case& one = here.cases.front();
  const Augmentation augmentation = optimizer.rule == Rule::nesterov ? mild : Augmentation{};
  const int large = optimizer.rule == Rule::adam ? 300 : 13;  // images are taken in parts of 240
  const Plan steps = plan(one, here.size == Size::large ? std::vector{17, 5, large, 40} : std::vector{2, 3, 1, 2});
  const Trained expected = by_hand(one, here.isa, optimizer, augmentation, steps);
  for (const int threads : here.threads)
    for (const auto& calls : {std::vector<std::size_t>{1, 0, 2, 1}, {1, 3}}) {
      const bool anew = calls.size() == 2;
      const Trained got = in_calls(one, here.isa, threads, optimizer, augmentation, steps, calls, anew);
      require(same(got, expected), name + ", " + threads_of(threads) + ", " + std::to_string(calls.size()) +
                                       (anew ? " trainers" : " calls") + ": not as gradient() and update() in turns");
    }
}

std::string calls(const Setting& here) {
  for (const auto& [name, rule] : rules) check_calls(here, {rule, 0.9, 0.01}, name);
  return "five rules, the same bytes for any split into calls, any threads, and by hand";
}

// ---- Stopping

struct Stopped {
  Trained trained;
  std::size_t written;
  bool threw;
};

// Runs the plan until stop() has been called `times` times; then it says so, or throws.
Stopped interrupted(Trainer& machine, const Floats& weights, const Plan& plan, int times, bool throws) {
  Stopped got{{weights, Floats(plan.ends.size()), {}}, 0, false};
  const std::thread::id caller = std::this_thread::get_id();
  const auto stop = [&] {
    require(std::this_thread::get_id() == caller, "stop() was called by another thread");
    if (--times > 0) return false;
    require(!throws, "thrown");
    return true;
  };
  try {
    got.written = machine.run(got.trained.weights, plan.indices, plan.ends, plan.rates, 3, stop, got.trained.losses);
  } catch (const std::runtime_error& caught) {
    require(caught.what() == std::string("thrown"), caught.what());
    got.threw = true;
  }
  got.trained.state = machine.state();
  return got;
}

void require_denormals(const std::string& where) {
  volatile float tiny = std::numeric_limits<float>::min();
  require(tiny * 0.5f > 0, where + ": denormal numbers stay flushed to zero after the call");
}

// After a stop all is as after the steps that were finished, and goes on from there.
void check_stop(const Setting& here, int threads, const Plan& plan, int times, bool throws) {
  const Case& one = here.cases.front();
  const std::string where = threads_of(threads) + ", " + (throws ? "exception" : "stop") + " at call " +
                            std::to_string(times) + " in " + std::to_string(plan.ends.size()) + " steps";
  const bool none = times == 1 || plan.ends.size() == 1;
  const auto machine = trainer(one, here.isa, threads), other = trainer(one, here.isa, 1);
  Stopped got = interrupted(*machine, one.weights, plan, times, throws);
  const std::size_t done = std::size_t(got.trained.state.steps);
  require(got.threw == throws && (throws || got.written == done), where + ": was not heard");
  require(none ? done == 0 : done > 0 && done + 1000 < plan.ends.size(), where + ": took " + std::to_string(done));
  require_denormals(where);
  Trained expected{one.weights, {}, {}};
  run(*other, plan, 0, done, expected);
  got.trained.losses.resize(done);
  require(same(got.trained, expected), where + ": not as after the steps before it");
  if (none) return;
  run(*machine, plan, done, done + 3, got.trained);
  run(*other, plan, done, done + 3, expected);
  require(same(got.trained, expected), where + ": goes on otherwise");
}

// stop() is asked first, and each 20 ms or so: the second time is in the middle.
std::string stops(const Setting& here) {
  const Case& one = here.cases.front();
  const Plan many = plan(one, std::vector(20'000, 3)), huge = plan(one, {300'000});
  for (const int threads : {1, 3}) {
    if (threads == 1 && here.size != Size::large) continue;
    for (const int times : {1, 2})
      for (const bool throws : {false, true}) check_stop(here, threads, many, times, throws);
    check_stop(here, threads, huge, 1, false);
    if (here.size != Size::small) check_stop(here, threads, huge, 2, false);
    if (here.size == Size::large) check_stop(here, threads, huge, 2, true);
  }
  return "at the start, in mid step, in mid call, by an exception";
}

// ---- What is not finite

// The third rate is too high: the first step that shows it is refused.
void check_rate(const Setting& here, int threads, double rate, std::size_t refused) {
  const Case& one = here.cases.front();
  const Optimizer plain{Rule::sgd, 0, 0};
  const std::string where = "rate " + text(rate);
  Plan steps = plan(one, {5, 5, 5, 5, 5});
  Trained expected{one.weights, {}, {}};
  run(*trainer(one, here.isa, 1, plain), steps, 0, 2, expected);
  steps.rates[2] = rate;
  Floats weights = one.weights, losses(5, -1.0f);
  const auto machine = trainer(one, here.isa, threads, plain);
  const std::size_t written = machine->run(weights, steps.indices, steps.ends, steps.rates, 3, {}, losses);
  require(written == refused + 1, where + ": wrote " + std::to_string(written) + " losses");
  require(std::isnan(losses[refused]), where + ": the last loss is " + text(losses[refused]) + ", not NaN");
  for (std::size_t step = 0; step < 5; ++step) {
    if (step < 2) require(losses[step] == expected.losses[step], where + ": other losses before it");
    if (step > refused) require(losses[step] == -1, where + ": losses after it");
  }
  require(same(weights, expected.weights), where + ": the weights are not those before it");
}

void check_weight(const Setting& here, int threads, std::size_t place, float value) {
  const Case& one = here.cases.front();
  const Plan steps = plan(one, {1, 1});
  Floats weights = one.weights, losses(2, -1.0f);
  weights[place] = value;
  const auto machine = trainer(one, here.isa, threads);
  const std::size_t written = machine->run(weights, steps.indices, steps.ends, steps.rates, 3, {}, losses);
  require(written == 1 && std::isnan(losses[0]) && losses[1] == -1,
          "weight " + std::to_string(place) + " is " + text(value) + ": was not refused");
}

std::string non_finite(const Setting& here) {
  const Case& one = here.cases.front();
  for (const int threads : {1, 3}) {
    if (threads == 1 && here.size != Size::large) continue;
    check_rate(here, threads, 1e30, 2);  // the weights would be too large
    check_rate(here, threads, 1e18, 3);  // they are just not, and the next loss is
    for (std::size_t tensor = 0, at = 0; tensor < 10; at += reference::sizes(one.network)[tensor++])
      for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        check_weight(here, threads, at + reference::sizes(one.network)[tensor] / 2, value);
  }
  return "NaN and infinity in each parameter, and rates too high, refused";
}

// ---- The rest

template <class Call>
bool refuses(Call call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

std::string refusals(const Setting& here) {
  const Case& one = here.cases.front();
  for (const auto& [name, rule] : rules) {
    const auto machine = trainer(one, here.isa, 2, {rule, 0.9, 0});
    const State own = machine->state();
    State negative = own, large = own, small = own;
    negative.steps = -1;
    large.first.push_back(0);
    if (small.first.empty()) small.second.push_back(0);
    else small.first.pop_back();
    for (const State& state : {negative, large, small})
      require(refuses([&] { machine->set_state(state); }), std::string(name) + ": a state that does not fit is taken");
    require(same(machine->state(), own), std::string(name) + ": a refused state was kept");
  }
  for (const std::string isa : {"", "avx", "AVX2", "neon"})
    require(refuses([&] { trainer(one, isa, 1); }), "instruction set '" + isa + "' is taken");
  return "unknown instruction sets, and states that do not fit";
}

std::string peak(const Setting& here) {
  const double one = lenscope::measure_peak(here.isa, 1, 0.01), two = lenscope::measure_peak(here.isa, 2, 0.01);
  for (const double rate : {one, two}) require(std::isfinite(rate) && rate > 1e5, "a rate of " + text(rate));
  return text(one) + " multiply-adds a second on one thread, " + text(two) + " on two";
}

}  // namespace
