#include "data/long_context.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/corpus_writer.h"
#include "data/loss_scorer.h"
#include "data/stages.h"
#include "data/texts.h"
#include "data/words.h"

namespace puyu {
namespace {

// Ours: LongWanjuan counts 37 English and 23 Chinese pronouns and about 150 Chinese connectives; its lists are not
// here.
constexpr std::string_view kPronouns[] = {
    "i",    "me",     "my",       "mine",       "myself", "we",      "us",         "our",  "ours",  "ourselves", "you",
    "your", "yours",  "he",       "him",        "his",    "himself", "she",        "her",  "hers",  "herself",   "it",
    "its",  "itself", "they",     "them",       "their",  "theirs",  "themselves", "this", "these", "those",     "who",
    "whom", "whose",  "yourself", "yourselves", "我",     "你",      "您",         "他",   "她",    "它",        "咱",
    "俺",   "其",     "吾",       "谁",         "彼",     "这",      "那",         "哪"};
constexpr std::string_view kConnectives[] = {
    "however", "therefore", "moreover",  "furthermore", "because", "although", "though", "thus",     "hence",
    "besides", "meanwhile", "otherwise", "instead",     "unless",  "whereas",  "while",  "since",    "then",
    "finally", "first",     "second",    "next",        "also",    "but",      "so",     "if",       "when",
    "因此",    "所以",      "因为",      "但是",        "然而",    "不过",     "而且",   "并且",     "虽然",
    "尽管",    "如果",      "只要",      "只有",        "无论",    "不管",     "即使",   "于是",     "然后",
    "接着",    "最后",      "首先",      "其次",        "此外",    "另外",     "同时",   "总之",     "例如",
    "比如",    "也就是说",  "换句话说",  "相反",        "否则",    "除非",     "由于",   "从而",     "以便",
    "既然",    "何况",      "甚至",      "尤其",        "可见",    "反之",     "一方面", "另一方面", "与此同时"};

size_t count_chars(std::string_view s) {
  return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

void measure_lines(std::string_view text, LongStats& s) {
  std::vector<double> lengths;
  double sum = 0, squares = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    lengths.push_back(static_cast<double>(count_chars(line)));
    sum += lengths.back(), squares += lengths.back() * lengths.back();
  }
  if (lengths.empty()) return;
  const auto n = static_cast<double>(lengths.size());
  s.mean_line = sum / n;
  s.line_deviation = std::sqrt(std::max(0.0, squares / n - s.mean_line * s.mean_line)) / s.mean_line;
}

bool judged_by(const LongDomain& domain, const Document& d) {
  auto has = [](const std::vector<std::string>& list, const std::string& x) {
    return std::find(list.begin(), list.end(), x) != list.end();
  };
  return (domain.sources.empty() || has(domain.sources, d.source)) &&
         (domain.languages.empty() || has(domain.languages, d.language) ||
          has(domain.languages, language_group(d.language)));
}

double mean_loss(const std::vector<float>& logp) {
  double sum = 0;
  for (const float l : logp) sum -= double{l};
  return sum;
}

void check(const LongContextOptions& o) {
  if (o.scored < 1 || o.scored >= o.short_context || o.short_context >= o.window || o.max_windows < 1)
    fail("[data] long context: expected 0 < scored < short_context < window and max_windows of at least 1, got ",
         o.scored, ", ", o.short_context, ", ", o.window, " and ", o.max_windows);
  auto ordered = [](const LongRules& r) {
    if (!(r.chaotic_below <= r.holistic_above))
      fail("[data] long context: expected chaotic_below <= holistic_above, got ", r.chaotic_below, " and ",
           r.holistic_above);
  };
  ordered(o.rules);
  for (const LongDomain& d : o.domain) ordered(d.rules);
}

// Where a selection writes, and its counts.
struct Selection {
  Funnel funnel;
  ZstdFile ledger;
  explicit Selection(const std::string& out) : ledger(out + "/ledger.jsonl.zst") {}
  bool keep(const char* stage, const Document& d, const Verdict& v) {
    Stage& s = funnel.stage(stage);
    const auto bytes = static_cast<int64_t>(d.content.size());
    s.in.add(bytes);
    if (v.rule.empty()) return s.kept.add(bytes), true;
    s.dropped[v.rule].add(bytes);
    ledger.write(ledger_line(d, stage, "drop", v.rule, v.value, v.limit));
    return false;
  }
};

Verdict judge_perplexity(Document& d, const PerplexityGain& g, const LongContextOptions& o, const LongRules& rules) {
  if (g.windows == 0) return {"few_tokens", static_cast<double>(g.tokens), static_cast<double>(o.window)};
  const LongClass c = long_class(g.gain(), rules);
  d.scores["ppl_with"] = g.with_context, d.scores["ppl_without"] = g.without_context;
  d.scores["ppl_gain"] = g.gain(), d.scores["long_class"] = static_cast<double>(c);
  return c == LongClass::kChaotic ? Verdict{"chaotic", g.gain(), rules.chaotic_below} : Verdict{};
}

}  // namespace

LongStats measure_long(std::string_view text) {
  static const std::set<std::string_view> kPronounSet(std::begin(kPronouns), std::end(kPronouns));
  static const std::set<std::string_view> kConnectiveSet(std::begin(kConnectives), std::end(kConnectives));
  LongStats s;
  measure_lines(text, s);
  double sentences = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    s.newlines += text[i] == '\n', s.spaces += text[i] == ' ', s.bars += text[i] == '|';
    s.commas += text[i] == ',' || rest.starts_with("，") || rest.starts_with("、");
    sentences += text[i] == '.' || text[i] == '?' || text[i] == '!' || rest.starts_with("。") ||
                 rest.starts_with("？") || rest.starts_with("！");
    for (size_t bytes = 6; static_cast<unsigned char>(text[i]) >= 0xe0 && bytes <= 12; bytes += 3)
      s.connectives += kConnectiveSet.contains(rest.substr(0, bytes));
  }
  const auto chars = static_cast<double>(std::max<size_t>(1, count_chars(text)));
  s.newlines /= chars, s.spaces /= chars, s.bars /= chars, s.commas /= chars;
  std::set<uint64_t> different;
  const std::vector<Word> words = split_words(text);
  for (const Word& w : words) {
    different.insert(w.hash);
    const std::string word = lower(w.text);
    s.pronouns += kPronounSet.contains(word);
    s.connectives += w.text.size() < 3 || w.chars > 1 ? kConnectiveSet.contains(word) : false;
  }
  const auto n = static_cast<double>(std::max<size_t>(1, words.size()));
  s.distinct = static_cast<double>(different.size()) / n, s.pronouns /= n;
  s.connectives /= std::max(1.0, sentences);
  return s;
}

