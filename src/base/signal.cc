#include "base/signal.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace puyu {
namespace {
std::atomic<int> g_signals{0};
std::atomic<bool> g_asked{false};
static_assert(std::atomic<int>::is_always_lock_free);
void on_signal(int sig) {
  if (g_signals.fetch_add(1) >= 1) _exit(128 + sig);
}
void on_request(int) { g_asked = true; }
}  // namespace

void catch_interrupts() {
  struct sigaction a{};
  a.sa_handler = on_signal;
  sigaction(SIGINT, &a, nullptr);
  sigaction(SIGTERM, &a, nullptr);
  a.sa_handler = on_request;
  sigaction(SIGUSR1, &a, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit then fails the write, which says so
}
bool interrupted() { return g_signals.load(std::memory_order_relaxed) > 0 || g_asked.load(std::memory_order_relaxed); }
void clear_interrupt() { g_signals = 0, g_asked = false; }

}  // namespace puyu
