#include "team.hpp"

#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace lenscope {
namespace {

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

}  // namespace

void work_together(int threads, const std::function<void(int)>& work) {
  enum Signal { wait, go, leave };
  std::atomic<int> signal{wait};
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  const auto join = [&](Signal what) {
    signal.store(what);
    signal.notify_all();
    if (what == go) {
      FlushDenormals flush;
      work(0);
    }
    for (std::thread& other : others) other.join();
  };
  try {
    for (int thread = 1; thread < threads; ++thread)
      others.emplace_back([&, thread] {
        signal.wait(wait);
        if (signal.load() != go) return;
        FlushDenormals flush;
        work(thread);
      });
  } catch (...) {
    join(leave);
    throw;
  }
  join(go);
}

}  // namespace lenscope
