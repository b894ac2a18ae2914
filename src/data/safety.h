// The stage "safe" of a run: web sites on a block list, words on block lists, personal data masked. Off until a list
// or kind is named.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/document.h"
#include "data/domain_list.h"
#include "data/filter.h"
#include "data/pii.h"
#include "data/word_list.h"

namespace puyu {

struct SafeOptions {
  std::string domains;
  std::vector<std::string> words, pii;
  double max_words = 0, max_words_per_line = -1, max_word_share = -1;
  template <class F>
  void fields(F&& f) {
    f("domains", domains, "block list of web sites, made by 'puyu data domains'");
    f("words", words, "files with words that documents should not hold (docs/formats.md)");
    f("max_words", max_words, "weight of such words in a document; below 0: any");
    f("max_words_per_line", max_words_per_line, "the same, a line (EvalWeb: 0.5)");
    f("max_word_share", max_word_share, "share of the text in such words (Data-Juicer: 0.017)");
    f("pii", pii, "personal data to mask: email, phone, cn_id, card, ipv4, ipv6, or all; they go to pii-key.jsonl.zst");
  }
};

class Safety {
 public:
  explicit Safety(const SafeOptions& options);  // loads the lists; Error names what is wrong
  bool is_on() const { return domains_ || words_.size() || !kinds_.empty(); }
  bool masks() const { return !kinds_.empty(); }
  uint64_t checksum() const;  // of the lists' contents
  Verdict judge(const Document& d) const;
  // Masks d.content and d.title; appends what stood there to d.pii and returns how many values of each kind.
  std::map<std::string, int64_t> mask(Document& d) const;
  std::string masked(std::string text) const;  // for texts that are only shown

 private:
  const SafeOptions options_;
  std::optional<DomainList> domains_;
  WordList words_;
  std::vector<PiiKind> kinds_;
};

// A line of pii-key.jsonl.zst and back: {"id", "tags": {"[EMAIL_1]": "a@b.org", …}}.
std::string pii_line(const Document& d);
// Puts the values back into a corpus folder or into JSONL; Error on a damaged key. Returns how many documents changed.
int64_t restore_corpus(const std::string& corpus_dir, const std::string& key_path, const std::string& out_dir);

}  // namespace puyu
