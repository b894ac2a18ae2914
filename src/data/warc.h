// Web archives: WARC files (ISO 28500) and Common Crawl's WET files, plain, in gzip members or in zstd. Records are
// read one by one in bounded memory. Archives are often damaged: a broken gzip member, a record that is cut off or one
// whose header makes no sense is handed over with its reason, and reading goes on at the next member or record that
// begins with "WARC/".
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace puyu {

struct WarcRecord {
  std::string type;          // "response", "conversion", "warcinfo", ... in lower case
  std::string url;           // WARC-Target-URI
  std::string date;          // WARC-Date, "2024-02-29T10:11:12Z"
  std::string content_type;  // of the block: "application/http; msgtype=response", "text/plain"
  std::string_view block;    // valid only during the call
  // Not empty: the block could not be read, and why. "bad_record_header", "truncated_record", "too_large",
  // "truncated_gzip", "damaged_gzip", "truncated_zstd", "damaged_zstd". The other fields are what was read before.
  std::string problem;
  int64_t bytes = 0;  // of the block, or of what was skipped
};

bool is_warc_name(std::string_view name);  // by its ending: .warc or .wet; .gz and .zst are taken off before

// Every record in order. Error when the file cannot be opened.
void read_warc(const std::string& path, int64_t max_record_bytes, const std::function<void(const WarcRecord&)>& record);

}  // namespace puyu
