// A vector of floats as wide as the instruction set's, by the vector extensions of GCC and Clang; intrinsics only where
// the extensions lack an operation. Everything is internal to the instruction set's own namespace, so that the linker
// can never mix code of two sets.
#pragma once

#include <stdint.h>
#include <string.h>

#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define LENSCOPE_INLINE inline __attribute__((always_inline))

// For a kernel that needs all registers. Inlined into the long function that calls it, conv1's forward pass kept one of
// its sums in memory, stored and read again at each tap, and took about twice as long (AVX2; g++ 12).
#define LENSCOPE_NOINLINE __attribute__((noinline))

namespace lenscope::LENSCOPE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16, registers = 32;
#elif defined(__AVX2__)
constexpr int lanes = 8, registers = 16;
#elif defined(__aarch64__)
constexpr int lanes = 4, registers = 32;
#else
constexpr int lanes = 4, registers = 16;
#endif

typedef float Vector __attribute__((vector_size(4 * lanes)));
typedef int32_t Integers __attribute__((vector_size(4 * lanes)));
typedef uint8_t Bytes __attribute__((vector_size(lanes)));
typedef float Unaligned __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
typedef float Four __attribute__((vector_size(16)));
typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));

LENSCOPE_INLINE Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
LENSCOPE_INLINE Vector load_aligned(const float* from) { return *reinterpret_cast<const Vector*>(from); }
LENSCOPE_INLINE void store(float* to, Vector values) { *reinterpret_cast<Unaligned*>(to) = values; }
LENSCOPE_INLINE void store_aligned(float* to, Vector values) { *reinterpret_cast<Vector*>(to) = values; }
LENSCOPE_INLINE Vector splat(float value) { return value - Vector{}; }
LENSCOPE_INLINE Integers iota() {  // 0, 1, 2 …
  alignas(64) static const int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return *reinterpret_cast<const Integers*>(numbers);
}
LENSCOPE_INLINE Four load_four(const float* from) { return *reinterpret_cast<const UnalignedFour*>(from); }
LENSCOPE_INLINE void store_four(float* to, Four values) { *reinterpret_cast<UnalignedFour*>(to) = values; }

// Loads that the compiler neither moves nor merges. GCC otherwise keeps loaded values for later iterations and runs out
// of registers (conv2's forward took 1.4 times as long; g++ 12).
LENSCOPE_INLINE Vector load_volatile(const float* from) {
#if defined(__AVX512F__)
  Vector values;
  asm volatile("vmovups %1, %0" : "=v"(values) : "m"(*reinterpret_cast<const Unaligned*>(from)));
  return values;
#elif defined(__AVX2__)
  Vector values;
  asm volatile("vmovups %1, %0" : "=x"(values) : "m"(*reinterpret_cast<const Unaligned*>(from)));
  return values;
#else
  return load(from);
#endif
}

// A factor of all lanes: ARM's multiply-adds take it from one lane.
#if defined(__aarch64__)
typedef float Factor;
LENSCOPE_INLINE Factor factor(float value) { return value; }
#else
typedef Vector Factor;
LENSCOPE_INLINE Factor factor(float value) { return splat(value); }
#endif
LENSCOPE_INLINE Factor broadcast(const float* from) {
#if defined(__AVX512F__)
  Vector value;
  asm volatile("vbroadcastss %1, %0" : "=v"(value) : "m"(*from));
  return value;
#elif defined(__AVX2__)
  Vector value;
  asm volatile("vbroadcastss %1, %0" : "=x"(value) : "m"(*from));
  return value;
#else
  return factor(*from);
#endif
}

