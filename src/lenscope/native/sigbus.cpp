#include "sigbus.hpp"

#if defined(__linux__)
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#endif

namespace lenscope {

#if defined(__linux__)
namespace {

// All of this runs in a signal handler: no allocation, no locks.
constexpr std::size_t longest_line = 4400;  // of /proc/self/maps: a path of 4096 bytes and the fields before it

std::uintptr_t read_hexadecimal(const char*& at) {
  std::uintptr_t value = 0;
  for (; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); ++at)
    value = value * 16 + std::uintptr_t(*at <= '9' ? *at - '0' : *at - 'a' + 10);
  return value;
}

// The path in "begin-end r--s offset device inode   /path" if it contains the address and is mapped as our data; else
// null.
const char* data_file_at(std::uintptr_t address, const char* line) {
  const std::uintptr_t begin = read_hexadecimal(line);
  if (*line++ != '-') return nullptr;
  const std::uintptr_t end = read_hexadecimal(line);
  if (address < begin || address >= end || std::strncmp(line, " r--s ", 6) != 0) return nullptr;
  return std::strchr(line, '/');
}

void append(char*& at, const char* text) {
  while (*text) *at++ = *text++;
}

// A path may hold control sequences: none reaches the terminal.
void append_printable(char*& at, const char* text) {
  for (; *text; ++text) *at++ = *text >= ' ' && *text <= '~' ? *text : '?';
}

std::atomic_flag ending = ATOMIC_FLAG_INIT;

[[noreturn]] void end_with_line(const char* path) {
  while (ending.test_and_set()) pause();  // another thread is reporting
  char text[longest_line + 200], *at = text;
  append(at, "lenscope: ");
  append_printable(at, path);
  append(at, ": the file was truncated while it was being read; restore it and run the command again\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::size_t(at - text));
  _exit(1);
}

void end_if_cut(std::uintptr_t address) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  char chunk[512], line[longest_line];
  std::size_t length = 0;
  for (ssize_t got; maps >= 0 && (got = read(maps, chunk, sizeof chunk)) > 0;)
    for (ssize_t at = 0; at < got; ++at) {
      const bool ends = chunk[at] == '\n';
      line[length] = ends ? '\0' : chunk[at];
      if (!ends && length + 1 < longest_line) ++length;
      if (!ends) continue;
      length = 0;
      if (const char* path = data_file_at(address, line)) end_with_line(path);
    }
  if (maps >= 0) close(maps);
}

void handle(int number, siginfo_t* info, void*) {
  if (info->si_code == BUS_ADRERR) end_if_cut(reinterpret_cast<std::uintptr_t>(info->si_addr));
  signal(number, SIG_DFL);  // a fault recurs when this returns
  if (info->si_code <= 0) raise(number);  // a signal that was sent does not recur
}

}  // namespace

void report_cut_files() {
  struct sigaction now {};
  if (sigaction(SIGBUS, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL) return;
  now.sa_sigaction = handle;
  now.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGBUS, &now, nullptr);
}
#else
void report_cut_files() {}
#endif

}  // namespace lenscope
