#include "data/domain_list.h"

#include <unicode/uidna.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "data/ascii.h"
#include "data/compress.h"

namespace puyu {
namespace {

constexpr std::string_view kMagic = "PUYUDOM1";
constexpr const char* kMake = "puyu data domains";
// A record: 48 bits of hash, then two flags and 14 bits of category number.
constexpr uint32_t kBlocked = 1, kHasPaths = 2;
constexpr size_t kMostCategories = 1 << 14;

struct Entry {
  uint64_t bucket_hash, record;
  auto operator<=>(const Entry&) const = default;
};

Entry make_entry(std::string_view key, uint32_t flags, size_t category) {
  Hash128 h = hash128(key);
  return {h.hi, h.lo << 16 | category << 2 | flags};
}

std::string ascii_host(std::string_view host) {
  if (std::all_of(host.begin(), host.end(), [](char c) { return static_cast<signed char>(c) >= 0; }))
    return lower_ascii(host);
  UErrorCode status = U_ZERO_ERROR;
  UIDNA* idna = uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII, &status);
  if (U_FAILURE(status)) return "";
  char out[512];
  UIDNAInfo info = UIDNA_INFO_INITIALIZER;
  int32_t n =
      uidna_nameToASCII_UTF8(idna, host.data(), static_cast<int32_t>(host.size()), out, sizeof out, &info, &status);
  uidna_close(idna);
  return U_FAILURE(status) || info.errors || n > 255 ? "" : std::string(out, static_cast<size_t>(n));
}

bool is_address_number(std::string_view host) {  // IPv4 and IPv6 have no parent domains
  return host.starts_with('[') || (!host.empty() && host.back() >= '0' && host.back() <= '9');
}

std::string category_of(const std::string& path) {
  std::filesystem::path p(path);
  while (p.extension() == ".gz" || p.extension() == ".zst") p.replace_extension();
  std::string stem = p.stem().string();
  if (stem == "domains" || stem == "urls") stem = p.parent_path().filename().string();
  return stem.empty() ? "list" : stem;
}

// "0.0.0.0 example.com # why" -> "example.com"
std::string_view entry_text(std::string_view line) {
  line = trim_ascii(line.substr(0, line.find('#')));
  size_t space = line.find_first_of(" \t");
  if (space != std::string_view::npos) {
    std::string_view first = line.substr(0, space);
    if (first != "0.0.0.0" && first != "127.0.0.1" && first != "::1" && first != "::") return {};
    line = trim_ascii(line.substr(space));
    if (line.find_first_of(" \t") != std::string_view::npos) return {};
  }
  if (line.starts_with("*.")) line.remove_prefix(2);
  if (line.starts_with('.')) line.remove_prefix(1);
  return line;
}

// Sorts, joins entries of one hash (flags together, the first category stays) and returns how many went.
size_t join_entries(std::vector<Entry>& all) {
  constexpr uint64_t kHash = ~uint64_t{0xffff};
  std::sort(all.begin(), all.end(), [](const Entry& a, const Entry& b) {
    return std::tuple(a.bucket_hash, a.record & kHash, a.record >> 2) <
           std::tuple(b.bucket_hash, b.record & kHash, b.record >> 2);
  });
  size_t n = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    Entry* last = n ? &all[n - 1] : nullptr;
    if (!last || last->bucket_hash != all[i].bucket_hash || (last->record & kHash) != (all[i].record & kHash))
      all[n++] = all[i];
    else if (last->record & kBlocked || !(all[i].record & kBlocked))
      last->record |= all[i].record & 3;
    else
      last->record = all[i].record | (last->record & 3);  // its category is that of the entry that blocks
  }
  size_t gone = all.size() - n;
  all.resize(n);
  return gone;
}

void write_list(std::vector<Entry>& all, const std::vector<std::string>& categories, const std::string& out) {
  uint64_t bits = 0;
  while (bits < 32 && (all.size() >> bits) > 6) ++bits;
  SealedWriter file(out, kMagic, 1);
  for (const std::string& c : categories) file.write(c + '\n');
  uint64_t names = file.bytes();
  file.pad();
  std::vector<uint32_t> offsets((size_t{1} << bits) + 1);
  std::vector<uint64_t> records;
  auto bucket = [&](const Entry& e) { return bits ? e.bucket_hash >> (64 - bits) : 0; };
  for (const Entry& e : all) ++offsets[bucket(e) + 1], records.push_back(e.record);
  for (size_t b = 1; b < offsets.size(); ++b) offsets[b] += offsets[b - 1];
  file.write_values(offsets.data(), offsets.size());
  file.pad();
  file.write_values(records.data(), records.size());
  file.commit({all.size(), bits, names, categories.size()});
}

}  // namespace

