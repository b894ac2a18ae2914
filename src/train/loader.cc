#include "train/loader.h"

#include <algorithm>
#include <numeric>
#include <variant>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/internevo.h"

namespace puyu {
namespace {

// A document, or a part of a long one: tokens [begin, end) of a shard. These are what is shuffled.
struct Piece {
  uint32_t shard;
  bool last;  // the document ends here
  int64_t begin, end;
};

// A file of documents. Ids that carry no loss come as ~id.
using TokenFile = std::variant<ShardReader, InternEvoReader>;

TokenFile open_tokens(const std::string& path, bool verify) {
  if (is_internevo_data(path)) return TokenFile(std::in_place_type<InternEvoReader>, path, verify);
  return TokenFile(std::in_place_type<ShardReader>, path, verify);
}
// 0: the file does not say.
uint64_t tokenizer_of(const TokenFile& f) {
  const auto* shard = std::get_if<ShardReader>(&f);
  return shard ? shard->tokenizer_fingerprint() : 0;
}
int64_t source_of(const TokenFile& f, int64_t doc) {
  const auto* shard = std::get_if<ShardReader>(&f);
  return shard ? shard->source(doc) : 0;
}

std::vector<std::string> shard_files(const std::string& path) {
  if (!is_directory(path)) return {path};
  std::vector<std::string> out;
  for (const std::string& f : list_files(path))
    if (is_token_shard(f) || is_internevo_data(f)) out.push_back(f);
  if (out.empty())
    fail("[loader] ", path, ": no token shards (nor .bin files with .bin.meta) in this folder; ",
         "'puyu data run' makes shards");
  return out;
}

}  // namespace

struct Loader::Source {
  std::string name;
  std::vector<TokenFile> shards;
  std::vector<Piece> pieces;
  std::vector<uint32_t> order;  // of the pieces, in order_epoch
  int64_t order_epoch = -1, documents = 0, tokens = 0;
  double weight = 1;

  void add(uint32_t shard, int64_t begin, int64_t end, int64_t longest) {
    ++documents, tokens += end - begin;
    for (; end - begin > longest; begin += longest) pieces.push_back({shard, false, begin, begin + longest});
    pieces.push_back({shard, true, begin, end});
  }
  const Piece& at(const SourceState& s, uint64_t seed) {
    if (order_epoch != s.epoch) {
      order.resize(pieces.size());
      std::iota(order.begin(), order.end(), 0u);
      Rng(seed ^ hash64(name), static_cast<uint64_t>(s.epoch)).shuffle(order.begin(), order.end());
      order_epoch = s.epoch;
    }
    return pieces[order[static_cast<size_t>(s.index)]];
  }
};

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;

Loader::Loader(const std::vector<DataSource>& sources, uint64_t seed, int64_t longest, bool verify) : seed_(seed) {
  CHECK(longest > 0);
  std::string known;  // the file that said which tokenizer
  for (const DataSource& d : sources) {
    Source& s = sources_.emplace_back();
    s.name = d.name.empty() ? d.path : d.name;
    s.weight = d.weight;
    for (const std::string& path : shard_files(d.path)) {
      const TokenFile& file = s.shards.emplace_back(open_tokens(path, verify));
      const uint64_t tokenizer = tokenizer_of(file);
      if (tokenizer != 0 && tokenizer_ != 0 && tokenizer != tokenizer_)
        fail("[loader] ", path, ": made with another tokenizer than ", known, "; tokenise all data with one tokenizer");
      if (tokenizer != 0) tokenizer_ = tokenizer, known = path;
      std::visit(
          [&](const auto& docs) {
            for (int64_t i = 0; i < docs.documents(); ++i)
              if (d.source < 0 || source_of(file, i) == d.source)
                s.add(static_cast<uint32_t>(s.shards.size() - 1), docs.begin(i), docs.end(i), longest);
          },
          file);
    }
    if (s.pieces.empty()) fail("[loader] ", d.path, ": no documents with source ", d.source);
  }
  state_.resize(sources_.size());
  set_mixture({});
}

void Loader::set_mixture(const std::vector<double>& weights) {
  CHECK(weights.empty() || weights.size() == sources_.size());
  share_ = weights;
  if (share_.empty())
    for (const Source& s : sources_) share_.push_back(s.weight);
  const double sum = std::accumulate(share_.begin(), share_.end(), 0.0);
  for (size_t i = 0; i < share_.size(); ++i) share_[i] /= sum, state_[i].taken = 0;
}

// The source furthest behind its share of the tokens.
size_t Loader::pick() const {
  int64_t total = 1;
  for (const SourceState& s : state_) total += s.taken;
  auto behind = [&](size_t i) { return share_[i] * static_cast<double>(total) - static_cast<double>(state_[i].taken); };
  size_t best = share_.size();
  for (size_t i = 0; i < share_.size(); ++i)
    if (share_[i] > 0 && (best == share_.size() || behind(i) > behind(best))) best = i;
  return best;
}

// The next tokens as one batch.
MicroBatch Loader::read(int64_t tokens, int64_t seq_len) {
  MicroBatch m;
  std::vector<int32_t> ids;
  for (int64_t left = tokens; left > 0;) {
    const size_t i = pick();
    Source& source = sources_[i];
    SourceState& s = state_[i];
    const Piece piece = source.at(s, seed_);
    const int64_t length = piece.end - piece.begin, n = std::min({length - s.offset, seq_len, left});
    const bool done = s.offset + n == length, ends = done && piece.last;
    ids.resize(static_cast<size_t>(n + !ends));
    std::visit([&](const auto& docs) { docs.read(piece.begin + s.offset, n + !ends, ids.data()); },
               source.shards[piece.shard]);
    if (ends) ids.push_back(-1);
    for (size_t t = 1; t < ids.size(); ++t) {
      m.target.push_back(std::max(ids[t], -1));
      m.counted += ids[t] >= 0;
    }
    for (int32_t& id : ids) id = id < 0 ? ~id : id;
    m.batch.add(ids.data(), n);
    m.source.push_back(i);
    s.offset += n, s.seen += n, s.taken += n, left -= n;
    if (done) s.offset = 0, ++s.index;
    if (s.index == static_cast<int64_t>(source.pieces.size())) s.index = 0, ++s.epoch;
  }
  return m;
}

std::vector<MicroBatch> Loader::next(int64_t batch_tokens, int64_t seq_len, int64_t micro_tokens) {
  return next_share(batch_tokens, seq_len, micro_tokens, 0, 1).micros;
}

StepShare Loader::next_share(int64_t batch_tokens, int64_t seq_len, int64_t micro_tokens, int rank, int ranks) {
  CHECK(batch_tokens > 0 && seq_len > 0 && seq_len <= micro_tokens && 0 <= rank && rank < ranks);
  const MicroBatch all = read(batch_tokens, seq_len);
  const std::vector<int32_t>& cu = all.batch.cu;
  StepShare out;
  out.counted = all.counted;
  int64_t owner = -1, micros = 0, tokens = 0;  // of the rank whose share is being cut
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    const int64_t begin = cu[i], n = cu[i + 1] - begin, next_owner = (2 * begin + n) * ranks / (2 * batch_tokens);
    if (next_owner != owner) owner = next_owner, micros = 0, tokens = micro_tokens;
    const bool full = tokens + n > micro_tokens;
    if (full) ++micros, tokens = 0;
    tokens += n;
    out.rounds = std::max(out.rounds, micros);
    if (owner != rank) continue;
    if (full) out.micros.emplace_back();
    MicroBatch& m = out.micros.back();
    m.batch.add(all.batch.ids.data() + begin, n);
    m.source.push_back(all.source[i]);
    m.target.insert(m.target.end(), all.target.begin() + begin, all.target.begin() + begin + n);
    for (int64_t t = begin; t < begin + n; ++t) m.counted += all.target[static_cast<size_t>(t)] >= 0;
  }
  return out;
}

