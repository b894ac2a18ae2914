// Guided decoding: a grammar says which tokens of a vocabulary may come next (engine/token_mask.h). A Guide belongs to
// one grammar and one vocabulary and is shared by all answers that follow it: states and masks are computed once, by
// walking a trie of the tokens' bytes through the automaton. Tokens are bytes, so a mask may end inside a character;
// with byte pieces in the vocabulary no answer can get stuck. An answer ends where nothing may follow, and may end (an
// end id is allowed) where the grammar is satisfied.
#pragma once
#include <memory>
#include <mutex>

#include "engine/token_mask.h"
#include "grammar/automaton.h"
#include "text/tokenizer.h"

namespace puyu::grammar {

// All tokens by their bytes, in the order of a walk: each node is followed by what continues it.
class TokenTrie {
 public:
  explicit TokenTrie(const std::vector<std::string>& bytes);  // by id; an empty one never comes
  explicit TokenTrie(const Tokenizer& tokenizer);

  struct Node {
    uint8_t byte;
    uint32_t end;           // the next node that does not continue this one
    uint32_t first, count;  // ids()[first, first + count): the tokens that end here
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::string& bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  size_t size() const { return bytes_.size(); }

 private:
  std::vector<std::string> bytes_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
};

class Guide : public std::enable_shared_from_this<Guide> {
 public:
  Guide(Grammar grammar, std::shared_ptr<const TokenTrie> trie, std::vector<int32_t> end_ids);
  ~Guide();
  std::shared_ptr<TokenMask> mask();  // for one answer, from its beginning

 private:
  friend class GuidedMask;
  struct Pool;
  std::shared_ptr<Pool> pool(const std::shared_ptr<Pool>& old);
  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::vector<int32_t> end_ids_;
  std::mutex mutex_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace puyu::grammar