WebPlace parse_address(std::string_view url) {
  url = trim_ascii(url);
  if (size_t scheme = url.find("://"); scheme != std::string_view::npos && scheme < 10) url.remove_prefix(scheme + 3);
  size_t end = std::min(url.find_first_of("/?#"), url.size());
  std::string_view host = url.substr(0, end), path = url.substr(end);
  if (size_t at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  if (host.starts_with('[')) {
    host = host.substr(0, std::min(host.find(']'), host.size() - 1) + 1);
  } else {
    host = host.substr(0, host.find(':'));
    while (host.ends_with('.')) host.remove_suffix(1);
  }
  WebPlace place{ascii_host(host), std::string(path.substr(0, path.find_first_of("?#")))};
  while (place.path.ends_with('/')) place.path.pop_back();
  auto bad = [](char c) { return c <= ' ' || c == '/' || c == '\\' || c == '"' || c == ','; };
  if (place.host.size() > 255 || std::any_of(place.host.begin(), place.host.end(), bad)) place.host.clear();
  return place;
}

DomainCounts build_domain_list(const std::vector<std::string>& lists, const std::string& out) {
  DomainCounts counts;
  std::vector<std::string> categories;
  std::vector<Entry> all;
  for (const std::string& arg : lists) {
    if (!file_exists(arg)) fail("[data] ", arg, ": no such list");
    for (const std::string& path : list_files(arg)) {
      std::string category = category_of(path);
      size_t c = static_cast<size_t>(std::find(categories.begin(), categories.end(), category) - categories.begin());
      if (c == categories.size()) categories.push_back(category);
      if (c >= kMostCategories) fail("[data] ", path, ": more than ", kMostCategories, " categories");
      InputStream in(path);
      for (std::string line; in.read_line(line, 4096);) {
        std::string_view text = trim_ascii(line);
        if (text.empty() || text.starts_with('#')) continue;
        WebPlace p = parse_address(entry_text(line));
        if (p.host.empty() || line.size() > 4096 ||
            (p.host.find('.') == std::string::npos && !p.host.starts_with('['))) {
          ++counts.bad_lines;
          continue;
        }
        ++counts.entries;
        if (p.path.empty()) {
          all.push_back(make_entry(p.host, kBlocked, c));
        } else {
          all.push_back(make_entry(p.host + p.path, kBlocked, c));
          all.push_back(make_entry(p.host, kHasPaths, c));
        }
      }
      if (!in.damage().empty()) fail("[data] ", path, ": ", in.damage());
    }
  }
  if (all.empty()) fail("[data] no entries in the lists (", counts.bad_lines, " lines are no hosts or addresses)");
  size_t before = all.size();
  counts.duplicates = static_cast<int64_t>(join_entries(all));
  if (before >= UINT32_MAX) fail("[data] ", before, " entries; at most ", UINT32_MAX, " fit a list");
  write_list(all, categories, out);
  return counts;
}

DomainList::DomainList(const std::string& path) : file_(path, kMagic, 1, kMake) {
  entries_ = file_.field(0);
  uint64_t bits = file_.field(1), names = file_.field(2);
  std::string_view body = file_.body();
  if (bits > 32 || names > body.size() || entries_ > body.size() / 8) file_.damaged("its header is impossible");
  auto padded = [](uint64_t n) { return (n + 7) / 8 * 8; };
  uint64_t buckets = uint64_t{1} << bits, at = padded(names), records = at + padded((buckets + 1) * 4);
  if (records + entries_ * 8 != body.size()) file_.damaged("its parts do not add up to its size");
  bucket_bits_ = static_cast<int>(bits);
  offsets_ = body.data() + at, records_ = body.data() + records;
  for (uint64_t b = 0, last = 0; b <= buckets; ++b) {
    uint64_t o = load_at<uint32_t>(offsets_ + b * 4);
    if (o < last || o > entries_ || (b == buckets && o != entries_)) file_.damaged("a bucket ends outside the list");
    last = o;
  }
  for (std::string_view rest = body.substr(0, names); !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size() - 1);
    categories_.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  if (categories_.size() != file_.field(3)) file_.damaged("its categories do not add up");
}

uint32_t DomainList::flags_of(std::string_view key) const {
  Hash128 h = hash128(key);
  uint64_t bucket = bucket_bits_ ? h.hi >> (64 - bucket_bits_) : 0, want = h.lo << 16;
  auto from = load_at<uint32_t>(offsets_ + bucket * 4), to = load_at<uint32_t>(offsets_ + bucket * 4 + 4);
  for (uint32_t i = from; i < to; ++i)
    if (auto r = load_at<uint64_t>(records_ + uint64_t{i} * 8); (r ^ want) < 0x10000)
      return static_cast<uint32_t>(r & 0xffff);
  return 0;
}

const std::string* DomainList::find(std::string_view url) const {
  WebPlace p = parse_address(url);
  auto category = [&](uint32_t flags) -> const std::string* {
    return (flags >> 2) < categories_.size() ? &categories_[flags >> 2] : nullptr;
  };
  size_t last = p.host.rfind('.'), at = 0;
  if (last == std::string::npos && !p.host.starts_with('[')) return nullptr;
  if (!is_address_number(p.host) && last > 0) at = p.host.rfind('.', last - 1);
  if (at == std::string::npos) at = 0;
  for (;;) {  // example.com, www.example.com
    std::string_view host = std::string_view(p.host).substr(at ? at + 1 : 0);
    uint32_t flags = flags_of(host);
    if (flags & kBlocked) return category(flags);
    if (flags & kHasPaths)
      for (size_t end = p.path.find('/', 1); !p.path.empty(); end = p.path.find('/', end + 1)) {
        uint32_t f = flags_of(std::string(host) + p.path.substr(0, end));
        if (f & kBlocked) return category(f);
        if (end == std::string::npos) break;
      }
    if (at == 0) return nullptr;
    at = p.host.rfind('.', at - 1);
    if (at == std::string::npos) at = 0;
  }
}

}  // namespace puyu
