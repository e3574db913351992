// Nanoseconds an image of each kernel of the fused engine, on one thread: `python benchmarks/bench_parts.py` builds it
// for one instruction set and prints what it says. Includes the kernels themselves, which nobody outside can name.
// With the name of a part and a number it calls that part so many times and measures nothing: benchmarks/count_neon.py
// counts the instructions.
#include "kernels.cpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace lenscope::LENSCOPE_ISA {
namespace {

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// Seconds of one turn: the least over 60 trials, since a shared machine only ever adds to it.
template <class Turn>
double least(Turn turn, int turns) {
  double best = 1e9;
  for (int trial = 0; trial < 60; ++trial) {
    const double begun = now();
    for (int i = 0; i < turns; ++i) turn(i);
    const double took = (now() - begun) / turns;
    best = took < best ? took : best;
  }
  return best;
}

float* numbers(size_t count) {  // from −0.25 to 0.25
  float* memory = static_cast<float*>(aligned_alloc(64, (count * sizeof(float) + 127) / 64 * 64));
  for (size_t at = 0; at < count; ++at) memory[at] = float(rand() % 2001 - 1000) / 4000;
  return memory;
}

const char* counted = nullptr;  // the part to call, instead of measuring all
int calls = 0;

// A part that takes `images` images a turn, and needs so many multiply-adds for each; those without any prepare others.
template <class Turn>
void row(const char* part, Turn turn, int turns, double multiply_adds, int images = 1) {
  if (!counted) printf("%s,%.0f,%.0f,%d\n", part, least(turn, turns) / images * 1e9, multiply_adds, images);
  const int turns_counted = !counted ? 0 : !strcmp(part, counted) ? calls : multiply_adds == 0 ? 1 : 0;
  for (int i = 0; i < turns_counted; ++i) turn(i);
}

// Multiply-adds in registers only: twelve chains hide a latency of six cycles on units that start two per cycle.
double peak(long repeats) {
  Vector sums[12], factor = splat(0.999f), term = splat(1e-3f);
  unroll<12>([&](auto i) __attribute__((always_inline)) { sums[i] = splat((float)i); });
  for (long at = 0; at < repeats; ++at)
    unroll<12>([&](auto i) __attribute__((always_inline)) { sums[i] = sums[i] * factor + term; });
  Vector all = {};
  unroll<12>([&](auto i) __attribute__((always_inline)) { all += sums[i]; });
  volatile float kept = sum(all);
  (void)kept;
  return 12.0 * lanes * (double)repeats;
}

int measure() {
  const int images = 16, batch = 100, turns = 400;
  uint8_t* pixels = static_cast<uint8_t*>(malloc(images * 1024));
  for (int at = 0; at < images * 1024; ++at) pixels[at] = uint8_t(rand() % 3 ? 0 : rand() % 256);
  float *rows = numbers(64 * 32), *patches1 = numbers(2 * patches1_size), *pool1 = numbers(images * pool1_floats);
  int32_t *argmax1 = reinterpret_cast<int32_t*>(numbers(images * pool1_floats));
  int32_t *argmax2 = reinterpret_cast<int32_t*>(numbers(images * features));
  float *patches2 = numbers(14 * 320), *d_pool1 = numbers(14 * 96);
  int32_t* offsets = reinterpret_cast<int32_t*>(numbers(2 * features));
  float *weights1 = numbers(25 * 8), *weights2 = numbers(2400), *bias = numbers(128), *back = numbers(16 * back_channel);
  float *in = numbers(images * features), *d = numbers(images * features);
  float *sums1 = numbers(6 * 32), *sums2 = numbers(16 * 160);
  const PackedWeights packed = {weights1, weights2, back};
  int32_t* weight_offsets = offsets + features;
  const auto pool1_of = [&](int i) { return pool1 + i % images * pool1_floats; };
  const auto winners1_of = [&](int i) { return argmax1 + i % images * pool1_floats; };
  const auto winners2_of = [&](int i) { return argmax2 + i % images * features; };
  const auto conv1 = [&](int i) { conv1_forward({rows, 1, weights1, bias, pool1_of(i), winners1_of(i)}); };
  const auto conv2 = [&](int i) {
    conv2_forward({pool1_of(i), weights2, bias, in + i % images * features, winners2_of(i)});
  };

  if (!counted) {
    const double at_peak = least([](int) { peak(100'000); }, 1);
    printf("peak,%.0f,0,1\n", 12.0 * lanes * 100'000 / at_peak / 1e6);
  }
  row("bytes to rows", [&](int i) { split_even_odd(pixels + i % images * 1024, 1, rows); }, turns, 0);
  row("conv1 forward", conv1, turns, 117'600);
  for (int i = 0; i < images; ++i) split_even_odd(pixels + i * 1024, 1, rows), conv1(i);
  row("conv2 forward", conv2, turns, 240'000);
  for (int i = 0; i < images; ++i) conv2(i);
  row("conv2 argmax", [&](int i) { argmax_offsets(winners2_of(i), offsets, weight_offsets); }, turns, 0);
  row("conv2 patches2", [&](int i) { conv2_im2row(pool1_of(i), patches2); }, turns, 0);
  row("conv2 weight gradient",
      [&](int i) { conv2_weight_gradient(patches2, offsets, d + i % images * features, sums2); }, turns, 60'000);
  const auto input_gradient = [&](int i) {
    for (int first = 0; first < 16; first += channels_at_once)
      conv2_input_gradient(packed, weight_offsets, d + i % images * features, first, d_pool1);
  };
  row("conv2 input gradient", input_gradient, turns, 60'000);
  row("bytes three deep", [&](int i) { conv1_im2row(pixels + i % images * 1024, 1, patches1); }, turns, 0);
  row("conv1 weight gradient", [&](int i) { conv1_backward(patches1, 1, winners1_of(i), d_pool1, sums1); }, turns,
      29'400);

  float *a = numbers(batch * features), *c = numbers(batch * fc1_row), *to = numbers(batch * features);
  float *w = numbers(120 * features), *first = numbers(120 * features), *second = numbers(120 * features);
  float* after = numbers(120 * features);
  for (int at = 0; at < 120 * features; ++at) second[at] = fabsf(second[at]);
  const auto backward = [&](int) {
    product({.a = c, .a_row = fc1_row, .a_step = 1, .b = w, .b_row = features, .depth = 120, .c = to,
             .c_row = features, .gate = a}, block_images, features);
  };
  const Update adam = {Rule::adam, 1e-4f, 0.9f, 0, 0.1f, 0.999f, 0.001f, 1e-4f, 1, 1e-8f};
  const auto update = [&](int) {
    dense_update({c, fc1_row, a, features, batch}, 0, 120, adam, {w, first, second, after});
  };
  row("fc1 forward", [&](int) { forward({a, features, w, bias, c, fc1_row, true}, block_images, 120); }, 40, 48'000,
      block_images);
  row("fc1 input gradient", backward, 40, 48'000, block_images);
  row("fc1 weight gradient, Adam", update, 10, 48'000, batch);
  return 0;
}

}  // namespace
}  // namespace lenscope::LENSCOPE_ISA

int main(int count, char** given) {
  if (count == 3) {
    lenscope::LENSCOPE_ISA::counted = given[1];
    lenscope::LENSCOPE_ISA::calls = atoi(given[2]);
  }
  return lenscope::LENSCOPE_ISA::measure();
}
