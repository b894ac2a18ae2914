#include "serve/pooled.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>

namespace puyu {
namespace {

constexpr size_t kMaxInputs = 2048;  // OpenAI's

void check_count(const Json& list) {
  if (list.size() == 0) refuse("input", "expected at least one, got an empty list");
  if (list.size() > kMaxInputs) refuse("input", cat("expected at most ", kMaxInputs, " a request, got ", list.size()));
}

std::vector<int32_t> text_ids(const Tokenizer& t, const Json& v, const std::string& field) {
  if (text(v, field).empty()) refuse(field, "expected a text that is not empty");
  std::vector<int32_t> ids = t.encode_untrusted(v.as_string());
  ids.insert(ids.begin(), t.bos());
  return ids;
}

// A text, its ids, or a list of either.
std::vector<std::vector<int32_t>> embedding_inputs(const Json& v, const Tokenizer& t) {
  if (v.is_string()) return {text_ids(t, v, "input")};
  if (!v.is_array()) refuse("input", cat("expected text, token ids, or a list of them, got ", v.type_name()));
  if (v.size() > 0 && v.as_array()[0].is_number()) return {read_ids(v, "input")};
  check_count(v);
  std::vector<std::vector<int32_t>> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& item = v.as_array()[i];
    const std::string field = cat("input[", i, "]");
    out.push_back(item.is_array() ? read_ids(item, field) : text_ids(t, item, field));
  }
  return out;
}

// A chat, or a list of chats. As the reward models of InternLM2 read them: the template, then <|reward|>.
std::vector<std::vector<int32_t>> score_inputs(const Json& v, const Tokenizer& t) {
  if (!v.is_array()) refuse("input", cat("expected a chat or a list of chats, got ", v.type_name()));
  check_count(v);
  const bool one = v.as_array()[0].is_object();
  std::vector<std::vector<int32_t>> out;
  for (size_t i = 0; i < (one ? 1 : v.size()); ++i) {
    const std::vector<Message> chat =
        one ? read_messages(v, "input") : read_messages(v.as_array()[i], cat("input[", i, "]"));
    out.push_back(encode_chat(t, chat, false));
    out.back().push_back(t.special("<|reward|>"));
  }
  return out;
}

const Json& input(const Json& body) {
  const Json* v = body.find("input");
  if (!v || v->is_null()) refuse("input", "missing");
  return *v;
}

// The fewest digits that give the same float again.
std::string digits(float v) {
  if (!std::isfinite(v)) return "null";
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, v).ptr};
}

std::string body_of(const PooledRequest& r, const char* object, const char* field,
                    const std::function<std::string(size_t)>& value) {
  std::string out = R"({"object":"list","data":[)";
  size_t tokens = 0;
  for (size_t i = 0; i < r.inputs.size(); ++i) {
    tokens += r.inputs[i].size();
    out += cat(i ? "," : "", R"({"object":")", object, R"(","index":)", i, ",\"", field, "\":", value(i), "}");
  }
  return out + cat("],\"model\":", Json(r.model).dump(), R"(,"usage":{"prompt_tokens":)", tokens, R"(,"total_tokens":)",
                   tokens, "}}");
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) word = word << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

PooledRequest parse_embeddings(std::string_view body, const ModelNames& models, const Tokenizer& t, int64_t hidden) {
  const Json j = parse_body(body);
  PooledRequest r;
  r.model = read_model(j, models);
  for (const auto& [key, value] : j.as_object()) {
    if (value.is_null() || key == "model" || key == "input" || read_turn(key, value, r.turn)) continue;
    if (key == "encoding_format") {
      r.base64 = text(value, key) == "base64";
      if (!r.base64 && value.as_string() != "float") refuse(key, "expected \"float\" or \"base64\"");
    } else if (key == "dimensions") {
      if (integer(value, key, 1, std::numeric_limits<int32_t>::max()) != hidden)
        refuse(key, cat("this model's embeddings have ", hidden, " numbers and are not made to be cut"));
    } else {
      refuse(key, "unknown field of an embedding");
    }
  }
  r.inputs = embedding_inputs(input(j), t);
  return r;
}

PooledRequest parse_score(std::string_view body, const ModelNames& models, const Tokenizer& t) {
  const Json j = parse_body(body);
  PooledRequest r;
  r.model = read_model(j, models);
  for (const auto& [key, value] : j.as_object())
    if (!value.is_null() && key != "model" && key != "input" && !read_turn(key, value, r.turn))
      refuse(key, "unknown field of a score");
  r.inputs = score_inputs(input(j), t);
  return r;
}

std::string embeddings_body(const PooledRequest& r, std::span<const std::vector<float>> vectors) {
  static_assert(std::endian::native == std::endian::little);
  return body_of(r, "embedding", "embedding", [&](size_t i) {
    const std::vector<float>& v = vectors[i];
    if (r.base64) return '"' + base64({reinterpret_cast<const char*>(v.data()), v.size() * sizeof(float)}) + '"';
    std::string out = "[";
    for (size_t d = 0; d < v.size(); ++d) out += (d ? "," : "") + digits(v[d]);
    return out + "]";
  });
}

std::string score_body(const PooledRequest& r, std::span<const std::vector<float>> values) {
  return body_of(r, "score", "score", [&](size_t i) { return digits(values[i].at(0)); });
}

}  // namespace puyu
