#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "data/ascii.h"
#include "data/compress.h"
#include "data/ngram_file.h"

namespace puyu {
namespace {

struct ByReversedWords {
  bool operator()(const Gram& a, const Gram& b) const {
    return std::lexicographical_compare(a.words, a.words + kMaxNgram, b.words, b.words + kMaxNgram);
  }
};
struct Never {
  bool operator()(Gram&, const Gram&) const { return false; }
};
using GramSorter = ExternalSorter<Gram, ByReversedWords, Never>;

// ARPA text, line by line.
class ArpaReader {
 public:
  explicit ArpaReader(const std::string& path) : path_(path), in_(path) {}
  // The next line that is not blank, split at blanks; false at the end.
  bool next() {
    while (in_.read_line(line_, 1 << 20)) {
      ++number_;
      fields.clear();
      for (size_t at = line_.find_first_not_of(" \t\r"); at != std::string::npos;) {
        size_t end = std::min(line_.find_first_of(" \t\r", at), line_.size());
        fields.push_back(std::string_view(line_).substr(at, end - at));
        at = line_.find_first_not_of(" \t\r", end);
      }
      if (!fields.empty()) return true;
    }
    if (!in_.damage().empty()) fail("[arpa] ", path_, ": ", in_.damage());
    return false;
  }
  float value(std::string_view text) const {
    float v = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (error != std::errc() || end != text.data() + text.size() || !(v < 100))
      bad(cat("expected a number, got '", text, "'"));
    return std::max(v, kNever);
  }
  [[noreturn]] void bad(const std::string& what) const { fail("[arpa] ", path_, ":", number_, ": ", what); }
  std::vector<std::string_view> fields;

