// How many threads take the steps: all of them, unless the processors are busy with something else.
//
// Threads that wait for each other in every phase are slow where one of them has no processor. The bytes do not depend
// on their number, so it may change. If the calling thread ran for less than 0.9 of two intervals, since it had no
// processor or slept at a barrier, half as many threads are tried for an interval, and kept if they are faster. Twice
// as many are tried from time to time, less and less often while this does not help.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace lenscope {

class Pace {
 public:
  explicit Pace(int most) : most_(most), home_(most), now_(most) {}

  int threads() const { return now_; }

  // A call begins or ends; what passes between calls does not count.
  void begin(double seconds, double processor_seconds) {
    since_ = seconds;
    processor_since_ = processor_seconds;
  }
  void end(std::int64_t images, double seconds, double processor_seconds) {
    images_ += double(images);
    passed_ += seconds - since_;
    ran_ += processor_seconds - processor_since_;
  }

  bool is_due(double seconds) const { return most_ > 1 && passed_ + (seconds - since_) >= interval; }

  // After an interval and its images: the time, and the time for which the calling thread has run. Returns whether
  // threads() changed.
  bool note(std::int64_t images, double seconds, double processor_seconds) {
    end(images, seconds, processor_seconds);
    begin(seconds, processor_seconds);
    const double speed = images_ / passed_;
    const bool is_short = ran_ < least_share * passed_;
    images_ = passed_ = ran_ = 0;
    const bool busy = std::exchange(was_short_, is_short) && is_short;
    if (now_ != home_) return conclude(speed);
    speed_ = speed_ > 0 ? (speed_ + speed) / 2 : speed;
    if (--wait_ > 0) return false;
    now_ = next_trial(busy);
    return now_ != home_;
  }

  // For a system that refuses more threads.
  void keep_to_one() { most_ = home_ = now_ = 1; }

  double interval = 0.02, least_share = 0.9;  // seconds, which a step may exceed; of a processor

 private:
  int next_trial(bool busy) {
    const bool fewer = busy && home_ > 1, more = home_ < most_;
    upwards_ = more && (!fewer || !upwards_);  // by turns where both are possible
    if (upwards_) return std::min(2 * home_, most_);
    return fewer ? (home_ + 1) / 2 : home_;
  }

  bool conclude(double speed) {
    const bool better = speed > gain * speed_;
    patience_ = better ? shortest : std::min(2 * patience_, longest);
    wait_ = patience_;
    if (better) home_ = now_, speed_ = speed;
    const bool changes = now_ != home_;
    now_ = home_;
    return changes;
  }

  static constexpr double gain = 1.1;
  static constexpr int shortest = 4, longest = 64;  // intervals between trials

  int most_, home_, now_;  // now_ differs from home_ during a trial
  int wait_ = 1, patience_ = shortest;
  bool upwards_ = false, was_short_ = false;
  double since_ = 0, processor_since_ = 0, images_ = 0, passed_ = 0, ran_ = 0;  // the last three of the interval
  double speed_ = 0;  // images per second with home_
};

}  // namespace lenscope
