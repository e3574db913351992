// How the engine takes steps, stops and refuses.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <thread>

#include "pace.hpp"
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
  return same(a.weights, b.weights) && same(a.losses, b.losses) && a.state.steps == b.state.steps &&
         same(a.state.first, b.state.first) && same(a.state.second, b.state.second);
}

// ---- Calls

// Steps `begin` … `end − 1` of the plan in one call.
void run(Trainer& trainer, const Plan& plan, std::size_t begin, std::size_t end, Trained& to) {
  const std::int64_t start = begin ? plan.ends[begin - 1] : 0;
  const Integers indices(plan.indices.begin() + start, plan.indices.begin() + (end ? plan.ends[end - 1] : 0));
  Integers ends;
  for (std::size_t step = begin; step < end; ++step) ends.push_back(plan.ends[step] - start);
  Floats losses(end - begin);
  const auto rates = std::span(plan.rates).subspan(begin, end - begin);
  const std::size_t written = trainer.run(to.weights, indices, ends, rates, 3, {}, losses);
  require(written == end - begin, "took " + std::to_string(written) + " steps of " + std::to_string(end - begin));
  to.losses.insert(to.losses.end(), losses.begin(), losses.end());
  to.state = trainer.state();
}

// Each step as a gradient and an update.
Trained by_hand(const Case& of, const std::string& isa, Optimizer optimizer, Augmentation augmentation,
                const Plan& plan) {
  const auto trainer = make_trainer(of, isa, 1, optimizer, augmentation);
  Trained to{of.weights, {}, {}};
  Floats gradient(of.weights.size());
  for (std::size_t step = 0, start = 0; step < plan.ends.size(); start = plan.ends[step++]) {
    const auto batch = std::span(plan.indices).subspan(start, plan.ends[step] - start);
    to.losses.push_back(float(trainer->gradient(to.weights, batch, 3, gradient)));
    trainer->update(to.weights, gradient, plan.rates[step]);
  }
  to.state = trainer->state();
  return to;
}

std::string calls(const Setting& here) {
  const Case& one = here.cases.front();
  for (const auto& [name, rule] : rules) {
    const Optimizer optimizer{rule, 0.9, 0.01};
    const Augmentation augmentation = rule == Rule::nesterov ? mild : Augmentation{};
    const int large = rule == Rule::adam ? 970 : 13;  // 970 are two micro-batches
    const Plan steps = plan(one, here.small ? std::vector{2, 3, 1, 2} : std::vector{17, 5, large, 40});
    const Trained expected = by_hand(one, here.isa, optimizer, augmentation, steps);
    for (const int threads : here.threads) {
      auto trainer = make_trainer(one, here.isa, threads, optimizer, augmentation);
      Trained got{one.weights, {}, {}};
      run(*trainer, steps, 0, 1, got);
      run(*trainer, steps, 1, 1, got);
      trainer = make_trainer(one, here.isa, threads % 4 + 1, optimizer, augmentation);
      trainer->set_state(got.state);
      run(*trainer, steps, 1, 4, got);
      require(same(got, expected), name + (", " + threads_of(threads)) + ": not as gradient() and update() by turns");
    }
  }
  return "five rules: the same bytes for any threads, in calls of two trainers and by hand";
}

// ---- The number of threads

// The threads after each of `intervals` intervals in which n threads take `speeds[n - 1]` images per second.
std::vector<int> paced(lenscope::Pace& pace, const std::vector<double>& speeds, double share, int intervals) {
  std::vector<int> threads;
  pace.begin(0, 0);
  for (int at = 1; at <= intervals; ++at) {
    const double images = speeds[pace.threads() - 1] * pace.interval;
    require(pace.is_due(at * pace.interval + 1e-9), "not due after an interval");
    pace.note(std::int64_t(images), at * pace.interval, at * pace.interval * share);
    threads.push_back(pace.threads());
  }
  return threads;
}

std::string threads_change(const Setting& here) {
  lenscope::Pace brief(2);
  bool due = false;
  for (int at = 0; at < 9; ++at) {  // calls that are shorter than an interval
    brief.begin(at, at);
    due |= brief.is_due(at + 0.7 * brief.interval);
    brief.end(100, at + 0.7 * brief.interval, at + 0.7 * brief.interval);
  }
  require(due, "never due in short calls");
  for (const int most : {2, 3, 8}) {
    lenscope::Pace pace(most);
    const std::vector<double> together{1e5, 2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5};
    for (const int threads : paced(pace, together, 1, 99)) require(threads == most, "fewer threads on a quiet machine");
    std::vector<double> coupled;
    for (int threads = 1; threads <= most; ++threads) coupled.push_back(1e5 / threads);
    const std::vector<int> busy = paced(pace, coupled, 0.4, 400);
    const auto ones = std::count(busy.begin() + 20, busy.end(), 1);
    require(ones > 0.9 * double(busy.size() - 20), text(double(ones)) + " of 380 intervals with one thread when busy");
    require(paced(pace, together, 1, 400).back() == most, "did not return to all threads");
  }
  const Case& one = here.cases.front();
  const Plan steps = plan(one, std::vector<int>(here.small ? 30 : 60, 3));
  const Trained expected = by_hand(one, here.isa, {Rule::adam, 0.9, 0.01}, {}, steps);
  for (const int threads : here.threads) {
    const auto trainer = make_trainer(one, here.isa, threads, {Rule::adam, 0.9, 0.01});
    trainer->reconsider(0, 2);
    Trained got{one.weights, {}, {}};
    run(*trainer, steps, 0, 5, got);
    run(*trainer, steps, 5, steps.ends.size(), got);
    require(same(got, expected), threads_of(threads) + " and fewer in turns: other bytes");
    const int changes = trainer->thread_changes(), least = threads > 1 ? 4 : 0;
    require(changes >= least && (threads > 1 || changes == 0), text(changes) + " changes of " + threads_of(threads));
  }
  return "one where the machine is busy, all where it is not; the same bytes while the number changes";
}

