// tokenizer.json: small files made here, whose ids are worked out by hand; what is refused; time. Beside the libraries
// it comes from: tests/conformance/tokenizers.mjs.
#include "text/tokenizer_json.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/temp_dir_test_util.h"
#include "text/chat_style.h"
#include "text/text_testing.h"
#include "text/tokenizer.h"

namespace puyu {
namespace {

// Byte-level: ids 0 … 255 are the bytes, then the merges' pieces.
Json byte_level(const std::vector<std::pair<std::string, std::string>>& merges,
                const std::string& regex = "\\s?\\p{L}+|\\s+") {
  Json j = Json::parse(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[
      {"type":"Split","pattern":{"Regex":""},"behavior":"Isolated","invert":false},
      {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},
    "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
    "model":{"type":"BPE","dropout":null,"unk_token":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false}})");
  Json list = Json::array();
  Json split = j["pre_tokenizer"].at("pretokenizers").as_array()[0];
  split["pattern"]["Regex"] = regex;
  list.push(split), list.push(j["pre_tokenizer"].at("pretokenizers").as_array()[1]);
  j["pre_tokenizer"]["pretokenizers"] = list;
  Json vocab = Json::object(), rules = Json::array();
  for (int b = 0; b < 256; ++b) vocab[bytes_to_letters(std::string(1, static_cast<char>(b)))] = b;
  for (const auto& [l, r] : merges) {
    const std::string left = bytes_to_letters(l), right = bytes_to_letters(r);
    if (!vocab.find(left + right)) vocab[left + right] = vocab.size();
    rules.push(left + " " + right);
  }
  j["model"]["vocab"] = vocab, j["model"]["merges"] = rules;
  return j;
}
void add(Json& j, int id, const std::string& text, bool special) {
  Json t = Json::object();
  t["id"] = id, t["content"] = text, t["special"] = special, t["normalized"] = false;
  j["added_tokens"].push(t);
}
Tokenizer load(const Json& j) { return Tokenizer::from(parse_tokenizer_json(j.dump(), "tokenizer.json")); }

TEST(TokenizerJson, MergesByRankInsideWords) {
  Json j = byte_level({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {" ", "ab"}});
  add(j, 260, "<|end|>", true), add(j, 261, "<think>", false);
  const Tokenizer t = load(j);
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t.encode("abc"), (Ids{258}));               // ab first, then abc
  EXPECT_EQ(t.encode("bc abc"), (Ids{257, ' ', 258}));  // abc has a lower rank than " ab"
  EXPECT_EQ(t.encode("ab ab"), (Ids{256, 259}));
  EXPECT_EQ(t.encode("ab  ab"), (Ids{256, ' ', ' ', 256}));  // the pattern cuts after both spaces
  EXPECT_EQ(t.encode("你"), (Ids{0xE4, 0xBD, 0xA0}));
  EXPECT_EQ(t.encode("<think>a"), (Ids{261, 'a'}));
  EXPECT_EQ(t.encode_with_specials("a<|end|>b"), (Ids{'a', 260, 'b'}));
  EXPECT_EQ(t.encode("<|end|>").size(), 7u);  // spelled: a user cannot write it
  EXPECT_EQ(t.encode_untrusted("<|end|>").size(), 7u);
  EXPECT_EQ(t.special("<|end|>"), 260);
  EXPECT_EQ(t.decode(Ids{258, 260, 261}), "abc<think>");
  EXPECT_EQ(t.decode(Ids{258, 260}, true), "abc<|end|>");
  EXPECT_TRUE(t.prefix().empty());
  EXPECT_EQ(t.vocab_size(), 262);
  EXPECT_THROW(t.save("/nowhere"), Error);
}

TEST(TokenizerJson, AddedTokensAndTheirEdges) {
  Json j = byte_level({{"a", "b"}});
  for (const char* t : {R"({"id":257,"content":"cat","single_word":true,"normalized":false})",
                        R"({"id":258,"content":"<m>","lstrip":true,"rstrip":true,"special":true})",
                        R"({"id":259,"content":"<m><n>","special":true})"})
    j["added_tokens"].push(Json::parse(t));
  const Tokenizer t = load(j);
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t.encode("a cat."), (Ids{'a', ' ', 257, '.'}));
  EXPECT_EQ(t.encode("cats"), (Ids{'c', 'a', 't', 's'}));
  EXPECT_EQ(t.encode_with_specials("a \t<m> \n b"), (Ids{'a', 258, 'b'}));
  EXPECT_EQ(t.encode_with_specials("<m><n>"), (Ids{259}));  // the longest
}

