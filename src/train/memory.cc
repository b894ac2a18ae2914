#include "train/memory.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "base/progress.h"

namespace puyu {
namespace {

constexpr size_t kColumns = 8;  // ranks shown one by one

void cell(std::string& line, std::string text, size_t width, bool left) {
  if (text.size() < width) text.insert(left ? text.size() : 0, width - text.size(), ' ');
  line += text;
}

std::string row(const std::string& name, const std::vector<std::string>& cells) {
  std::string line;
  cell(line, name, 24, true);
  for (const std::string& c : cells) cell(line, c, 11, false);
  return line + "\n";
}

std::vector<std::string> bytes(const std::vector<int64_t>& ranks) {
  std::vector<std::string> out;
  for (int64_t n : ranks) out.push_back(n ? format_count(static_cast<double>(n), "B") : "-");
  if (ranks.size() <= kColumns) return out;
  const auto [least, most] = std::minmax_element(ranks.begin(), ranks.end());
  return {format_count(static_cast<double>(*least), "B"), format_count(static_cast<double>(*most), "B")};
}

std::vector<std::string> titles(size_t ranks) {
  if (ranks == 1) return {"peak"};
  if (ranks > kColumns) return {"least", "most"};
  std::vector<std::string> out;
  for (size_t r = 0; r < ranks; ++r) out.push_back("rank " + std::to_string(r));
  return out;
}

}  // namespace

std::string memory_by_rank(Comm& comm, const std::vector<std::pair<std::string, int64_t>>& mine) {
  std::string said;
  for (const auto& [name, n] : mine) said += std::to_string(n) + " " + name + "\n";
  const std::vector<std::string> all = gather_strings(comm, said);
  std::vector<std::string> order;
  std::map<std::string, std::vector<int64_t>> table;
  std::vector<int64_t> total(all.size());
  for (size_t r = 0; r < all.size(); ++r) {
    std::istringstream in(all[r]);
    int64_t n = 0;
    for (std::string name; in >> n && std::getline(in >> std::ws, name);) {
      if (!table.contains(name)) order.push_back(name);
      table[name].resize(all.size());
      table[name][r] = n;
      total[r] += n;
    }
  }
  std::string out = row("", titles(all.size()));
  for (const std::string& name : order) out += row(name, bytes(table[name]));
  return out + row("total", bytes(total));
}

}  // namespace puyu
