#include "comm/comm.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace puyu {
namespace {

// `bytes` of each rank, one after the other.
std::string gather_bytes(Comm& comm, const char* mine, int64_t bytes) {
  const int64_t room = (bytes + 63) / 64 * 64, n = comm.size();
  std::string all(static_cast<size_t>(room * n), '\0'), out;
  std::memcpy(all.data() + comm.rank() * room, mine, static_cast<size_t>(bytes));
  comm.all_gather(make_view(reinterpret_cast<unsigned char*>(all.data()), room * n));
  for (int64_t r = 0; r < n; ++r) out += all.substr(static_cast<size_t>(r * room), static_cast<size_t>(bytes));
  return out;
}

template <class T>
std::vector<T> gather_values(Comm& comm, const T* mine, size_t count) {
  const std::string bytes =
      gather_bytes(comm, reinterpret_cast<const char*>(mine), static_cast<int64_t>(count * sizeof(T)));
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

}  // namespace

double timed_wait(Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work.wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Share share_of(int64_t n, int rank, int ranks) {
  const int64_t share = ((n + ranks - 1) / ranks + 63) / 64 * 64;
  return {std::min(n, rank * share), std::min(n, (rank + 1) * share)};
}

std::vector<std::string> gather_strings(Comm& comm, const std::string& mine) {
  const auto size = static_cast<int64_t>(mine.size());
  const std::vector<int64_t> sizes = gather_values(comm, &size, 1);
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::string padded = mine;
  padded.resize(static_cast<size_t>(longest));
  const std::string all = gather_bytes(comm, padded.data(), longest);
  std::vector<std::string> out;
  for (size_t r = 0; r < sizes.size(); ++r)
    out.push_back(all.substr(r * static_cast<size_t>(longest), static_cast<size_t>(sizes[r])));
  return out;
}

void sum_over_ranks(Comm& comm, std::span<double> values) {
  const std::vector<double> all = gather_values(comm, values.data(), values.size());
  std::fill(values.begin(), values.end(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) values[i % values.size()] += all[i];
}

bool any_rank(Comm& comm, bool mine) {
  const char flag = mine;
  const std::vector<char> all = gather_values(comm, &flag, 1);
  return std::find(all.begin(), all.end(), char{1}) != all.end();
}

void fail_together(Comm& comm, const std::string& mine) {
  if (!any_rank(comm, !mine.empty())) return;
  const std::vector<std::string> all = gather_strings(comm, mine);
  const auto differs = [&](const std::string& s) { return s != all[0]; };
  if (std::none_of(all.begin(), all.end(), differs)) throw Error(all[0]);
  for (size_t r = 0; r < all.size(); ++r)
    if (!all[r].empty()) fail("[rank ", r, "] ", all[r]);
}

}  // namespace puyu
