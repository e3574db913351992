// Counter-based random words: Philox 4×64 with 10 rounds (Salmon, Moraes, Dror and Shaw, SC 2011, section 3.3), as
// lenscope.randomness.random_words.
#pragma once

#include <stdint.h>

#include "simd.hpp"

namespace lenscope::LENSCOPE_ISA {
namespace {

__extension__ typedef unsigned __int128 Wide;

struct Words {
  uint64_t at[4];
};

// One block of a stream; blocks count from 1.
LENSCOPE_INLINE Words random_block(uint64_t seed, uint64_t purpose, uint64_t block, uint64_t epoch, uint64_t index) {
  Words words{{block, epoch, index, 0}};
  for (int round = 0; round < 10; ++round) {
    const Wide left = Wide(0xD2E7470EE14C6C93u) * words.at[0];
    const Wide right = Wide(0xCA5A826395121157u) * words.at[2];
    words = {{uint64_t(right >> 64) ^ words.at[1] ^ seed, uint64_t(right), uint64_t(left >> 64) ^ words.at[3] ^ purpose,
              uint64_t(left)}};
    seed += 0x9E3779B97F4A7C15u;
    purpose += 0xBB67AE8584CAA73Bu;
  }
  return words;
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA
