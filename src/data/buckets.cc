#include "data/buckets.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace puyu {
namespace {

struct Record {
  uint64_t hash;
  int64_t document;
  auto operator<=>(const Record&) const = default;
};
static_assert(sizeof(Record) == kBucketRecordBytes);
constexpr int64_t kMostParts = 1024;  // open files, each with a write buffer
constexpr size_t kWriteBuffer = size_t{1} << 16;

using BucketSink = std::function<void(const std::vector<int64_t>&)>;

void sort_and_emit(std::vector<Record>& records, const BucketSink& bucket) {
  std::sort(records.begin(), records.end());
  std::vector<int64_t> members;
  for (size_t from = 0, to = 0; from < records.size(); from = to) {
    while (to < records.size() && records[to].hash == records[from].hash) ++to;
    if (to - from < 2) continue;
    members.clear();
    for (size_t i = from; i < to; ++i) members.push_back(records[i].document);
    bucket(members);
  }
}

// One file of records in the scratch folder.
class Spill {
 public:
  explicit Spill(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb")) {
    if (!file_) fail("[dedup] ", path_, ": cannot be written: ", std::strerror(errno));
    buffer_.reserve(kWriteBuffer / sizeof(Record));
  }
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;
  ~Spill() {
    if (file_) std::fclose(file_);
    std::remove(path_.c_str());
  }
  void add(const Record& r) {
    buffer_.push_back(r);
    if (buffer_.size() == buffer_.capacity()) flush();
  }
  void close() {
    flush();
    std::vector<Record>().swap(buffer_);
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("[dedup] ", path_, ": ", std::strerror(errno));
  }
  std::vector<Record> read() const {
    MappedFile file(path_);
    std::vector<Record> out(file.size() / sizeof(Record));
    if (!out.empty()) std::memcpy(static_cast<void*>(out.data()), file.data(), out.size() * sizeof(Record));
    return out;
  }

 private:
  void flush() {
    if (std::fwrite(buffer_.data(), sizeof(Record), buffer_.size(), file_) != buffer_.size())
      fail("[dedup] ", path_, ": cannot be written: ", std::strerror(errno));
    buffer_.clear();
  }
  std::string path_;
  std::FILE* file_;
  std::vector<Record> buffer_;
};

}  // namespace

int64_t bucket_parts(int64_t documents, const BucketSpace& space) {
  // Hashes are even, but not exactly: an eighth to spare.
  int64_t need = documents * kBucketRecordBytes, room = space.memory_bytes - space.memory_bytes / 8;
  if (need <= space.memory_bytes) return 1;
  int64_t parts = room > 0 ? (need + room - 1) / room : kMostParts + 1;
  if (parts > kMostParts || space.scratch.empty())
    fail("[dedup] sorting ", documents, " documents takes at least ", need / kMostParts >> 20, " MB, have ",
         space.memory_bytes >> 20, "; raise dedup.memory_mb or lower --workers");
  return parts;
}

void for_each_bucket(int64_t documents, const BucketSpace& space, const std::function<bool(int64_t, uint64_t&)>& hash,
                     const BucketSink& bucket) {
  int64_t parts = bucket_parts(documents, space);
  std::vector<Record> records;
  Record r{};
  if (parts == 1) {
    records.reserve(static_cast<size_t>(documents));
    for (r.document = 0; r.document < documents; ++r.document)
      if (hash(r.document, r.hash)) records.push_back(r);
    return sort_and_emit(records, bucket);
  }
  make_directories(space.scratch);
  std::vector<std::unique_ptr<Spill>> spills;
  for (int64_t p = 0; p < parts; ++p) spills.push_back(std::make_unique<Spill>(cat(space.scratch, "/part-", p)));
  for (r.document = 0; r.document < documents; ++r.document)
    if (hash(r.document, r.hash))
      spills[static_cast<size_t>((static_cast<unsigned __int128>(r.hash) * static_cast<uint64_t>(parts)) >> 64)]->add(
          r);
  for (auto& s : spills) s->close();
  for (auto& s : spills) {
    records = s->read();
    sort_and_emit(records, bucket);
    s.reset();
  }
  std::filesystem::remove(space.scratch);
}

}  // namespace puyu
