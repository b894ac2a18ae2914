#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace puyu {
using Clock = std::chrono::steady_clock;

std::string format_count(double n, const std::string& unit) {
  constexpr const char* kScale[] = {"", "k", "M", "G", "T"};
  int i = 0;
  while (n >= 999.5 && i < 4) n /= 1000, ++i;
  const bool whole = i == 0 && n == std::floor(n);
  char buf[32];
  std::snprintf(buf, sizeof buf, whole || n >= 99.95 ? "%.0f" : n < 9.995 ? "%.2f" : "%.1f", n);
  return unit == "B" ? cat(buf, " ", kScale[i], "B") : cat(buf, kScale[i], " ", unit);
}

std::string format_duration(double seconds) {
  auto s = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  char buf[32];
  if (s >= 3600)
    std::snprintf(buf, sizeof buf, "%ld:%02ld:%02ld", long(s / 3600), long(s / 60 % 60), long(s % 60));
  else
    std::snprintf(buf, sizeof buf, "%ld:%02ld", long(s / 60), long(s % 60));
  return buf;
}

struct Progress::State {
  std::string name, unit, note;
  int64_t total;
  std::atomic<int64_t> done{0};
  Clock::time_point start = Clock::now(), last{};
  bool tty = isatty(STDERR_FILENO) != 0, finished = false;
  std::mutex mutex;

  void draw(bool final) {
    auto now = Clock::now();
    double every = tty ? 0.1 : 10;
    if (!final && std::chrono::duration<double>(now - (last == Clock::time_point{} ? start : last)).count() < every)
      return;
    last = now;
    double n = static_cast<double>(done.load()), secs = std::chrono::duration<double>(now - start).count();
    double rate = secs > 0 ? n / secs : 0;
    std::string line = name;
    if (line.size() < 12) line.append(12 - line.size(), ' ');
    if (total > 0) {
      double part = std::min(1.0, n / static_cast<double>(total));
      if (tty) {
        line += " ";
        for (int i = 0; i < 20; ++i) line += i < std::lround(part * 20) ? "█" : "░";
      }
      char pct[16];
      std::snprintf(pct, sizeof pct, " %3.0f %%", part * 100);
      line += pct;
    } else {
      line += cat(" ", format_count(n, unit));
    }
    line += cat("  ", format_count(rate, unit), "/s");
    if (final)
      line += cat("  ", format_duration(secs));
    else if (total > 0 && rate > 0)
      line += cat("  ETA ", format_duration((static_cast<double>(total) - n) / rate));
    if (!note.empty()) line += cat("  ", note);
    line = tty ? cat("\r\x1b[K", line, final ? "\n" : "") : line + "\n";
    std::fputs(line.c_str(), stderr);
    std::fflush(stderr);
  }
};

Progress::Progress(std::string name, int64_t total, std::string unit) : s_(std::make_unique<State>()) {
  s_->name = std::move(name);
  s_->total = total;
  s_->unit = std::move(unit);
}
Progress::~Progress() { finish(); }
void Progress::add(int64_t n) {
  s_->done += n;
  std::unique_lock lock(s_->mutex, std::try_to_lock);
  if (lock && !s_->finished) s_->draw(false);
}
void Progress::note(std::string text) {
  std::lock_guard lock(s_->mutex);
  s_->note = std::move(text);
}
void Progress::finish() {
  std::lock_guard lock(s_->mutex);
  if (std::exchange(s_->finished, true)) return;
  s_->draw(true);
}

}  // namespace puyu
