#include "engine/prefix_cache.h"

#include <algorithm>

#include "base/error.h"

namespace puyu {
namespace {

// Fewer tokens are computed again rather than a page copied: nearly all prompts share their first token.
constexpr int64_t kLeastCopied = 8;

int64_t common(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

bool PrefixCache::Less::operator()(std::span<const int32_t> a, std::span<const int32_t> b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

PrefixCache::~PrefixCache() { clear(); }

PrefixCache::Match PrefixCache::find(uint64_t domain, std::span<const int32_t> tokens) {
  Match m;
  const auto root = roots_.find(domain);
  if (root == roots_.end()) return m;
  Node* at = &root->second;
  while (static_cast<int64_t>(tokens.size()) >= kPage) {
    const auto child = at->children.find(tokens.first(kPage));
    if (child == at->children.end()) break;
    at = child->second.get();
    pages_.retain(at->page);
    touch(*at);
    m.pages.push_back(at->page);
    tokens = tokens.subspan(kPage);
  }
  // In the order of the keys, the longest common prefix belongs to a neighbour.
  const auto after = at->children.lower_bound(tokens);
  auto consider = [&](decltype(after) it) {
    const int64_t n = common(it->first, tokens);
    if (n < kLeastCopied || n <= m.partial_tokens) return;
    m.partial = it->second->page, m.partial_tokens = n;
    touch(*it->second);
  };
  if (after != at->children.end()) consider(after);
  if (after != at->children.begin()) consider(std::prev(after));
  return m;
}

void PrefixCache::insert(uint64_t domain, std::span<const int32_t> tokens, std::vector<int32_t>& pages) {
  CHECK(pages_for(static_cast<int64_t>(tokens.size())) <= static_cast<int64_t>(pages.size()));
  Node* at = &roots_[domain];
  for (size_t i = 0; !tokens.empty(); ++i) {
    const auto chunk = tokens.first(std::min<size_t>(tokens.size(), kPage));
    tokens = tokens.subspan(chunk.size());
    const auto known = at->children.lower_bound(chunk);  // the first that may begin with `chunk`
    if (known != at->children.end() && common(known->first, chunk) == static_cast<int64_t>(chunk.size())) {
      at = known->second.get();
      touch(*at);
      if (static_cast<int64_t>(chunk.size()) < kPage || at->page == pages[i]) continue;
      pages_.retain(at->page);
      pages_.release(pages[i]);
      pages[i] = at->page;
      continue;
    }
    if (known != at->children.begin()) {  // a shorter beginning of the same page has had its day
      const auto before = std::prev(known);
      if (common(before->first, chunk) == static_cast<int64_t>(before->first.size())) remove(*before->second);
    }
    at = &add(*at, chunk, pages[i]);
  }
}

int32_t PrefixCache::allocate() {
  if (pages_.free_pages() == 0) {
    const auto idle =
        std::find_if(leaves_.begin(), leaves_.end(), [&](const auto& l) { return pages_.refs(l.second->page) == 1; });
    CHECK(idle != leaves_.end());
    remove(*idle->second);
  }
  return pages_.allocate();
}

void PrefixCache::touch(Node& n) {
  const bool leaf = leaves_.erase(n.used) > 0;
  n.used = ++clock_;
  if (leaf) leaves_[n.used] = &n;
}

PrefixCache::Node& PrefixCache::add(Node& parent, std::span<const int32_t> tokens, int32_t page) {
  pages_.keep(page);
  leaves_.erase(parent.used);
  const auto it =
      parent.children.emplace(std::vector<int32_t>(tokens.begin(), tokens.end()), std::make_unique<Node>()).first;
  Node& n = *it->second;
  n.parent = &parent, n.page = page, n.used = ++clock_, n.self = it;
  leaves_[n.used] = &n;
  return n;
}

void PrefixCache::remove(Node& leaf) {
  CHECK(leaf.children.empty());
  pages_.drop(leaf.page);
  leaves_.erase(leaf.used);
  Node& parent = *leaf.parent;
  parent.children.erase(leaf.self);
  if (parent.children.empty() && parent.parent) leaves_[parent.used] = &parent;
}

void PrefixCache::clear(Node& n) {
  for (auto& [tokens, child] : n.children) {
    clear(*child);
    pages_.drop(child->page);
  }
}

void PrefixCache::clear() {
  for (auto& [domain, root] : roots_) clear(root);
  roots_.clear();
  leaves_.clear();
}

}  // namespace puyu
