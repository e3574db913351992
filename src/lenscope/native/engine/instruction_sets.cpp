// Which instruction sets this processor has.
#include <stdexcept>

#include "../kernels/kernels.hpp"
#include "trainer.hpp"

namespace lenscope {
namespace {

struct InstructionSet {
  const Kernels* kernels;
  bool (*runs_here)();
};

#if defined(__x86_64__)
// What kernels.cpp is compiled with, flag by flag; GCC and Clang ask the operating system too.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
#endif

const InstructionSet sets[] = {
#if defined(__x86_64__)
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, has_avx2},
#endif
    {&baseline_kernels, [] { return true; }},
};

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : sets)
    if (set.runs_here()) names.emplace_back(set.kernels->name);
  return names;
}

const Kernels& kernels_of(const std::string& isa) {
  for (const InstructionSet& set : sets)
    if (isa == set.kernels->name && set.runs_here()) return *set.kernels;
  throw std::invalid_argument("isa: got '" + isa + "', which this processor lacks");
}

}  // namespace lenscope