void Loader::restore(std::vector<SourceState> state) {
  if (state.size() != sources_.size())
    fail("[loader] the saved position has ", state.size(), " sources, the data has ", sources_.size());
  for (size_t i = 0; i < state.size(); ++i) {
    const SourceState& s = state[i];
    bool fits = s.epoch >= 0 && s.index >= 0 && s.index < static_cast<int64_t>(sources_[i].pieces.size());
    if (fits) {
      const Piece& piece = sources_[i].at(s, seed_);
      fits = s.offset >= 0 && s.offset < piece.end - piece.begin;
    }
    if (!fits) fail("[loader] the saved position does not fit the data of source '", sources_[i].name, "'");
  }
  state_ = std::move(state);
}

std::vector<Loader::Info> Loader::info() const {
  std::vector<Info> out;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const Source& s = sources_[i];
    out.push_back({s.name, s.documents, s.tokens, static_cast<double>(state_[i].seen) / static_cast<double>(s.tokens)});
  }
  return out;
}

uint64_t Loader::fingerprint() const {
  std::string all;
  for (const Source& s : sources_) all += cat(s.name, "|", s.documents, "|", s.pieces.size(), "|", s.tokens, "\n");
  return hash64(all);
}

int64_t Loader::tokens() const {
  return std::accumulate(sources_.begin(), sources_.end(), int64_t{0},
                         [](int64_t n, const Source& s) { return n + s.tokens; });
}

int64_t Loader::largest_id() const {
  int64_t most = 0;
  std::vector<int32_t> ids;
  constexpr int64_t kPiece = 1 << 16;
  for (const Source& s : sources_)
    for (const TokenFile& file : s.shards) {
      if (const auto* lines = std::get_if<InternEvoReader>(&file)) most = std::max<int64_t>(most, lines->largest_id());
      const auto* shard = std::get_if<ShardReader>(&file);
      for (int64_t at = 0; shard && at < shard->tokens(); at += kPiece) {
        ids.resize(static_cast<size_t>(std::min(kPiece, shard->tokens() - at)));
        shard->read(at, static_cast<int64_t>(ids.size()), ids.data());
        most = std::max<int64_t>(most, *std::max_element(ids.begin(), ids.end()));
      }
    }
  return most;
}

}  // namespace puyu
