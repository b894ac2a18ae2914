#include "engine/kv_pages.h"

namespace puyu {

PageAllocator::PageAllocator(int64_t pages) : refs_(static_cast<size_t>(pages), 0) {
  for (int64_t p = pages; p-- > 0;) free_.push_back(static_cast<int32_t>(p));
}

int32_t PageAllocator::allocate() {
  CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  refs_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageAllocator::retain(int32_t page) {
  CHECK(refs_.at(static_cast<size_t>(page)) > 0);
  ++refs_[static_cast<size_t>(page)];
}

void PageAllocator::release(int32_t page) {
  int32_t& refs = refs_.at(static_cast<size_t>(page));
  CHECK(refs > 0);
  if (--refs == 0) free_.push_back(page);
}

int64_t KvPages::bytes_per_token(const ModelConfig& c, DType act, int bits) {
  return 2 * c.num_layers * c.num_kv_heads * (bits ? kv_row_bytes(c.hd(), bits) : c.hd() * dtype_size(act));
}

KvPages::KvPages(const ModelConfig& c, DType act, int bits, int64_t pages)
    : arena("kv pages", bytes_per_token(c, act, bits) * pages * kPage + 256 * c.num_layers) {
  for (int64_t l = 0; l < c.num_layers; ++l) {
    for (auto* list : {&k, &v})
      list->push_back(arena.alloc(bits ? DType::kU8 : act,
                                  {pages, c.num_kv_heads, kPage, bits ? kv_row_bytes(c.hd(), bits) : c.hd()}));
  }
}

}  // namespace puyu
