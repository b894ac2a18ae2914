#include "data/encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/config.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "data/classifier_parts.h"
#include "data/encoder_parts.h"
#include "data/sealed_file.h"
#include "data/words.h"
#include "text/unicode.h"

namespace puyu {

constexpr int64_t kAddresses = int64_t{16} << 30;  // reserved, not used

namespace {

bool is_blank(char32_t c) {
  return c <= 0x20 || c == 0xa0 || c == 0x3000 || (c >= 0x2000 && c <= 0x200b) || c == 0xfeff;
}

}  // namespace

std::vector<uint64_t> encoder_pieces(std::string_view text) {
  text = text.substr(0, kMostPieces * 64);
  std::vector<uint64_t> out;
  size_t at = 0;
  auto marks_until = [&](size_t end) {
    while (at < end) {
      char32_t c = 0;
      const size_t n = decode_utf8(text, at, c);
      if (n == 0) c = 0xfffd;
      if (c == '\n' || !is_blank(c)) out.push_back(mix64(c ^ (uint64_t{1} << 40)));
      at += n ? n : 1;
    }
  };
  for (const Word& w : split_words(text)) {
    marks_until(static_cast<size_t>(w.text.data() - text.data()));
    out.push_back(w.hash);
    at += w.text.size();
  }
  marks_until(text.size());
  if (out.size() > kMostPieces) out.resize(kMostPieces);
  return out;
}

int32_t EncoderVocabulary::id(uint64_t hash) const {
  const auto it = std::lower_bound(hashes.begin(), hashes.end(), hash);
  if (it != hashes.end() && *it == hash) return kFirstOwnId + static_cast<int32_t>(it - hashes.begin());
  return 1 + static_cast<int32_t>(mix64(hash) % kRareIds);
}

std::vector<int32_t> EncoderVocabulary::ids(std::string_view text) const {
  std::vector<int32_t> out;
  for (const uint64_t h : encoder_pieces(text)) out.push_back(id(h));
  return out;
}

ModelConfig encoder_config(const EncoderOptions& o) {
  auto in = [](const char* name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      fail("[classifier] encoder.", name, ": expected ", least, " to ", most, ", got ", value);
  };
  in("hidden", o.hidden, 16, 1024), in("layers", o.layers, 1, 24), in("heads", o.heads, 1, 64);
  in("feed_forward", o.feed_forward, 16, 8192), in("vocabulary", o.vocabulary, 512, 262144);
  in("max_tokens", o.max_tokens, 8, 4096), in("batch_tokens", o.batch_tokens, o.max_tokens, 1 << 20);
  in("epochs", o.epochs, 1, 1000), in("pretrain_tokens", o.pretrain_tokens, 0, int64_t{1} << 40);
  if (o.hidden % (2 * o.heads) != 0) fail("[classifier] encoder.hidden: expected a multiple of twice the heads");
  if (o.hidden / o.heads > 256) fail("[classifier] encoder.heads: a head is at most 256 wide");
  if (!(o.masked > 0 && o.masked < 1)) fail("[classifier] encoder.masked: expected a share between 0 and 1");
  ModelConfig c;
  c.vocab_size = o.vocabulary, c.hidden_size = o.hidden, c.num_layers = o.layers;
  c.num_heads = c.num_kv_heads = o.heads, c.intermediate_size = o.feed_forward;
  c.max_position = o.max_tokens, c.rope_theta = 10000;
  return c;
}

Batch encoder_batch() {
  Batch b;
  b.causal = false;
  return b;
}

EncoderNet::EncoderNet(const ModelConfig& c, const EncoderOptions& o)
    : scratch("encoder scratch", kAddresses),
      activations("encoder", kAddresses),
      ctx{Device::kCpu, &scratch},
      weights(make_weights(c, Head::kValue, DType::kF32)),
      max_tokens_(o.max_tokens),
      tables_("rope", o.max_tokens * c.hd() * 4 + 4096),
      rope_(make_rope_table(tables_, c, o.max_tokens)) {}

std::vector<double> EncoderNet::pooled(const Batch& b, Tensor hidden) const {
  const int64_t D = weights.config.hidden_size;
  const float* h = hidden.as<float>();
  std::vector<double> out((b.cu.size() - 1) * static_cast<size_t>(D));
  for (size_t s = 0; s + 1 < b.cu.size(); ++s) {
    double* sum = out.data() + s * static_cast<size_t>(D);
    for (int64_t t = b.cu[s]; t < b.cu[s + 1]; ++t)
      for (int64_t i = 0; i < D; ++i) sum[i] += double{h[t * D + i]};
    for (int64_t i = 0; i < D; ++i) sum[i] /= std::max(1, b.cu[s + 1] - b.cu[s]);
  }
  return out;
}

std::vector<double> EncoderNet::margins(const Batch& b) {
  ScratchScope scope(activations);
  Tensor hidden = model_forward(ctx, activations, weights, b.ids.data(), b.tokens(), sequences(b), nullptr);
  const std::vector<double> means = pooled(b, hidden);
  const float* head = weights.output().as<float>();
  const auto D = static_cast<size_t>(weights.config.hidden_size);
  std::vector<double> out(b.cu.size() - 1);
  for (size_t s = 0; s < out.size(); ++s)
    for (size_t i = 0; i < D; ++i) out[s] += means[s * D + i] * double{head[i]};
  return out;
}

double EncoderNet::margin(const std::vector<int32_t>& ids) {
  const auto n = static_cast<int64_t>(ids.size()),
             windows = std::min(kMostWindows, (n + max_tokens_ - 1) / max_tokens_);
  if (n == 0) return 0;
  Batch b = encoder_batch();
  for (int64_t w = 0; w < windows; ++w) {
    const int64_t begin = windows == 1 ? 0 : w * (n - max_tokens_) / (windows - 1);
    b.add(ids.data() + begin, std::min(n, max_tokens_));
  }
  double sum = 0;
  for (const double m : margins(b)) sum += m;
  return sum / static_cast<double>(windows);
}

struct EncoderClassifier::State {
  SealedFile file;
  Json info;
  EncoderVocabulary vocabulary;
  Calibration calibration;
  std::unique_ptr<EncoderNet> net;
  std::mutex mutex;
  explicit State(const std::string& path)
      : file(path, kEncoderMagic, 1, "puyu data train-classifier --model encoder") {}
};

EncoderClassifier::~EncoderClassifier() = default;
const Json& EncoderClassifier::info() const { return state_->info; }
uint64_t EncoderClassifier::checksum() const { return state_->file.checksum(); }

EncoderClassifier::EncoderClassifier(const std::string& path) : state_(std::make_unique<State>(path)) {
  State& s = *state_;
  const uint64_t text = s.file.field(0), points = s.file.field(1), words = s.file.field(2), floats = s.file.field(3);
  const std::string_view body = s.file.body();
  const uint64_t padded = text > body.size() ? body.size() : (text + 7) / 8 * 8;
  if (text > body.size() || points < 1 || points > body.size() / 16 || words > body.size() / 8 ||
      floats > body.size() / 4 || padded + points * 16 + words * 8 + floats * 4 != body.size())
    s.file.damaged("its parts do not add up to its size");
  s.info = Json::parse(body.substr(0, text), path);
  const char* at = body.data() + padded;
  for (uint64_t i = 0; i < points; ++i, at += 16)
    s.calibration.points.emplace_back(load_at<double>(at), load_at<double>(at + 8));
  for (size_t i = 0; i < points; ++i) {
    const auto [m, p] = s.calibration.points[i];
    const bool rises = points == 1 || (p >= 0 && p <= 1 && (i == 0 || m > s.calibration.points[i - 1].first));
    if (!(std::abs(m) < 1e100) || !(std::abs(p) < 1e100) || !rises)
      s.file.damaged("its calibration is no rising function");
  }
  for (uint64_t i = 0; i < words; ++i, at += 8) s.vocabulary.hashes.push_back(load_at<uint64_t>(at));
  if (!std::is_sorted(s.vocabulary.hashes.begin(), s.vocabulary.hashes.end()))
    s.file.damaged("its vocabulary is not in order");
  EncoderOptions o;
  const Json* shape = s.info.is_object() ? s.info.find("encoder") : nullptr;
  if (!shape || !shape->is_object()) s.file.damaged("it does not tell its shape");
  o.hidden = shape->get("hidden", int64_t{0}), o.layers = shape->get("layers", int64_t{0});
  o.heads = shape->get("heads", int64_t{0}), o.feed_forward = shape->get("feed_forward", int64_t{0});
  o.vocabulary = shape->get("vocabulary", int64_t{0}), o.max_tokens = shape->get("max_tokens", int64_t{0});
  o.batch_tokens = o.max_tokens;
  const ModelConfig config = encoder_config(o);
  const FlatLayout layout = flat_layout(config, Head::kValue);
  uint64_t wanted = 0;
  for (const FlatTensor& f : layout.tensors) wanted += static_cast<uint64_t>(f.elements());
  if (wanted != floats || words + kFirstOwnId > static_cast<uint64_t>(o.vocabulary))
    s.file.damaged("its weights are not those of its shape");
  s.net = std::make_unique<EncoderNet>(config, o);
  s.net->weights.master.tensors.each(config, Head::kValue, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    std::memcpy(t.data, at, static_cast<size_t>(t.nbytes()));
    at += t.nbytes();
    const float* p = t.as<float>();
    if (!std::all_of(p, p + t.numel(), [](float x) { return std::isfinite(x); }))
      s.file.damaged(name + " holds what is not finite");
  });
}

double EncoderClassifier::score(std::string_view text) const {
  const std::vector<int32_t> ids = state_->vocabulary.ids(text);
  const std::lock_guard lock(state_->mutex);
  return state_->calibration.apply(state_->net->margin(ids));
}

}  // namespace puyu
