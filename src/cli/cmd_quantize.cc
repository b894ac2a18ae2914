// puyu quantize IN OUT: a model in 4 or 8 bits.
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"
#include "cli/model_files.h"
#include "cli/verbs.h"
#include "engine/local_generator.h"
#include "eval/score.h"
#include "eval/task.h"
#include "model/quantize.h"

namespace puyu {
namespace {

struct Options {
  std::string calibration, text, dtype = "auto";
  int64_t samples = 128, tokens = 2048, text_tokens = 16384;
  bool plain = false, no_search = false, json = false;
  QuantizeOptions quantize;
  template <class F>
  void fields(F&& f) {
    quantize.fields(f);
    f("calibration", calibration, "text file or .jsonl of documents; empty = texts that the model writes itself");
    f("samples", samples, "calibration sequences, at most");
    f("tokens", tokens, "tokens of each, at most; shorter where the model's context or the text is");
    f("text", text, "held-out text for the perplexities; empty = each eighth sequence of the calibration text");
    f("text_tokens", text_tokens, "tokens that the perplexities are measured on, at most; 0 = measure none");
    f("plain", plain, "no calibration: the numbers that engine.weights makes of the model at load");
    f("no_search", no_search, "same as --search=false");
    f("dtype", dtype, "compute in f32 or bf16; auto = as the files");
    f("json", json, "print JSON");
  }
};

constexpr const char* kHelp =
    "Writes a folder that every MODEL argument takes, with weights in 4 or 8 bits (AWQ; SmoothQuant for w8a8), and "
    "says what it\n"
    "costs: perplexity before and after, on text that was not calibrated on.\n\n"
    "  puyu quantize internlm2-chat-7b chat-7b-w4 --scheme w4a16 --calibration wiki.txt\n"
    "  puyu quantize internlm2-chat-7b chat-7b-w8 --scheme w8a8 --plain\n";

using Sequences = std::vector<std::vector<int32_t>>;

std::vector<int32_t> ids_of_file(const Tokenizer& t, const std::string& path) {
  std::vector<int32_t> ids;
  auto add = [&](const std::string& text) {
    const std::vector<int32_t> more = t.encode(text);
    ids.push_back(t.bos());
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (path.ends_with(".jsonl"))
    for (const EvalText& text : read_texts(path)) add(text.text);
  else
    add(read_file(path));
  return ids;
}

// Pieces of `length` tokens, at most `most` of them, evenly spread.
Sequences cut(const std::vector<int32_t>& ids, int64_t length, int64_t most) {
  Sequences out;
  const int64_t pieces = static_cast<int64_t>(ids.size()) / length, count = std::min(pieces, most);
  for (int64_t i = 0; i < count; ++i) {
    const auto begin = ids.begin() + i * pieces / count * length;
    out.emplace_back(begin, begin + length);
  }
  return out;
}

// At temperature 1 from nothing: the text that the model knows.
Sequences written_by(LocalModel& model, int64_t samples, int64_t tokens) {
  log_info("[quantize] no --calibration: the model writes ", samples, " texts of up to ", tokens, " tokens itself");
  SamplingOptions o;
  o.temperature = 1, o.top_p = 1, o.max_tokens = static_cast<int>(tokens - 1), o.seed = 1;
  Sequences out;
  Progress progress("writing texts", samples * (tokens - 1), "tok");
  for (int64_t begin = 0; begin < samples; begin += 16) {
    const auto n = static_cast<size_t>(std::min<int64_t>(16, samples - begin));
    o.seed = 1 + begin;
    for (Rollout& r : model.engine.generate_tokens(Sequences(n, {model.tokenizer.bos()}), o, model.stop_ids)) {
      if (r.reason == FinishReason::kAborted) fail("[quantize] interrupted; nothing was written");
      progress.add(tokens - 1);
      r.tokens.insert(r.tokens.begin(), model.tokenizer.bos());
      if (r.tokens.size() > 8) out.push_back(std::move(r.tokens));
    }
  }
  if (out.size() < 2) fail("[quantize] the model ends its texts at once; give a --calibration text");
  return out;
}

struct Texts {
  Sequences calibration, held_out;
  std::string origin;
};

Texts choose_texts(const Options& o, LocalModel& model) {
  Texts t;
  const int64_t context = model.engine.context_length(), longest = std::min(o.tokens, context);
  const bool need_own = o.text.empty() && o.text_tokens > 0;
  if (!o.plain || need_own) {
    Sequences all;
    if (o.calibration.empty()) {
      all = written_by(model, std::min<int64_t>(o.samples, 64), std::min<int64_t>(longest, 256));
      t.origin = "texts that the model wrote";
    } else {
      const std::vector<int32_t> ids = ids_of_file(model.tokenizer, o.calibration);
      const int64_t length = std::min(longest, static_cast<int64_t>(ids.size()) / 9);
      if (length < 8)
        fail("[quantize] ", o.calibration, ": ", ids.size(),
             " tokens are too few to calibrate on; expected some thousand");
      all = cut(ids, length, need_own ? o.samples + o.samples / 7 + 1 : o.samples);
      t.origin = o.calibration;
    }
    for (size_t i = 0; i < all.size(); ++i)
      (need_own && (i % 8 == 7 || all.size() < 8) && i > 0 ? t.held_out : t.calibration).push_back(std::move(all[i]));
    if (o.plain) t.calibration.clear();
  }
  if (!o.text.empty() && o.text_tokens > 0) {
    const std::vector<int32_t> ids = ids_of_file(model.tokenizer, o.text);
    t.held_out = cut(ids, std::min({longest, o.text_tokens, static_cast<int64_t>(ids.size())}), INT64_MAX);
    t.origin = o.text;
  }
  int64_t tokens = 0;
  size_t keep = 0;
  for (; keep < t.held_out.size() && tokens < o.text_tokens; ++keep)
    tokens += static_cast<int64_t>(t.held_out[keep].size());
  t.held_out.resize(keep);
  return t;
}

Estimate measure(LocalModel& model, const Sequences& texts, const char* name) {
  std::vector<Item> items(texts.size());
  int64_t tokens = 0;
  for (const auto& s : texts) tokens += static_cast<int64_t>(s.size());
  Progress progress(name, tokens, "tok");
  model.engine.score(texts, [&](size_t i, const Engine::Score& s) {
    for (float p : s.logp) items[i].value -= static_cast<double>(p);
    items[i].weight = static_cast<double>(s.logp.size());
    items[i].cluster = cat(i);
    progress.add(static_cast<int64_t>(texts[i].size()));
  });
  return perplexity(ratio(items));
}

void quantise(const Options& o, const std::string& in, const Sequences& calibration, const std::string& folder) {
  Arena scratch("scratch", int64_t{1} << 40);
  Ctx ctx{Device::kCpu, &scratch};
  std::optional<DType> compute;
  if (o.dtype != "auto") compute = o.dtype == "f32" ? DType::kF32 : DType::kBF16;
  Weights w = load_for_inference(ctx, in, Head::kLanguage, compute);
  Progress progress("quantise", w.config.num_params(), "weights");
  quantize_model(ctx, w, calibration, o.quantize, folder,
                 {[&](int64_t weights) { progress.add(weights); },
                  [&](int64_t layer, const BlockScales& s) {
                    progress.note(cat("block ", layer, " alpha ", s.alphas[0], " ", s.alphas[1], " ", s.alphas[2]));
                  }});
  copy_tokenizer_files(in, folder);
}

void print(const Options& o, const Json& j) {
  if (o.json) {
    std::printf("%s\n", j.dump().c_str());
    return;
  }
  auto bytes = [&](const char* key) { return format_count(j.at(key).as_double(), "B"); };
  std::printf("%s: %s, %s instead of %s, %s\n", j.at("out").as_string().c_str(), j.at("scheme").as_string().c_str(),
              bytes("bytes").c_str(), bytes("bytes_before").c_str(),
              format_duration(j.at("seconds").as_double()).c_str());
  if (!j.find("perplexity")) return;
  std::printf("perplexity %.4f instead of %.4f (%+.2f %%; standard error of each about %.2f), %s tokens of %s\n",
              j.at("perplexity").as_double(), j.at("perplexity_before").as_double(),
              100 * (j.at("perplexity").as_double() / j.at("perplexity_before").as_double() - 1),
              j.at("standard_error").as_double(), j.at("perplexity_tokens").dump().c_str(),
              j.at("perplexity_text").as_string().c_str());
}

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kQuantizeVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 2) throw UsageError("expected IN and OUT");
  if (o.no_search) o.quantize.search = false;
  if (o.samples < 1 || o.tokens < 8 || o.text_tokens < 0)
    throw UsageError("expected --samples of at least 1, --tokens of at least 8, no negative numbers");
  validate(o.quantize);
  const std::string &in = a.positional[0], &out = a.positional[1];
  AtomicFolder folder(out);
  const auto start = std::chrono::steady_clock::now();
  ModelOptions as_is;
  as_is.dtype = o.dtype;
  Json j = Json::object();
  Texts texts;
  Estimate before;
  if (!o.plain || o.text_tokens > 0) {
    LocalModel model(in, as_is);
    texts = choose_texts(o, model);
    if (!texts.held_out.empty()) before = measure(model, texts.held_out, "perplexity before");
  }
  quantise(o, in, texts.calibration, folder.path());
  const auto source = open_model_source(in);
  const bool f32 = o.dtype == "f32" || (o.dtype == "auto" && source->dtype() == DType::kF32);
  j["out"] = out, j["scheme"] = o.quantize.scheme;
  j["calibration_sequences"] = texts.calibration.size();
  j["bytes_before"] = model_bytes(source->config(), Head::kLanguage, f32 ? DType::kF32 : DType::kBF16, "");
  j["bytes"] = std::filesystem::file_size(folder.path() + "/model.safetensors");
  if (!texts.held_out.empty()) {
    LocalModel model(folder.path(), as_is);
    const Estimate after = measure(model, texts.held_out, "perplexity after");
    int64_t tokens = 0;
    for (const auto& s : texts.held_out) tokens += static_cast<int64_t>(s.size()) - 1;
    j["perplexity_before"] = before.value, j["perplexity"] = after.value;
    j["standard_error"] = after.error, j["perplexity_tokens"] = tokens, j["perplexity_text"] = texts.origin;
  }
  if (interrupted()) fail("[quantize] interrupted; nothing was written");
  folder.commit();
  j["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print(o, j);
  return 0;
}

}  // namespace

const Verb kQuantizeVerb = {"quantize", "puyu quantize IN OUT [--scheme w4a16|w4a8|w8a8] [--calibration FILE]",
                            "a model in 4 or 8 bits", run};

}  // namespace puyu