// sum += a · b. On ARM it stays where it stands: GCC otherwise moves it behind the next loads and runs out of registers
// (conv1's forward spilled 70 per row of weights; g++ 12).
LENSCOPE_INLINE void multiply_add(Vector& sum, Factor a, Vector b) {
#if defined(__aarch64__)
  asm volatile("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(sum) : "w"(b), "w"(a));
#else
  sum += a * b;
#endif
}

// The same, also with b aligned in memory, and on SSE2 kept together: GCC otherwise moves its products, as it has no
// multiply-add, ahead of the sums and runs out of registers (conv2's forward took twice as long; g++ 12).
#if defined(__SSE2__) && !defined(__AVX2__)
#define LENSCOPE_ADD_PRODUCT(constraint, b)                         \
  Vector product;                                                   \
  asm volatile("movaps %2, %1\n\tmulps %3, %1\n\taddps %1, %0" \
               : "+x"(sum), "=&x"(product)                          \
               : "x"(a), constraint(b))
LENSCOPE_INLINE void add_product(Vector& sum, Vector a, Vector b) { LENSCOPE_ADD_PRODUCT("x", b); }
LENSCOPE_INLINE void add_product(Vector& sum, Vector a, const float* b) {
  LENSCOPE_ADD_PRODUCT("m", *reinterpret_cast<const Vector*>(b));
}
#undef LENSCOPE_ADD_PRODUCT
#else
LENSCOPE_INLINE void add_product(Vector& sum, Factor a, Vector b) { multiply_add(sum, a, b); }
LENSCOPE_INLINE void add_product(Vector& sum, Factor a, const float* b) { multiply_add(sum, a, load_aligned(b)); }
#endif

// relu(NaN) is NaN, as in PyTorch: max returns its second operand for unordered ones.
LENSCOPE_INLINE Vector relu(Vector x) {
#if defined(__AVX512F__)
  return _mm512_max_ps(_mm512_setzero_ps(), x);
#elif defined(__AVX2__)
  return _mm256_max_ps(_mm256_setzero_ps(), x);
#elif defined(__SSE2__)
  return _mm_max_ps(_mm_setzero_ps(), x);
#else
  return x < 0.0f ? Vector{} : x;
#endif
}

// A mask of lanes: a register of bits on AVX-512, elsewhere a vector of all ones or zeros.
#if defined(__AVX512F__)
typedef __mmask16 Mask;
LENSCOPE_INLINE Mask greater(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
LENSCOPE_INLINE Mask unordered(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); }
LENSCOPE_INLINE Vector select(Mask mask, Vector yes, Vector no) { return _mm512_mask_blend_ps(mask, no, yes); }
LENSCOPE_INLINE Integers select(Mask mask, Integers yes, Integers no) {
  return (Integers)_mm512_mask_blend_epi32(mask, (__m512i)no, (__m512i)yes);
}
LENSCOPE_INLINE bool any(Mask mask) { return mask != 0; }
#else
typedef Integers Mask;
LENSCOPE_INLINE Mask greater(Vector a, Vector b) { return a > b; }
LENSCOPE_INLINE Mask unordered(Vector a, Vector b) { return (a != a) | (b != b); }
LENSCOPE_INLINE Vector select(Mask mask, Vector yes, Vector no) { return mask ? yes : no; }
LENSCOPE_INLINE Integers select(Mask mask, Integers yes, Integers no) { return mask ? yes : no; }
LENSCOPE_INLINE bool any(Mask mask) {
  int32_t all = 0;
  for (int lane = 0; lane < lanes; ++lane) all |= mask[lane];
  return all != 0;
}
#endif

LENSCOPE_INLINE float sum(Vector values) {
  float total = 0;
  for (int lane = 0; lane < lanes; ++lane) total += values[lane];
  return total;
}

// f(0), f(1) … f(count − 1) with constant arguments, so that arrays indexed by them stay in registers. GCC assigns
// registers before it unrolls loops: a loop over an array of vectors, even with a pragma, goes through memory (a loop
// of 12 accumulators ran at 0.29 of its speed; g++ 12).
template <int value_>
struct Index {
  static constexpr int value = value_;
  constexpr LENSCOPE_INLINE operator int() const { return value_; }
};
template <int count, int at = 0, class Function>
LENSCOPE_INLINE void unroll(Function&& function) {
  if constexpr (at < count) {
    function(Index<at>{});
    unroll<count, at + 1>(function);
  }
}

using Lanes = std::make_integer_sequence<int, lanes>;

// Lane i is lane Choice::lane(i) of both vectors together, the first's lanes being 0 … lanes − 1. For 16 lanes only.
template <class Choice, int... i>
LENSCOPE_INLINE Vector shuffle(Vector first, Vector second, std::integer_sequence<int, i...>) {
  if constexpr (lanes == 16) return __builtin_shufflevector(first, second, Choice::lane(i)...);
  else return first;
}
template <class Choice>
LENSCOPE_INLINE Vector shuffle(Vector first, Vector second) {
  return shuffle<Choice>(first, second, Lanes{});
}

template <int start>
struct From {  // `lanes` lanes from `start` on
  static constexpr int lane(int i) { return start + i; }
};

// Sums of adjacent lanes: the first vector's in the lower half, the second's in the upper.
template <int... i>
LENSCOPE_INLINE Vector add_pairs(Vector a, Vector b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, 2 * i...) + __builtin_shufflevector(a, b, 2 * i + 1 ...);
}

// totals[i] = sum of the lanes of vectors[i]; `count` is a multiple of `lanes`.
template <int parts = lanes, int count>
LENSCOPE_INLINE void sum_lanes(const Vector (&vectors)[count], float* totals) {
  if constexpr (parts == 1) {
    unroll<count>([&](auto i) __attribute__((always_inline)) { store(totals + i * lanes, vectors[i]); });
  } else {
    Vector sums[count / 2];
    unroll<count / 2>([&](auto i) __attribute__((always_inline)) {
      sums[i] = add_pairs(vectors[2 * i], vectors[2 * i + 1], Lanes{});
    });
    sum_lanes<parts / 2>(sums, totals);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
