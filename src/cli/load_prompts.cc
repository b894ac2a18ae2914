#include "cli/load_prompts.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/signal.h"
#include "serve/remote_generator.h"

namespace puyu {
namespace {

constexpr const char* kPassage =
    "In the evening the reader opens the old book and follows the river from the mountains to the sea, past mills, "
    "bridges and quiet towns, until the lamps are lit and the story ends where it began. 从前有一座山，山里有一条河，"
    "河边的人们每天清晨出门，傍晚回家，把一天的故事讲给孩子听。How many stones does a bridge need, and who carried "
    "them? 答案写在最后一页，可是没有人读到那里。";

Json ask_server(const Url& api, const std::string& api_key, const std::string& what, const Json& body) {
  const ClientReply r =
      HttpClient(api).call({"POST", beside_v1(api, what), body.dump(), json_headers(api_key)}, interrupted);
  if (!r.error.empty() || r.status != 200)
    fail("[bench] POST ", what, ": ", what_went_wrong(r), "; give --tokenizer MODEL where the server has no ", what);
  return Json::parse(r.body, what);
}

int64_t length(const RandomLengths& l, int64_t longest, Rng& rng) {
  const int64_t shortest = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(longest) * l.range_ratio));
  return shortest + static_cast<int64_t>(rng.below(static_cast<uint64_t>(longest - shortest + 1)));
}

struct Turns {
  const std::string *question, *answer;
};

// The first two turns of each conversation that has them.
std::vector<Turns> first_turns(const Json& file, const std::string& path) {
  if (!file.is_array()) fail("[bench] ", path, ": expected a list of conversations, got ", file.type_name());
  std::vector<Turns> out;
  for (size_t i = 0; i < file.size(); ++i) {
    const Json* turns = file.as_array()[i].find("conversations");
    if (!turns || !turns->is_array())
      fail("[bench] ", path, ": entry ", i, ": expected {\"conversations\": [{\"from\", \"value\"}, ...]}");
    if (turns->size() < 2) continue;
    auto value = [&](size_t turn) {
      const Json* v = turns->as_array()[turn].find("value");
      if (!v || !v->is_string())
        fail("[bench] ", path, ": entry ", i, ": turn ", turn, ": expected a text as \"value\"");
      return &v->as_string();
    };
    out.push_back({value(0), value(1)});
  }
  return out;
}

}  // namespace

TokenSource local_tokens(const Tokenizer& t) {
  return {[&t](const std::string& text) {
            std::vector<int32_t> ids = t.encode_untrusted(text);
            ids.insert(ids.begin(), t.bos());
            return ids;
          },
          [&t](const std::vector<int32_t>& ids) { return t.decode(ids); }};
}

TokenSource server_tokens(const Url& api, const std::string& api_key) {
  return {[=](const std::string& text) {
            Json body = Json::object();
            body["prompt"] = text;
            std::vector<int32_t> ids;
            const Json answer = ask_server(api, api_key, "/tokenize", body);
            for (const Json& id : answer.at("tokens").as_array()) ids.push_back(static_cast<int32_t>(id.as_int()));
            return ids;
          },
          [=](const std::vector<int32_t>& ids) {
            Json body = Json::object();
            body["tokens"] = Json::array();
            for (int32_t id : ids) body["tokens"].push(id);
            return ask_server(api, api_key, "/detokenize", body).at("prompt").as_string();
          }};
}

std::vector<LoadPrompt> random_prompts(const TokenSource& tokens, const RandomLengths& lengths, int64_t n,
                                       int64_t seed) {
  std::vector<int32_t> pool = tokens.encode(kPassage);
  pool.erase(pool.begin());  // <s>
  Rng rng(static_cast<uint64_t>(seed));
  std::vector<LoadPrompt> out(static_cast<size_t>(n));
  for (LoadPrompt& p : out) {
    p.ids.resize(static_cast<size_t>(length(lengths, lengths.input, rng)));
    p.output_tokens = length(lengths, lengths.output, rng);
    for (int32_t& id : p.ids) id = pool[rng.below(pool.size())];
  }
  return out;
}

std::vector<LoadPrompt> sharegpt_prompts(const std::string& path, const TokenSource& tokens, int64_t output_tokens,
                                         int64_t n, int64_t seed) {
  const Json file = Json::parse(read_file(path), path);
  std::vector<Turns> turns = first_turns(file, path);
  Rng(static_cast<uint64_t>(seed)).shuffle(turns.begin(), turns.end());
  std::vector<LoadPrompt> out;
  for (const Turns& t : turns) {
    if (static_cast<int64_t>(out.size()) == n) break;
    const auto prompt = static_cast<int64_t>(tokens.encode(*t.question).size());
    const int64_t answer = output_tokens > 0 ? output_tokens : static_cast<int64_t>(tokens.encode(*t.answer).size());
    if (prompt < 4 || answer < 4) continue;
    if (prompt > 1024 || (prompt + answer > 2048 && output_tokens == 0)) continue;
    out.push_back({{}, *t.question, answer});
  }
  return out;
}

}  // namespace puyu
