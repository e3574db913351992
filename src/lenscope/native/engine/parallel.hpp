// Threads that take a call's phases together.
#pragma once

#include <atomic>
#include <functional>
#if !defined(__wasm__)
#include <thread>
#endif
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace lenscope {

// Threads wait here for each other: spinning for about a millisecond, the longest difference between phases (waking a
// sleeping thread takes longer), then asleep. With more threads than processors they hardly spin, since they would
// keep the threads that they wait for from running.
class Barrier {
 public:
  explicit Barrier(int threads)
      : threads_(threads), spins_(threads <= processors() ? 60'000 : 100) {}

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
#if defined(__wasm__)
  static int processors() { return 1; }
#else
  static int processors() { return int(std::thread::hardware_concurrency()); }
#endif
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  const int threads_, spins_;  // a pause takes 40 cycles on a Cascade Lake
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
};

class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (1ul << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  unsigned long before_;
#endif
};

// Calls work(thread) on `threads` threads, of which the caller is number 0; returns when all calls have returned. If a
// thread cannot be created, none works and std::system_error is thrown. Denormals are flushed to zero during the calls:
// Adam's moments of a weight without gradient would become denormal and stay so, at a hundred times the cost.
// WebAssembly has one thread, and keeps denormals.
inline void run_parallel([[maybe_unused]] int threads, const std::function<void(int)>& work) {
#if defined(__wasm__)
  work(0);
#else
  enum Signal { wait, go, leave };
  std::atomic<int> signal{wait};
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  const auto run = [&](int thread) {
    FlushDenormals flush;
    work(thread);
  };
  const auto join = [&](Signal what) {
    signal.store(what);
    signal.notify_all();
    if (what == go) run(0);
    for (std::thread& other : others) other.join();
  };
  try {
    for (int thread = 1; thread < threads; ++thread)
      others.emplace_back([&, thread] {
        signal.wait(wait);
        if (signal.load() == go) run(thread);
      });
  } catch (...) {
    join(leave);
    throw;
  }
  join(go);
#endif
}

}  // namespace lenscope