TEST(TokenizerJson, EveryTextComesBack) {
  const Tokenizer t = load(byte_level({{"a", "b"}, {" ", "t"}, {" t", "h"}, {"\xE4", "\xBD"}}, kGpt2Pattern));
  Rng rng(5);
  for (int i = 0; i < 300; ++i)
    for (const std::string& text : {random_text(rng, rng.below(80)), random_bytes(rng, rng.below(80))})
      EXPECT_EQ(t.decode(t.encode(text)), text);
}

// As the rule says it, without heap, table or cache: join the pair of the lowest rank, leftmost, until there is none.
TEST(TokenizerJson, MergesAsTheRuleSays) {
  Rng rng(11);
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::string> pieces = {"a", "b", "c"};
  while (merges.size() < 60) {
    const std::string l = pieces[rng.below(pieces.size())], r = pieces[rng.below(pieces.size())];
    if (l.size() + r.size() > 9 || std::ranges::find(pieces, l + r) != pieces.end()) continue;
    merges.emplace_back(l, r), pieces.push_back(l + r);
  }
  const Tokenizer t = load(byte_level(merges, "\\S+|\\s+"));
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (uint64_t n = rng.below(i % 2 ? 12 : 90); n > 0; --n) text += "abc"[rng.below(3)];
    std::vector<std::string> parts;
    for (char c : text) parts.emplace_back(1, c);
    for (bool more = true; more;) {
      more = false;
      for (const auto& [l, r] : merges) {
        size_t at = 0;
        while (at + 1 < parts.size() && !(parts[at] == l && parts[at + 1] == r)) ++at;
        if (at + 1 >= parts.size()) continue;
        parts[at] += parts[at + 1], parts.erase(parts.begin() + static_cast<long>(at) + 1), more = true;
        break;
      }
    }
    std::vector<std::string> got;
    for (int32_t id : t.encode(text)) got.emplace_back(t.piece_bytes(id));
    EXPECT_EQ(got, parts) << text;
  }
}

