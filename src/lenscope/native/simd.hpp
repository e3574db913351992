// One vector of floats, as wide as the instruction set has it, by the vector extensions of GCC and Clang; intrinsics
// only where the extensions have no word. Included once a translation unit, inside that set's own namespace: everything
// is internal, so that the linker can never mix code of two sets.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define LENSCOPE_INLINE inline __attribute__((always_inline))

// A kernel that has all registers to itself. Inlined into the long function that calls it, conv1's forward pass had one
// of its sums in memory, stored and read again at each tap, and took about twice as long (AVX2; g++ 12).
#define LENSCOPE_ALONE __attribute__((noinline))

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
LENSCOPE_INLINE Integers counted() {  // 0, 1, 2 …
  alignas(64) static const int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return *reinterpret_cast<const Integers*>(numbers);
}
LENSCOPE_INLINE Four load_four(const float* from) { return *reinterpret_cast<const UnalignedFour*>(from); }
LENSCOPE_INLINE void store_four(float* to, Four values) { *reinterpret_cast<UnalignedFour*>(to) = values; }

// Loads that happen where they stand. Left to itself GCC keeps what an inner loop has read for its later turns and runs
// out of registers (conv2's forward took 1.4 times as long; g++ 12).
LENSCOPE_INLINE Vector load_anew(const float* from) {
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
LENSCOPE_INLINE Vector broadcast(const float* from) {
#if defined(__AVX512F__)
  Vector value;
  asm volatile("vbroadcastss %1, %0" : "=v"(value) : "m"(*from));
  return value;
#elif defined(__AVX2__)
  Vector value;
  asm volatile("vbroadcastss %1, %0" : "=x"(value) : "m"(*from));
  return value;
#else
  return splat(*from);
#endif
}

// relu(x) keeps a NaN, as PyTorch's does: the second operand of max comes back where the two cannot be compared.
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

// A mask of lanes: a register of bits on AVX-512, a vector of all ones and zeros elsewhere.
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

// f(0), f(1) … f(count − 1) with constant arguments. Arrays indexed by them stay in registers: GCC decides on that
// before it unrolls loops, so that a loop over an array of vectors, even one with a pragma, goes through memory
// (a loop of 12 accumulators ran at 0.29 of its speed; g++ 12).
template <int value_>
struct Index {
  static constexpr int value = value_;
  constexpr LENSCOPE_INLINE operator int() const { return value_; }
};
template <int count, int at = 0, class Function>
LENSCOPE_INLINE void repeat(Function&& function) {
  if constexpr (at < count) {
    function(Index<at>{});
    repeat<count, at + 1>(function);
  }
}

// Lane i is lane Choice::lane(i) of the two vectors, the second's being lanes … 2 · lanes − 1.
template <class Choice, int... i>
LENSCOPE_INLINE Vector shuffle(Vector first, Vector second, Index<i>...) {
  return __builtin_shufflevector(first, second, Choice::lane(i)...);
}
template <class Choice>
LENSCOPE_INLINE Vector shuffle(Vector first, Vector second) {
  if constexpr (lanes == 16)
    return shuffle<Choice>(first, second, Index<0>{}, Index<1>{}, Index<2>{}, Index<3>{}, Index<4>{}, Index<5>{},
                           Index<6>{}, Index<7>{}, Index<8>{}, Index<9>{}, Index<10>{}, Index<11>{}, Index<12>{},
                           Index<13>{}, Index<14>{}, Index<15>{});
  else
    return first;
}

template <int start>
struct From {  // the lanes from `start` on
  static constexpr int lane(int i) { return start + i; }
};

// Sums of neighbouring lanes: the first vector's in the lower half, the second's in the upper.
template <int... i>
LENSCOPE_INLINE Vector add_neighbours(Vector a, Vector b, Index<i>...) {
  return __builtin_shufflevector(a, b, 2 * i...) + __builtin_shufflevector(a, b, 2 * i + 1 ...);
}
LENSCOPE_INLINE Vector add_neighbours(Vector a, Vector b) {
  if constexpr (lanes == 16)
    return add_neighbours(a, b, Index<0>{}, Index<1>{}, Index<2>{}, Index<3>{}, Index<4>{}, Index<5>{}, Index<6>{},
                          Index<7>{}, Index<8>{}, Index<9>{}, Index<10>{}, Index<11>{}, Index<12>{}, Index<13>{},
                          Index<14>{}, Index<15>{});
  else if constexpr (lanes == 8)
    return add_neighbours(a, b, Index<0>{}, Index<1>{}, Index<2>{}, Index<3>{}, Index<4>{}, Index<5>{}, Index<6>{},
                          Index<7>{});
  else
    return add_neighbours(a, b, Index<0>{}, Index<1>{}, Index<2>{}, Index<3>{});
}

// totals[i] = the sum over the lanes of the i-th of some vectors, a multiple of `lanes` of them.
template <int parts = lanes, int count>
LENSCOPE_INLINE void sum_lanes(const Vector (&vectors)[count], float* totals) {
  if constexpr (parts == 1) {
    repeat<count>([&](auto i) __attribute__((always_inline)) { store(totals + i * lanes, vectors[i]); });
  } else {
    Vector sums[count / 2];
    repeat<count / 2>([&](auto i) __attribute__((always_inline)) {
      sums[i] = add_neighbours(vectors[2 * i], vectors[2 * i + 1]);
    });
    sum_lanes<parts / 2>(sums, totals);
  }
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
