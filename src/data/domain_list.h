// A block list of web sites, compact enough for 13 million entries (8 bytes each and 4 a bucket: 112 MB) and mapped.
// An entry is a host ("example.com": it and everything below it) or a host with a path ("example.com/adult": pages at
// or below that path). Entries are kept as 48 bits of a hash in 2^b buckets of about 6: no entry is ever missed, and a
// host that is in no list is taken for an entry with a probability of 6 / 2^48 = 2e-14 a look-up.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/sealed_file.h"

namespace puyu {

// The host and path of an address or of a line of a list: lower case, without scheme, user, port, "www." kept,
// fragment and query dropped, non-ASCII hosts in punycode. host is "" when there is none that could be one.
struct WebPlace {
  std::string host, path;  // "example.com", "/adult/x"
};
WebPlace parse_address(std::string_view url);

struct DomainCounts {
  int64_t entries = 0, duplicates = 0, bad_lines = 0;
};

// Reads lists: a host or address a line, hosts files ("0.0.0.0 example.com"), '#' comments. An entry's category is the
// name of its file ("adult.txt"), or of its folder for files named "domains" and "urls". .gz and .zst are read too.
DomainCounts build_domain_list(const std::vector<std::string>& lists, const std::string& out);

class DomainList {
 public:
  explicit DomainList(const std::string& path);
  // The category of the entry that blocks this address (null: none). The widest host goes first.
  const std::string* find(std::string_view url) const;
  uint64_t checksum() const { return file_.checksum(); }
  int64_t entries() const { return static_cast<int64_t>(entries_); }

 private:
  uint32_t flags_of(std::string_view key) const;  // 0: not there
  SealedFile file_;
  std::vector<std::string> categories_;
  int bucket_bits_ = 0;
  uint64_t entries_ = 0;
  const char *offsets_ = nullptr, *records_ = nullptr;
};

}  // namespace puyu
