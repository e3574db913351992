// Threads that take a call's phases together.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace lenscope {

// Where threads wait for each other: spinning for about a millisecond, which is as long as phases differ at most (a thread
// that sleeps must be woken, and wakes late), and asleep after that. Where there are more threads than processors they
// hardly spin, since they would keep from work whom they wait for.
class Barrier {
 public:
  explicit Barrier(int threads)
      : threads_(threads), spins_(unsigned(threads) <= std::thread::hardware_concurrency() ? 60'000 : 100) {}

  void wait() {
    const unsigned phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.fetch_add(1, std::memory_order_acq_rel);
      phase_.notify_all();
      return;
    }
    for (int spin = 0; spin < spins_; ++spin) {
      if (phase_.load(std::memory_order_acquire) != phase) return;
      pause();
    }
    phase_.wait(phase, std::memory_order_acquire);
  }

 private:
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  const int threads_, spins_;  // a pause is 40 cycles on a Cascade Lake
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
};

// Calls work(thread) on `threads` threads, the caller's being number 0; returns when all have returned. Where a thread
// cannot be made, none works and std::system_error is thrown. Denormals are flushed to zero meanwhile: Adam's moments of
// a weight without gradient would end among them and stay, at a hundred times the cost of a number.
void work_together(int threads, const std::function<void(int)>& work);

}  // namespace lenscope