Verdict judge_long(const LongStats& s, double tokens_per_char, const LongRules& r) {
  struct Bound {
    const char* rule;
    double value, limit;
    bool least;
  };
  for (const Bound& b :
       {Bound{"min_mean_line", s.mean_line, r.min_mean_line, true},
        {"max_mean_line", s.mean_line, r.max_mean_line, false},
        {"max_line_deviation", s.line_deviation, r.max_line_deviation, false},
        {"max_newlines", s.newlines, r.max_newlines, false},
        {"max_commas", s.commas, r.max_commas, false},
        {"max_spaces", s.spaces, r.max_spaces, false},
        {"max_bars", s.bars, r.max_bars, false},
        {"min_distinct", s.distinct, r.min_distinct, true},
        {"min_pronouns", s.pronouns, r.min_pronouns, true},
        {"min_connectives", s.connectives, r.min_connectives, true},
        {"min_tokens_per_char", tokens_per_char, tokens_per_char < 0 ? -1 : r.min_tokens_per_char, true},
        {"max_tokens_per_char", tokens_per_char, r.max_tokens_per_char, false}})
    if (b.least ? b.value < b.limit : b.limit >= 0 && b.value > b.limit) return {b.rule, b.value, b.limit};
  return {};
}

const LongRules& rules_for(const LongContextOptions& o, const Document& d) {
  for (const LongDomain& domain : o.domain)
    if (judged_by(domain, d)) return domain.rules;
  return o.rules;
}

