// Which instruction sets this processor has.
#include "instruction_sets.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"
#include "trainer.hpp"

namespace lenscope {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
// What kernels.cpp is compiled with, flag by flag; GCC and Clang ask the operating system too.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
#endif

struct Choice {
  const Kernels* kernels;
  bool (*there)();
};

const Choice choices[] = {
#if defined(__x86_64__)
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, has_avx2},
#endif
    {&baseline_kernels, always},
};

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Choice& choice : choices)
    if (choice.there()) names.emplace_back(choice.kernels->name);
  return names;
}

const Kernels& kernels_of(const std::string& isa) {
  for (const Choice& choice : choices)
    if (isa == choice.kernels->name && choice.there()) return *choice.kernels;
  throw std::invalid_argument("instruction set " + isa + ": not on this processor");
}

}  // namespace lenscope
