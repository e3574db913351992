// Holds the native engine, through trainer.hpp alone, to plain loops in double and to what that header promises.
//
//   check [--small|--medium] [--threads 2,3] [--sets SETS] [SET …]
//       A line a check, on these instruction sets or on all; SETS are those that must be found, best first. Small and
//       medium are for emulators and sanitizers; small leaves out what takes more than a part (240 images) of a step.
//   check --plant overflow|undefined|race
//       Makes a mistake for a sanitizer to find.
//
// scripts/native builds and runs all of it.
#include <cstdio>
#include <functional>
#include <sstream>
#include <thread>

#include "arithmetic.hpp"
#include "conduct.hpp"
#include "setting.hpp"

namespace {

constexpr std::pair<const char*, std::string (*)(const Setting&)> checks[] = {
    {"gradients", gradients},   {"updates", updates},       {"evaluation", evaluation},
    {"augmentation", augmentation}, {"calls", calls},       {"stops", stops},
    {"non-finite", non_finite}, {"refusals", refusals},     {"peak", peak}};

std::vector<Case> cases(Size size) {
  std::vector<Case> made;
  if (size != Size::large) {
    made.push_back(random_case({1, 10}, 10, size == Size::small ? std::vector{7, 1} : std::vector{7, 241, 1}));
    made.push_back(random_case({3, 47}, 5, {7, 1}));
    made.push_back(whole_number_case(8, {8}));
    return made;
  }
  for (const int classes : {10, 47, 2, 1000})
    for (const int channels : {1, 3}) made.push_back(random_case({channels, classes}, 24, {17, 300, 1, 101, 7, 50}));
  made.push_back(random_case({2, 16}, 12, {17, 1}));
  made.push_back(whole_number_case(20, {20, 300}));
  return made;
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
  Size size = Size::large;
  std::vector<std::string> threads, expected, chosen;
};

int run_checks(const Options& options) {
  const std::vector<std::string> found = lenscope::instruction_sets();
  if (!options.expected.empty() && found != options.expected) {
    std::printf("FAIL  other instruction sets than expected, the best is %s\n", found.front().c_str());
    return 1;
  }
  Setting here{options.size, {}, cases(options.size), ""};
  for (const std::string& number : options.threads) here.threads.push_back(std::stoi(number));
  if (here.threads.empty()) here.threads = here.size == Size::large ? std::vector{1, 2, 3, 4, 17} : std::vector{3};
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
    if (option == "--small") options.size = Size::small;
    else if (option == "--medium") options.size = Size::medium;
    else if (option[0] != '-') options.chosen.push_back(option);
    else if (at + 1 == count) return std::fprintf(stderr, "check: %s is no option, or lacks its value\n", given[at]), 2;
    else if (option == "--threads") options.threads = split(given[++at]);
    else if (option == "--sets") options.expected = split(given[++at]);
    else if (option == "--plant") return plant(given[++at]);
    else return std::fprintf(stderr, "check: got %s, expected an option of check.cpp's first lines\n", given[at]), 2;
  }
  return run_checks(options);
}
