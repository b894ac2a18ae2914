#include "engine/kv_pages.h"

namespace puyu {

PageAllocator::PageAllocator(int64_t pages) : refs_(static_cast<size_t>(pages), 0), kept_(refs_.size(), 0) {
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
  const auto p = static_cast<size_t>(page);
  CHECK(refs_.at(p) > 0);
  idle_ -= refs_[p]++ == 1 && kept_[p];
}

void PageAllocator::release(int32_t page) {
  const auto p = static_cast<size_t>(page);
  CHECK(refs_.at(p) > 0);
  if (--refs_[p] == 0) free_.push_back(page);
  idle_ += refs_[p] == 1 && kept_[p];
}

void PageAllocator::keep(int32_t page) {
  CHECK(!kept_.at(static_cast<size_t>(page)));
  retain(page);
  kept_[static_cast<size_t>(page)] = 1;
}

void PageAllocator::drop(int32_t page) {
  const auto p = static_cast<size_t>(page);
  CHECK(kept_.at(p));
  kept_[p] = 0;
  idle_ -= refs_[p] == 1;
  release(page);
}

int64_t KvPages::bytes_per_token(const ModelConfig& c, DType act, int bits) {
  return 2 * c.num_layers * c.num_kv_heads * (bits ? kv_row_bytes(c.hd(), bits) : c.hd() * dtype_size(act));
}

KvPages::KvPages(const ModelConfig& c, DType act, int bits, int64_t pages, Device device)
    : arena("kv pages", bytes_per_token(c, act, bits) * pages * kPage + 256 * c.num_layers, device) {
  for (int64_t l = 0; l < c.num_layers; ++l) {
    for (auto* list : {&k, &v})
      list->push_back(arena.alloc(bits ? DType::kU8 : act,
                                  {pages, c.num_kv_heads, kPage, bits ? kv_row_bytes(c.hd(), bits) : c.hd()}));
  }
}

void KvPages::copy(Ctx& ctx, int32_t from, int32_t to) {
  if (from == to) return;
  for (auto* list : {&k, &v})
    for (const Tensor& pages : *list) {
      const Tensor rows = pages.view(pages.size(0), pages.numel() / pages.size(0));
      gather_rows(ctx, rows.rows(to, to + 1), rows, &from);
    }
}

}  // namespace puyu