 private:
  std::string path_, line_;
  InputStream in_;
  int64_t number_ = 0;
};

uint32_t word_number(const Vocabulary& v, std::string_view text) {
  if (text == "<unk>" || text == "<UNK>") return kUnknownWord;
  if (text == "<s>") return kBeginWord;
  if (text == "</s>") return kEndWord;
  return v.number(ngram_word_hash(text));
}

struct Unigram {
  std::string text;
  float probability, backoff;
};

void number_words(const std::vector<Unigram>& unigrams, Vocabulary& v, GramSorter& grams) {
  std::map<uint64_t, std::string> by_hash;
  for (const Unigram& u : unigrams)
    if (word_number(v, u.text) == kUnknownWord && u.text != "<unk>" && u.text != "<UNK>")
      by_hash.emplace(ngram_word_hash(u.text), u.text);
  for (auto& [hash, text] : by_hash) v.hashes.push_back(hash), v.texts.push_back(text);
  for (const Unigram& u : unigrams) {
    Gram g;
    g.words[0] = word_number(v, u.text), g.probability = u.probability, g.backoff = u.backoff;
    grams.add(g);
  }
}

// Every gram's ending must be there too: the trie hangs the longer on the shorter.
void check_suffixes(RecordFile<Gram>& shorter, RecordFile<Gram>& longer, int n, const std::string& path) {
  shorter.rewind(), longer.rewind();
  Gram s, l;
  bool more = shorter.read(s);
  while (longer.read(l)) {
    while (more && std::lexicographical_compare(s.words, s.words + n, l.words, l.words + n)) more = shorter.read(s);
    if (!more || !std::equal(s.words, s.words + n, l.words))
      fail("[arpa] ", path, ": a gram of ", n + 1, " words whose last ", n,
           " are no gram; this program cannot hold such models");
  }
}

}  // namespace

void export_arpa(const NgramModel& model, const std::string& path) {
  AtomicFile file(path);
  // Words without a unigram exist only in imported models; they are not written.
  std::vector<uint64_t> counts(static_cast<size_t>(model.order()));
  auto is_real = [](int order, const uint32_t* words) { return order > 1 || words[0] != kNoWord; };
  model.each_gram([&](int order, const uint32_t* words, float, float) { counts[order - 1] += is_real(order, words); });
  file.write("\\data\\\n");
  for (int n = 1; n <= model.order(); ++n) file.write(cat("ngram ", n, "=", counts[n - 1], "\n"));
  int last = 0;
  model.each_gram([&](int order, const uint32_t* words, float probability, float backoff) {
    if (!is_real(order, words)) return;
    if (order != last) file.write(cat("\n\\", order, "-grams:\n"));
    last = order;
    char number[32];  // the shortest text that gives the same float
    auto text = [&](float v) { return std::string(number, std::to_chars(number, number + sizeof number, v).ptr); };
    std::string line = text(probability);
    for (int k = 0; k < order; ++k) line += k ? ' ' : '\t', line += model.word_text(words[k]);
    if (order < model.order() && backoff != 0) line += '\t' + text(backoff);
    file.write(line + "\n");
  });
  file.write("\n\\end\\\n");
  file.commit();
}

void import_arpa(const std::string& path, const std::string& out, int64_t memory) {
  ArpaReader in(path);
  while (in.next() && in.fields[0] != "\\data\\") {}
  if (in.fields.empty() || in.fields[0] != "\\data\\") fail("[arpa] ", path, ": expected \\data\\, found none");
  std::vector<uint64_t> counts;
  bool more = in.next();
  for (; more && in.fields[0] == "ngram"; more = in.next()) {
    std::string_view text = in.fields.size() > 1 ? in.fields[1] : "";
    size_t equals = text.find('=');
    uint64_t count = 0;
    if (equals == std::string_view::npos || text.substr(0, equals) != std::to_string(counts.size() + 1) ||
        std::from_chars(text.data() + equals + 1, text.data() + text.size(), count).ec != std::errc())
      in.bad(cat("expected 'ngram ", counts.size() + 1, "=COUNT'"));
    counts.push_back(count);
  }
  if (counts.size() < 2 || counts.size() > kMaxNgram)
    in.bad(cat("expected 2 to ", kMaxNgram, " orders, got ", counts.size()));
  AtomicFolder temp(out + ".sorting");  // never committed
  Vocabulary vocabulary;
  std::vector<std::unique_ptr<RecordFile<Gram>>> files;
  for (size_t n = 1; n <= counts.size(); ++n) {
    if (!more || in.fields[0] != cat("\\", n, "-grams:")) in.bad(cat("expected \\", n, "-grams:"));
    GramSorter grams(temp.path(), static_cast<size_t>(memory), {}, {});
    std::vector<Unigram> unigrams;
    uint64_t read = 0;
    for (more = in.next(); more && in.fields[0][0] != '\\'; more = in.next(), ++read) {
      if (in.fields.size() != n + 1 && in.fields.size() != n + 2)
        in.bad(cat("expected a number, ", n, " words and perhaps a number"));
      Gram g;
      g.probability = in.value(in.fields[0]);
      if (in.fields.size() == n + 2) g.backoff = in.value(in.fields[n + 1]);
      if (n == 1) {
        unigrams.push_back({std::string(in.fields[1]), g.probability, g.backoff});
        continue;
      }
      for (size_t k = 0; k < n; ++k) g.words[k] = word_number(vocabulary, in.fields[n - k]);
      grams.add(g);
    }
    if (read != counts[n - 1]) in.bad(cat("expected ", counts[n - 1], " grams of ", n, " words, got ", read));
    if (n == 1) number_words(unigrams, vocabulary, grams);
    files.push_back(std::make_unique<RecordFile<Gram>>(temp.path()));
    const Gram* last = nullptr;
    Gram before;
    grams.finish([&](const Gram& g) {
      if (last && std::equal(g.words, g.words + kMaxNgram, before.words))
        in.bad(cat("a gram of ", n, " words stands twice"));
      before = g, last = &before;
      files.back()->write(&g, 1);
    });
    if (n > 1) check_suffixes(*files[n - 2], *files[n - 1], static_cast<int>(n - 1), path);
  }
  if (!more || in.fields[0] != "\\end\\") in.bad("expected \\end\\");
  write_ngram_file(out, static_cast<int>(counts.size()), vocabulary, files);
}

}  // namespace puyu
