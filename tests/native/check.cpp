// Compares the native engine, through trainer.hpp (and elementary.hpp) alone, with plain loops in double and with that header's promises.
//
//   check [--small] [--threads 2,3] [--sets SETS] [SET …]
//       Prints one line per check, on these instruction sets or on all; SETS are those that must be found, best first.
//       --small is for emulators and sanitizers.
//   check --plant overflow|undefined|race
//       Makes a mistake for a sanitizer to find.
//
// scripts/native builds it and runs it in each of these ways.
#include <cstdio>
#include <functional>
#include <sstream>
#include <thread>

#include "arithmetic.hpp"
#include "functions.hpp"
#include "protocol.hpp"

namespace {

constexpr std::pair<const char*, std::string (*)(const Setting&)> checks[] = {
    {"functions", functions}, {"gradients", gradients}, {"updates", updates}, {"evaluation", evaluation}, {"augmentation", augmentation},
    {"calls", calls},         {"threads", threads_change}, {"stops", stops}, {"non-finite", non_finite}};

std::vector<Case> cases(bool small) {
  if (small) return {random_case({1, 10}, 10, {7, 241, 1}), random_case({3, 47}, 5, {7, 1}), whole_number_case(8, {8})};
  return {random_case({1, 10}, 24, {17, 1000, 1, 241, 101, 7, 50}),
          random_case({3, 47}, 24, {17, 300, 1, 101, 7, 50}),
          random_case({1, 2}, 12, {17, 1}),
          random_case({2, 16}, 12, {17, 1}),
          random_case({3, 1000}, 12, {17, 1}),
          whole_number_case(20, {20, 300})};
}

bool passes(const Setting& here, const char* name, std::string (*check)(const Setting&)) {
  std::string result;
  bool good = true;
  try {
    result = check(here);
  } catch (const std::exception& caught) {
    result = caught.what();
    good = false;
  }
  std::printf("%-4s  %-8s  %-12s  %s\n", good ? "ok" : "FAIL", here.isa.c_str(), name, result.c_str());
  std::fflush(stdout);
  return good;
}

int plant(const std::string& what) {
  volatile int place = what == "overflow" ? 16 : 15, large = std::numeric_limits<int>::max();
  Floats values(16);
  values.data()[place] = 1;
  int shared = what == "undefined" ? large + 1 : 0;
  const auto count = [&] {
    for (int turn = 0; turn < 1000; ++turn) ++shared;
  };
  std::thread other(what == "race" ? std::function<void()>(count) : [] {});
  count();
  other.join();
  std::printf("planted: %s, and nothing was found (%d)\n", what.c_str(), shared);
  return 0;
}

std::vector<std::string> split(const std::string& list) {
  std::istringstream from(list);
  std::vector<std::string> found;
  for (std::string one; std::getline(from, one, ',');) found.push_back(one);
  return found;
}

struct Options {
  bool small = false;
  std::vector<std::string> threads, expected, chosen;
};

int run_checks(const Options& options) {
  const std::vector<std::string> found = lenscope::instruction_sets();
  if (!options.expected.empty() && found != options.expected) {
    std::printf("FAIL  other instruction sets than expected; the best is %s\n", found.front().c_str());
    return 1;
  }
  Setting here{options.small, {}, cases(options.small), ""};
  for (const std::string& number : options.threads) here.threads.push_back(std::stoi(number));
  if (here.threads.empty()) here.threads = here.small ? std::vector{3} : std::vector{1, 2, 3, 4, 17};
  int passed = 0, failed = 0;
  for (const std::string& isa : options.chosen.empty() ? found : options.chosen)
    for (const auto& [name, check] : checks) {
      here.isa = isa;
      ++(passes(here, name, check) ? passed : failed);
    }
  std::printf("check: %d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace

int main(int count, char** given) {
  Options options;
  for (int at = 1; at < count; ++at) {
    const std::string option = given[at];
    if (option == "--small") options.small = true;
    else if (option[0] != '-') options.chosen.push_back(option);
    else if (at + 1 == count) return std::fprintf(stderr, "check: %s is no option, or lacks its value\n", given[at]), 2;
    else if (option == "--threads") options.threads = split(given[++at]);
    else if (option == "--sets") options.expected = split(given[++at]);
    else if (option == "--plant") return plant(given[++at]);
    else return std::fprintf(stderr, "check: got %s, expected an option of check.cpp's first lines\n", given[at]), 2;
  }
  return run_checks(options);
}
