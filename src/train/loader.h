// From token shards (and InternEvo's .bin files) to micro-batches. A step's samples are a function of seed and step
// alone: documents of a source, long ones cut into pieces, come in an order shuffled anew each epoch, the source that
// is furthest behind its share of the tokens comes next, and pieces longer than seq_len are cut there, the rest being
// that source's next sequence. micro_tokens only says how the step's sequences are grouped, so it changes memory, not
// the loss, and with several ranks each takes its share of the same sequences. The state is four integers a source.
#pragma once
#include "base/json.h"
#include "data/shard.h"
#include "train/options.h"

namespace puyu {

struct MicroBatch {
  Batch batch;
  std::vector<int32_t> target;  // the next token of the document, also across a cut; -1 at the document's end
  int64_t counted = 0;          // targets that are not -1
  std::vector<size_t> source;   // of each sequence: the number of its data source
};

// What one rank computes of a step. Ranks go through `rounds` together; one with fewer micro-batches has none in the
// last.
struct StepShare {
  std::vector<MicroBatch> micros;
  int64_t rounds = 0;   // micro-batches of the rank that has most
  int64_t counted = 0;  // targets of all ranks that are not -1
};

struct SourceState {
  int64_t epoch = 0, index = 0, offset = 0;  // next token: `offset` of the epoch's piece number `index`
  int64_t seen = 0;                          // tokens read since the run began
  int64_t taken = 0;                         // tokens read since the mixture was set
  bool operator==(const SourceState&) const = default;
  template <class F>
  void fields(F&& f) {
    f("epoch", epoch, ""), f("index", index, ""), f("offset", offset, ""), f("seen", seen, ""), f("taken", taken, "");
  }
};

class Loader {
 public:
  // Documents of more than `longest` tokens are shuffled in pieces of that length, so that a step does not see one long
  // document only; as long as the longest sequence of the run.
  Loader(const std::vector<DataSource>& sources, uint64_t seed, int64_t longest, bool verify = true);
  ~Loader();
  Loader(Loader&&) noexcept;

  // New weights, one a source (0 = not used); empty = the sources' own. What was taken under the old ones is forgotten.
  void set_mixture(const std::vector<double>& weights);
  // The next batch_tokens tokens. seq_len <= micro_tokens.
  std::vector<MicroBatch> next(int64_t batch_tokens, int64_t seq_len, int64_t micro_tokens);
  // The same tokens, of which each of `ranks` ranks gets those sequences whose middle lies in its equal share of them.
  StepShare next_share(int64_t batch_tokens, int64_t seq_len, int64_t micro_tokens, int rank, int ranks);

  const std::vector<SourceState>& state() const { return state_; }
  void restore(std::vector<SourceState> state);  // Error when it does not fit this data

  struct Info {
    std::string name;
    int64_t documents, tokens;
    double epochs;  // tokens read / tokens of the source
  };
  std::vector<Info> info() const;
  // Of all shards; Error when they differ. 0: InternEvo's files alone, which do not say.
  uint64_t tokenizer_fingerprint() const { return tokenizer_; }
  uint64_t fingerprint() const;  // of the data: names, documents, tokens
  int64_t tokens() const;
  int64_t largest_id() const;  // of all tokens; reads them all

 private:
  struct Source;
  size_t pick() const;
  MicroBatch read(int64_t tokens, int64_t seq_len);
  std::vector<Source> sources_;
  std::vector<SourceState> state_;
  std::vector<double> share_;
  uint64_t seed_, tokenizer_ = 0;
};

}  // namespace puyu
