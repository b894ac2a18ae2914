// tokenizer.json and tokenizer_config.json: the reader, its patterns, and the encoder made from them.
#include "text/tokenizer_json.h"

#include "base/error.h"
#include "fuzz.h"
#include "text/tokenizer.h"

using namespace puyu;

namespace {
std::string quoted(const std::string& s) { return Json(s).dump(); }
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::string bytes, fallback;
  for (int b = 0; b < 256; ++b) {
    bytes += cat(quoted(bytes_to_letters(std::string(1, static_cast<char>(b)))), ":", b, ",");
    fallback += cat(quoted(byte_piece(b)), ":", b, ",");
  }
  return {
      cat(R"({"added_tokens":[{"id":257,"content":"<e>","special":true,"lstrip":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":)",
          R"("Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s)|[^\\r\\n\\p{L}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s++$|\\s"},)",
          R"("behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},)",
          R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE","ignore_merges":true,"merges":["a b"],"vocab":{)",
          bytes, R"("ab":256}}})"),
      cat(R"({"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},"decoder":{"type":"Metaspace"},)",
          R"("model":{"type":"BPE","byte_fallback":true,"unk_token":"<unk>","merges":[["▁","a"]],"vocab":{)", fallback,
          R"("<unk>":256,"▁":257,"a":258,"▁a":259}}})"),
      R"({"bos_token":"<e>","eos_token":{"content":"<e>"},"add_bos_token":true,"chat_template":"[INST]"})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz_bytes(data, size);
  try {
    Vocabulary v = parse_tokenizer_json(bytes, "fuzz.json");
    const bool lossless = v.hf->byte_level && v.hf->normalize.empty();
    const Tokenizer t = Tokenizer::from(std::move(v));
    for (const char* text : {"it's 1234 déjà  vu\n <e> ab\xff", "", "  "}) {
      const auto ids = t.encode(text);
      for (int32_t id : ids) expect(id >= 0 && id < t.vocab_size());
      if (lossless) t.decode(ids);
      t.encode_with_specials(text);
    }
  } catch (const Error&) {}
  try {
    Vocabulary v;
    v.pieces = {{"<e>", 0, PieceKind::kControl}};
    v.specials = {{0, "<e>"}};
    v.hf = std::make_shared<HfBpe>();
    apply_tokenizer_config(Json::parse(bytes), "fuzz.json", v);
  } catch (const Error&) {}
  return 0;
}
