// Documents with the same hash, found in bounded memory: hashes and numbers are sorted at once when they fit, else
// distributed by the hash's high bits to files of which each fits, and these are sorted one after another.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace puyu {

struct BucketSpace {
  int64_t memory_bytes = int64_t{1} << 30;
  std::string scratch;  // a folder for the files; removed again. "": everything must fit
};

constexpr int64_t kBucketRecordBytes = 16;
// How many files `documents` records take; 1: none, they fit.
int64_t bucket_parts(int64_t documents, const BucketSpace& space);

// hash(i, out) gives document i's hash or returns false to leave it out. bucket(members) is called for each hash that
// two or more documents share, in the order of hashes, members ascending.
void for_each_bucket(int64_t documents, const BucketSpace& space, const std::function<bool(int64_t, uint64_t&)>& hash,
                     const std::function<void(const std::vector<int64_t>&)>& bucket);

}  // namespace puyu
