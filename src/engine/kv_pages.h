// The paged key-value cache (as vLLM's, Kwon et al. 2023): tokens' keys and values live in pages of kPage tokens, and a
// sequence is a list of page numbers. PageAllocator counts, KvPages holds the tensors. Pages carry reference counts so
// that sequences may share a prefix, and a mark for those of the prefix cache.
#pragma once
#include <cstdint>
#include <vector>

#include "model/config.h"

namespace puyu {

inline int64_t pages_for(int64_t tokens) { return (tokens + kPage - 1) / kPage; }

class PageAllocator {
 public:
  explicit PageAllocator(int64_t pages);
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t total() const { return static_cast<int64_t>(refs_.size()); }
  int32_t allocate();          // one reference; a programmer's error when none is free
  void retain(int32_t page);   // one more reference
  void release(int32_t page);  // free again when no reference is left
  int32_t refs(int32_t page) const { return refs_.at(static_cast<size_t>(page)); }

  // The prefix cache's own reference. A page that nobody else holds is idle: as good as free.
  void keep(int32_t page);
  void drop(int32_t page);
  int64_t available() const { return free_pages() + idle_; }

 private:
  std::vector<int32_t> free_;  // a stack: pages used before are used again, so memory grows only with need
  std::vector<int32_t> refs_;
  std::vector<uint8_t> kept_;
  int64_t idle_ = 0;
};

// Per layer: act [pages, KV, kPage, HD], or rows of 8 or 4 bits a number (kernels.h, kv_row_bytes). Memory becomes real
// when a page is first written.
struct KvPages {
  KvPages(const ModelConfig& c, DType act, int bits, int64_t pages, Device device = Device::kCpu);
  static int64_t bytes_per_token(const ModelConfig& c, DType act, int bits);
  // Page `to` becomes a copy of page `from`, in all layers.
  void copy(Ctx& ctx, int32_t from, int32_t to);
  Arena arena;
  std::vector<Tensor> k, v;
};

}  // namespace puyu
