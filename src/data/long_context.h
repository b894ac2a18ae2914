// Documents to learn long contexts from, as InternLM2's report 3.1.3 chooses them (LongWanjuan, Lv et al. 2024):
//   size         more than 32 KB
//   statistics   texts without meaning are dropped: tables, lists, logs, repetitions
//   perplexity   with S1 S2 a window of the text: how much better S2 is foretold where S1 is known, PPL(S2) minus
//                PPL(S2 | S1). Only this difference is used, which cancels what the estimator finds easy or hard.
// Thresholds are those of the document's domain (its source and language); three classes come out: holistic, aggregated
// and chaotic, of which the last is dropped.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/document.h"
#include "data/filter.h"
#include "data/funnel.h"

namespace puyu {

class LossScorer;

struct LongRules {
  double min_mean_line = 10, max_mean_line = -1, max_newlines = 0.1, max_commas = 0.1, max_spaces = 0.4,
         max_bars = 0.01, min_distinct = 0.02, min_tokens_per_char = 0, max_tokens_per_char = -1, min_pronouns = 0,
         min_connectives = 0, max_line_deviation = -1;
  double chaotic_below = 0, holistic_above = 1;
  template <class F>
  void fields(F&& f) {
    f("min_mean_line", min_mean_line, "characters a line that is not blank");
    f("max_mean_line", max_mean_line, "characters a line that is not blank; -1: any (also below)");
    f("max_line_deviation", max_line_deviation, "standard deviation of the lines' characters, by their mean");
    f("max_newlines", max_newlines, "line ends by characters");
    f("max_commas", max_commas, "commas by characters (in Chinese also 、)");
    f("max_spaces", max_spaces, "spaces by characters");
    f("max_bars", max_bars, "'|' by characters: tables");
    f("min_distinct", min_distinct, "different words by words, ideographs being words");
    f("min_tokens_per_char", min_tokens_per_char, "tokens of the model by characters: below are repetitions");
    f("max_tokens_per_char", max_tokens_per_char, "above is noise");
    f("min_pronouns", min_pronouns, "pronouns by words (in Chinese by ideographs)");
    f("min_connectives", min_connectives, "connectives (however, therefore, 因此, …) by sentences");
    f("chaotic_below", chaotic_below, "PPL(S2) - PPL(S2|S1) below this: chaotic, dropped");
    f("holistic_above", holistic_above, "above this: holistic; in between: aggregated");
  }
};

struct LongDomain {
  std::vector<std::string> sources, languages;
  LongRules rules;
  template <class F>
  void fields(F&& f) {
    f("sources", sources, "documents of these sources; empty: all");
    f("languages", languages, "documents of these languages or groups (en, zh, code); empty: all");
    f("rules", rules, "what is not named here is as by default, not as in [rules]");
  }
};

struct LongContextOptions {
  int64_t min_bytes = 32 << 10, shard_bytes = int64_t{256} << 20;
  std::string model, tokenizer;
  int64_t window = 4096, short_context = 2048, scored = 1024, max_windows = 4;
  LongRules rules;
  std::vector<LongDomain> domain;
  template <class F>
  void fields(F&& f) {
    f("min_bytes", min_bytes, "a document must be longer than this");
    f("model", model, "folder of the model that foretells; empty: no perplexity filter");
    f("tokenizer", tokenizer, "tokenizer file or folder; empty: the model's");
    f("window", window, "tokens of S1 and S2");
    f("short_context", short_context, "tokens of a window's end that stand for S2 alone, the scored ones included");
    f("scored", scored, "tokens of a window's end whose perplexity is taken");
    f("max_windows", max_windows, "windows of a document, spread evenly");
    f("shard_bytes", shard_bytes, "text in one output file");
    f("rules", rules, "for documents of no domain");
    f("domain", domain, "the first that fits a document holds");
  }
};

struct LongStats {
  double mean_line = 0, line_deviation = 0, newlines = 0, commas = 0, spaces = 0, bars = 0, distinct = 0, pronouns = 0,
         connectives = 0;
};
LongStats measure_long(std::string_view text);
// The first rule that is broken. tokens_per_char < 0: not known.
Verdict judge_long(const LongStats& stats, double tokens_per_char, const LongRules& rules);
const LongRules& rules_for(const LongContextOptions& options, const Document& d);

struct PerplexityGain {
  double with_context = 0, without_context = 0;  // PPL(S2 | S1), PPL(S2), over all windows
  int64_t windows = 0, tokens = 0;               // of the text
  double gain() const { return without_context - with_context; }
};
// windows = 0 when the text has fewer than `window` tokens.
PerplexityGain perplexity_gain(LossScorer& scorer, std::string_view text, const LongContextOptions& options);

enum class LongClass { kChaotic = 0, kAggregated = 1, kHolistic = 2 };
LongClass long_class(double gain, const LongRules& rules);

// A corpus folder of what is left of another, its documents with the scores ppl_with, ppl_without, ppl_gain and
// long_class; funnel.json and ledger.jsonl.zst beside them.
Funnel select_long(const std::vector<std::string>& inputs, const std::string& out_dir,
                   const LongContextOptions& options);

}  // namespace puyu
