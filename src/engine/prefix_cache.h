// Which pages hold which prefixes, so that a prompt whose beginning was computed before starts after it (as
// RadixAttention of SGLang, Zheng et al. 2024). A tree of pages: a node is one page and the tokens in it, its children
// are the pages that follow. Full pages are shared; of a page that agrees only at its beginning, the page is copied and
// the beginning used.
//
// Entries of different `domain`s never meet: keys depend on the RoPE base. The tree holds one reference to each of its
// pages. What nobody else holds is given up when a page is needed, the least recently used leaf first. Whoever holds a
// page of the tree holds all pages before it, so there is always such a leaf.
#pragma once
#include <map>
#include <memory>
#include <span>

#include "engine/kv_pages.h"

namespace puyu {

class PrefixCache {
 public:
  explicit PrefixCache(PageAllocator& pages) : pages_(pages) {}
  ~PrefixCache();

  struct Match {
    std::vector<int32_t> pages;  // full pages from the start; the caller has a reference to each
    int32_t partial = -1;        // the page after them agrees in its first `partial_tokens`: to be copied, not held
    int64_t partial_tokens = 0;
    int64_t tokens() const { return static_cast<int64_t>(pages.size()) * kPage + partial_tokens; }
  };
  // The longest known prefix of `tokens`.
  Match find(uint64_t domain, std::span<const int32_t> tokens);

  // `pages` hold the keys and values of `tokens`; a last page that is not full must not be written any more. Pages
  // whose tokens are known already are exchanged for those of the tree: they hold the same bits.
  void insert(uint64_t domain, std::span<const int32_t> tokens, std::vector<int32_t>& pages);

  // A free page, given up by the tree if need be; a programmer's error when pages.available() is 0.
  int32_t allocate();
  void clear();  // forgets everything, as after a change of weights

 private:
  struct Less {
    using is_transparent = void;
    bool operator()(std::span<const int32_t> a, std::span<const int32_t> b) const;
  };
  struct Node {
    Node* parent = nullptr;
    int32_t page = -1;
    uint64_t used = 0;  // key in leaves_
    std::map<std::vector<int32_t>, std::unique_ptr<Node>, Less> children;
    std::map<std::vector<int32_t>, std::unique_ptr<Node>, Less>::iterator self;  // in the parent's children
  };
  void touch(Node& n);
  Node& add(Node& parent, std::span<const int32_t> tokens, int32_t page);
  void remove(Node& leaf);
  void clear(Node& n);

  PageAllocator& pages_;
  std::map<uint64_t, Node> roots_;
  std::map<uint64_t, Node*> leaves_;  // by time of last use
  uint64_t clock_ = 0;
};

}  // namespace puyu
