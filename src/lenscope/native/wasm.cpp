// The engine as a WebAssembly module, for pages and for Node: scripts/wasm builds it. Pointers are offsets in the
// module's memory. Arguments are not checked: what a page hands over, it made itself.
#include <cstdlib>

#include "engine/trainer.hpp"

#define LENSCOPE_EXPORT(name) extern "C" __attribute__((export_name(#name)))

using namespace lenscope;

namespace {
constexpr const char* isa = "baseline";
}

LENSCOPE_EXPORT(allocate) void* allocate(std::size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
LENSCOPE_EXPORT(release) void release(void* memory) { std::free(memory); }

// A trainer of images (count, channels, 32, 32) with their labels; `rule` is the number of lenscope::Rule, `augmentation`
// six floats in the order of lenscope::Augmentation, or null.
LENSCOPE_EXPORT(make_trainer)
Trainer* make_trainer(int channels, int classes, int rule, double momentum, double weight_decay,
                      const std::uint8_t* images, const std::int64_t* labels, const float* augmentation,
                      std::uint64_t seed) {
  const float* a = augmentation;
  const Augmentation how = a ? Augmentation{a[0], a[1], a[2], a[3], a[4], a[5]} : Augmentation{};
  return new Trainer({channels, classes}, {Rule(rule), momentum, weight_decay}, {images, labels}, how, seed, 1, isa);
}

LENSCOPE_EXPORT(drop_trainer) void drop_trainer(Trainer* trainer) { delete trainer; }

// As Trainer::run, without a way to stop.
LENSCOPE_EXPORT(run)
std::size_t run(Trainer* trainer, float* weights, std::size_t count, const std::int64_t* indices,
                const std::int64_t* ends, const double* rates, std::size_t steps, std::uint64_t epoch, float* losses) {
  return trainer->run({weights, count}, {indices, std::size_t(steps ? ends[steps - 1] : 0)}, {ends, steps},
                      {rates, steps}, epoch, {}, {losses, steps});
}

// Log-probabilities (count, classes) of images.
LENSCOPE_EXPORT(evaluate)
void evaluate(int channels, int classes, const float* weights, const std::uint8_t* images, std::size_t count,
              float* log_probabilities) {
  const Network network{channels, classes};
  lenscope::evaluate(network, {weights, network.weights()}, images, count, 1, isa, log_probabilities);
}

// zig's C++ library for this target has no exceptions: one that the engine throws is a trap, which ends the instance.
extern "C" {
void* __cxa_allocate_exception(std::size_t) { __builtin_trap(); }
void __cxa_throw(void*, void*, void (*)(void*)) { __builtin_trap(); }
void* __cxa_begin_catch(void*) { __builtin_trap(); }
void __cxa_end_catch() { __builtin_trap(); }
void __cxa_rethrow() { __builtin_trap(); }
void __cxa_free_exception(void*) { __builtin_trap(); }
}