// ---- Stopping

// After a stop all is as after the steps that were finished, and training resumes from there. stop() ends the call, by
// `true` or by throwing, when it is called for time `times`: first before the first step, then every 20 ms.
void check_stop(const Setting& here, int threads, const Plan& plan, int times, bool throws) {
  const Case& one = here.cases.front();
  const std::string where = threads_of(threads) + ", " + (throws ? "exception" : "stop") + " at call " +
                            std::to_string(times) + " in " + std::to_string(plan.ends.size()) + " steps";
  const auto trainer = make_trainer(one, here.isa, threads), other = make_trainer(one, here.isa, 1);
  Trained got{one.weights, Floats(plan.ends.size()), {}}, expected{one.weights, {}, {}};
  bool threw = false;
  std::size_t written = 0;
  int left = times;
  const auto stop = [&, caller = std::this_thread::get_id()] {
    require(std::this_thread::get_id() == caller, "stop() was called by another thread");
    if (--left > 0) return false;
    if (throws) throw std::bad_exception();
    return true;
  };
  try {
    written = trainer->run(got.weights, plan.indices, plan.ends, plan.rates, 3, stop, got.losses);
  } catch (const std::bad_exception&) {
    threw = true;
  }
  got.state = trainer->state();
  const std::size_t done = std::size_t(got.state.steps);
  require(threw == throws && (throws || written == done), where + ": did not stop");
  const bool none = times == 1 || plan.ends.size() == 1;
  require(none ? done == 0 : done > 0 && done + 1000 < plan.ends.size(), where + ": took " + std::to_string(done));
  volatile float tiny = std::numeric_limits<float>::min();
  require(tiny * 0.5f > 0, where + ": denormal numbers stay flushed to zero after the call");
  run(*other, plan, 0, done, expected);
  got.losses.resize(done);
  require(same(got, expected), where + ": not as after the steps before it");
  if (none) return;
  run(*trainer, plan, done, done + 3, got);
  run(*other, plan, done, done + 3, expected);
  require(same(got, expected), where + ": resumes differently");
}

std::string stops(const Setting& here) {
  const Case& one = here.cases.front();
  const Plan many = plan(one, std::vector(20'000, 3)), huge = plan(one, {300'000});
  for (const int threads : here.small ? std::vector{3} : std::vector{1, 3})
    for (const bool throws : {false, true}) {
      for (const int times : {1, 2}) check_stop(here, threads, many, times, throws);
      check_stop(here, threads, huge, 2, throws);
    }
  return "at the start, within a step, between steps, by an exception";
}

// ---- Non-finite numbers

// The third rate is too high: step `refused` is not taken, and all is as after the second.
void check_rate(const Setting& here, int threads, double rate, std::size_t refused) {
  const Case& one = here.cases.front();
  const Optimizer momentum{Rule::momentum, 0.5, 0};
  const std::string where = "rate " + text(rate);
  Plan steps = plan(one, {5, 5, 5, 5, 5});
  Trained expected{one.weights, {}, {}};
  run(*make_trainer(one, here.isa, 1, momentum), steps, 0, 2, expected);
  steps.rates[2] = rate;
  Floats weights = one.weights, losses(5, -1.0f);
  const auto trainer = make_trainer(one, here.isa, threads, momentum);
  const std::size_t written = trainer->run(weights, steps.indices, steps.ends, steps.rates, 3, {}, losses);
  require(written == refused + 1, where + ": wrote " + std::to_string(written) + " losses");
  require(std::isnan(losses[refused]), where + ": the last loss is " + text(losses[refused]) + ", not NaN");
  for (std::size_t step = 0; step < 2; ++step)
    require(losses[step] == expected.losses[step], where + ": other losses before it");
  for (std::size_t step = refused + 1; step < 5; ++step) require(losses[step] == -1, where + ": losses after it");
  require(same(weights, expected.weights), where + ": the weights are not those before it");
  if (refused == 2) require(same(trainer->state().first, expected.state.first), where + ": the moments have changed");
}

void check_weight(const Setting& here, int threads, std::size_t place, float value) {
  const Case& one = here.cases.front();
  const Plan steps = plan(one, {1, 1});
  Floats weights = one.weights, losses(2, -1.0f);
  weights[place] = value;
  const auto trainer = make_trainer(one, here.isa, threads);
  const std::size_t written = trainer->run(weights, steps.indices, steps.ends, steps.rates, 3, {}, losses);
  require(written == 1 && std::isnan(losses[0]) && losses[1] == -1,
          "weight " + std::to_string(place) + " is " + text(value) + ": was not refused");
}

std::string non_finite(const Setting& here) {
  const Case& one = here.cases.front();
  for (const int threads : here.small ? std::vector{3} : std::vector{1, 3}) {
    check_rate(here, threads, 1e30, 2);  // the weights would be too large
    check_rate(here, threads, 1e18, 3);  // they are just small enough, and the next loss is not finite
    for (std::size_t tensor = 0, at = 0; tensor < 10; at += reference::sizes(one.network)[tensor++])
      for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        check_weight(here, threads, at + reference::sizes(one.network)[tensor] / 2, value);
  }
  return "NaN and infinity in each parameter, and rates too high, refused";
}

}  // namespace