PerplexityGain perplexity_gain(LossScorer& scorer, std::string_view text, const LongContextOptions& o) {
  if (o.window > scorer.context())
    fail("[data] long context: window is ", o.window, " tokens, the model's context ", scorer.context());
  const std::vector<int32_t> ids = scorer.tokenizer().encode_untrusted(text);
  PerplexityGain g;
  g.tokens = static_cast<int64_t>(ids.size());
  const int64_t whole = g.tokens / o.window, count = std::min(whole, o.max_windows);
  if (count == 0) return g;
  double with = 0, without = 0;
  for (int64_t w = 0; w < count; ++w) {
    const std::span<const int32_t> window(ids.data() + w * whole / count * o.window, static_cast<size_t>(o.window));
    const auto scored = static_cast<size_t>(o.scored), alone = static_cast<size_t>(o.short_context);
    with += mean_loss(scorer.logp(window, window.size() - scored));
    without += mean_loss(scorer.logp(window.last(alone), alone - scored));
  }
  const auto n = static_cast<double>(count * o.scored);
  g.windows = count, g.with_context = std::exp(with / n), g.without_context = std::exp(without / n);
  return g;
}

LongClass long_class(double gain, const LongRules& r) {
  return gain < r.chaotic_below    ? LongClass::kChaotic
         : gain > r.holistic_above ? LongClass::kHolistic
                                   : LongClass::kAggregated;
}

Funnel select_long(const std::vector<std::string>& inputs, const std::string& out_dir, const LongContextOptions& o) {
  check(o);
  for (const std::string& in : inputs)
    if (file_exists(out_dir) && file_exists(in) && std::filesystem::equivalent(in, out_dir))
      fail("[data] ", out_dir, ": is the input too");
  std::unique_ptr<LossScorer> scorer;
  if (!o.model.empty()) scorer = std::make_unique<LossScorer>(o.model, o.tokenizer);
  make_directories(out_dir);
  for (const auto& e : std::filesystem::directory_iterator(out_dir))
    if (e.path().filename().string().starts_with("docs-")) std::filesystem::remove(e.path());
  Selection out(out_dir);
  CorpusWriter docs(out_dir, o.shard_bytes);
  const int64_t unread = for_each_input(inputs, [&](Document&& d) {
    const auto bytes = static_cast<double>(d.content.size());
    const auto least = static_cast<double>(o.min_bytes);
    if (!out.keep("long_size", d, bytes > least ? Verdict{} : Verdict{"min_bytes", bytes, least})) return;
    const LongRules& rules = rules_for(o, d);
    const LongStats stats = measure_long(d.content);
    PerplexityGain gain;
    if (!out.keep("long_statistics", d, judge_long(stats, -1, rules))) return;
    if (scorer) {
      gain = perplexity_gain(*scorer, d.content, o);
      const double density = static_cast<double>(gain.tokens) / static_cast<double>(count_chars(d.content));
      Verdict v = judge_long(stats, density, rules);
      if (v.rule.empty()) v = judge_perplexity(d, gain, o, rules);
      if (!out.keep("long_perplexity", d, v)) return;
    }
    out.funnel.languages[language_group(d.language)].add(static_cast<int64_t>(d.content.size()));
    out.funnel.sources[d.source].add(static_cast<int64_t>(d.content.size()));
    docs.add(to_json_line(d));
  });
  if (unread) log_warn(unread, " inputs could not be read");
  docs.commit();
  out.ledger.commit();
  write_file(out_dir + "/funnel.json", to_json(out.funnel).dump(2) + "\n");
  LongContextOptions shown = o;
  write_file(out_dir + "/run.json",
             Json(Json::Object{{"stage", "long_context"}, {"config", to_json(list_fields(shown))}}).dump(2) + "\n");
  return std::move(out.funnel);
}

}  // namespace puyu