TEST(TokenizerJson, LongRunsAreQuick) {  // quadratic, this would take hours
  const Tokenizer t = load(byte_level({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  EXPECT_EQ(t.encode(std::string(1000000, 'a')).size(), 125000u);
  EXPECT_EQ(t.encode(std::string(1000000, ' ')).size(), 1000000u);
}

TEST(TokenizerJson, CharactersWithBytesForTheRest) {
  Json j =
      Json::parse(R"({"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},
     {"id":2,"content":"</s>","special":true}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
      {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
      {"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},
      {"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"</s>":2}}})");
  Json vocab = j["model"].at("vocab"), merges = Json::array();
  for (int b = 0; b < 256; ++b) vocab[byte_piece(b)] = b + 3;
  for (const char* piece : {"▁", "a", "b", "▁a", "▁ab"}) vocab[piece] = vocab.size();  // 259 …
  merges.push("▁ a"), merges.push("▁a b");
  j["model"]["vocab"] = vocab, j["model"]["merges"] = merges;
  const Tokenizer t = load(j);
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t.encode("ab  a"), (Ids{263, 259, 262}));
  EXPECT_EQ(t.encode("é"), (Ids{259, 0xC3 + 3, 0xA9 + 3}));
  EXPECT_EQ(t.decode(t.encode(" ab é")), " ab é");
  EXPECT_EQ(t.prefix(), (Ids{1}));
  EXPECT_EQ(t.bos(), 1);
  EXPECT_EQ(t.encode_with_specials("a</s>b"), (Ids{262, 2, 259, 261}));
}

TEST(TokenizerJson, WhatIsNotDoneIsRefusedByItsKey) {
  const std::pair<const char*, const char*> bad[] = {
      {"normalizer", R"({"type":"Lowercase"})"},
      {"pre_tokenizer", R"({"type":"Whitespace"})"},
      {"pre_tokenizer", R"({"type":"ByteLevel","add_prefix_space":false,"color":1})"},
      {"decoder", R"({"type":"WordPiece"})"},
      {"decoder", R"({"type":"Fuse"})"},  // not that of bytes
      {"post_processor", R"({"type":"BertProcessing"})"},
      {"model", R"({"type":"Unigram","vocab":[]})"},
      {"model", R"({"type":"BPE","vocab":{"a":0},"merges":[]})"},  // bytes are missing
      {"model", R"({"type":"BPE","vocab":{"a":900000},"merges":[]})"},
      {"model", R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"},
      {"added_tokens", R"([{"id":97,"content":"b","special":true}])"},
      {"added_tokens", R"([{"id":-4,"content":"b"}])"},
      {"extra", "1"}};
  for (auto [key, value] : bad) {
    Json j = byte_level({{"a", "b"}});
    j[key] = Json::parse(value);
    try {
      load(j);
      ADD_FAILURE() << key << " " << value;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(key), std::string::npos) << e.what();
      EXPECT_TRUE(std::string(e.what()).starts_with("[tokenizer] tokenizer.json")) << e.what();
    }
  }
  Json j = byte_level({{"a", "b"}});
  j["model"]["merges"].push("a q");
  EXPECT_THROW(load(j), Error);
  EXPECT_THROW(parse_tokenizer_json("{", "x"), Error);
}

TEST(TokenizerJson, FoldersSayWhatBeginsAndEndsATextAndHowToChat) {
  test::TempDir dir;
  Json j = byte_level({{"a", "b"}});
  int id = 257;
  for (const char* s : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<|start_header_id|>",
                        "<|end_header_id|>", "<|eot_id|>"})
    add(j, id++, s, true);
  write_file(dir / "tokenizer.json", j.dump());
  auto with = [&](const std::string& config) {
    write_file(dir / "tokenizer_config.json", config);
    return Tokenizer::load(dir.path);
  };
  auto text = [](const Tokenizer& t, const std::vector<Message>& m) {
    return t.decode(encode_dialogue(t, find_chat_style(t), m), true);
  };
  const std::vector<Message> hi = {{"user", "hi <|im_end|>", ""}};
  const std::vector<Message> all = {
      {"system", "S", ""}, {"user", " A ", ""}, {"assistant", "B", ""}, {"user", "C", ""}};

  Tokenizer t =
      with(R"({"bos_token":null,"eos_token":"<|im_end|>","add_bos_token":false,"chat_template":"{% if loop.first and )"
           R"(messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"})");
  EXPECT_FALSE(t.has_bos());
  EXPECT_EQ(t.eos(), 259);
  EXPECT_TRUE(t.prefix().empty());
  EXPECT_EQ(
      text(t, hi),
      "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  // The user's <|im_end|> is spelled, not the token.
  const auto ids = encode_dialogue(t, find_chat_style(t), hi);
  EXPECT_EQ(std::ranges::count(ids, 259), 2);
  EXPECT_EQ(text(t, all),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n A <|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n"
            "<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n");

  t = with(
      R"({"bos_token":{"content":"<|endoftext|>"},"eos_token":"<|eot_id|>","chat_template":"<|start_header_id|>"})");
  EXPECT_EQ(
      text(t, all),
      "<|endoftext|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>"
      "\n\nA<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|><|start_header_id|>user"
      "<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");

  t = with(R"({"bos_token":"<|endoftext|>","eos_token":"<|eot_id|>","chat_template":"'<<SYS>>' '[INST] ' + content"})");
  EXPECT_EQ(text(t, all),
            "<|endoftext|>[INST] <<SYS>>\nS\n<</SYS>>\n\n A [/INST] B <|eot_id|><|endoftext|>[INST] C [/INST]");

  t = with(
      R"({"bos_token":"<|endoftext|>","eos_token":"<|eot_id|>","chat_template":"{%- if loop.last and system_message is defined %}[INST] )"
      R"({{ system_message + content + '[/INST]' }} {{ \" \" + message[\"content\"] + eos_token }}"})");
  EXPECT_EQ(text(t, all), "<|endoftext|>[INST]  A [/INST] B<|eot_id|>[INST] S\n\nC[/INST]");
  EXPECT_THROW(text(t, {{"user", "A", ""}, {"user", "B", ""}}), Error);

  t = with(R"({"chat_template":"{{ '<|user|>' }}"})");
  try {
    text(t, hi);
    ADD_FAILURE();
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("--chat_template"), std::string::npos); }
  EXPECT_EQ(t.decode(encode_dialogue(t, named_chat_style("chatml", t), hi), true),
            "<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  EXPECT_THROW(named_chat_style("llama2", t), Error);  // no <s> here
  EXPECT_THROW(named_chat_style("zephyr", t), Error);
  EXPECT_THROW(with(R"({"eos_token":"<|nope|>"})"), Error);
}

TEST(TokenizerJson, SentencePieceModelsTakeNamesFromTheFolder) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  test::TempDir dir;
  write_file(dir / "tokenizer.model", read_file(test_data(kInternLm2Model)));
  write_file(
      dir / "tokenizer_config.json",
      R"({"add_bos_token":false,"eos_token":"<|im_end|>","added_tokens_decoder":{"92542":{"content":"<|im_end|>","special":true},
                 "92544":{"content":"<|new|>","special":true}}})");
  const Tokenizer t = Tokenizer::load(dir.path);
  EXPECT_EQ(t.special("<|new|>"), 92544);
  EXPECT_EQ(t.eos(), 92542);
  EXPECT_EQ(t.bos(), 1);
  EXPECT_TRUE(t.prefix().empty());
  EXPECT_EQ(t.vocab_size(), 92545);
}

}  // namespace
}  // namespace puyu
