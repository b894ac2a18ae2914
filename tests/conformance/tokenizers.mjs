// Ids of tokenizer.json and of tiktoken's encodings beside Hugging Face's own tokenizers (npm @huggingface/tokenizers) and
// OpenAI's (npm tiktoken). The files are made here: real ranks of cl100k in the shapes of LLaMA 3, Qwen2 and GPT-2, and
// small vocabularies of characters in those of LLaMA 2 and Mistral.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync, mkdtempSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Tokenizer } from "@huggingface/tokenizers";

const require = createRequire(import.meta.url);
const { get_encoding } = require("tiktoken");
const { bpe_ranks, pat_str } = JSON.parse(readFileSync(require.resolve("tiktoken/encoders/cl100k_base.json")));
const scratch = mkdtempSync(join(tmpdir(), "puyu_tokenizers_"));

// [bytes, rank] of cl100k.
const ranks = [];
for (const line of bpe_ranks.split("\n").filter(Boolean)) {
  const [, offset, ...tokens] = line.split(" ");
  tokens.forEach((t, i) => ranks.push([Buffer.from(t, "base64"), Number(offset) + i]));
}
const letters = (() => {
  const out = [];
  let next = 256;
  for (let b = 0; b < 256; ++b) out.push(String.fromCodePoint((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++));
  return (bytes) => [...bytes].map((b) => out[b]).join("");
})();

// As transformers converts tiktoken's files: every pair that makes a piece, by rank.
function byteLevel(size, { asPairs = false } = {}) {
  const vocab = {}, merges = [];
  const known = new Map(ranks.slice(0, size).map(([bytes, rank]) => [bytes.toString("latin1"), rank]));
  for (const [bytes, rank] of ranks.slice(0, size)) {
    vocab[letters(bytes)] = rank;
    const text = bytes.toString("latin1"), local = [];
    for (let i = 1; i < text.length; ++i)
      if (known.has(text.slice(0, i)) && known.has(text.slice(i)))
        local.push([known.get(text.slice(0, i)), known.get(text.slice(i)), i]);
    local.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [, , i] of local) {
      const pair = [letters(bytes.subarray(0, i)), letters(bytes.subarray(i))];
      merges.push(asPairs ? pair : pair.join(" "));
    }
  }
  return { vocab, merges };
}
const added = (id, content, more = {}) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...more });
const LLAMA3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const model = (m) => ({ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, ...m });
const whole = (m) => ({ version: "1.0", truncation: null, padding: null, normalizer: null, post_processor: null, ...m });

const llama3 = whole({
  added_tokens: [added(20000, "<|begin_of_text|>"), added(20001, "<|eot_id|>"), added(20002, "<tool>", { special: false }), added(20003, "<|pad|>", { lstrip: true, rstrip: true })],
  pre_tokenizer: { type: "Sequence", pretokenizers: [split(LLAMA3), bytes] },
  post_processor: {
    type: "Sequence",
    processors: [{ ...bytes, use_regex: true }, { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<|begin_of_text|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: { "<|begin_of_text|>": { id: "<|begin_of_text|>", ids: [20000], tokens: ["<|begin_of_text|>"] } } }],
  },
  decoder: { ...bytes, use_regex: true },
  model: model({ ignore_merges: true, ...byteLevel(20000) }),
});
const qwen2 = whole({
  added_tokens: [added(30000, "<|endoftext|>"), added(30001, "<|im_start|>"), added(30002, "<|im_end|>")],
  normalizer: { type: "NFC" },
  pre_tokenizer: { type: "Sequence", pretokenizers: [split(LLAMA3.replace("{1,3}", "")), bytes] },
  post_processor: bytes,
  decoder: bytes,
  model: model({ unk_token: null, continuing_subword_prefix: "", end_of_word_suffix: "", ...byteLevel(30000, { asPairs: true }) }),
});
const gpt2 = whole({
  added_tokens: [added(5000, "<|endoftext|>", { normalized: true })],
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true },
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true },
  model: model({ ...byteLevel(5000) }),
});

// Characters with byte fallback; merges learnt from a text by counting.
function characters() {
  const text = ("▁the cat sat on the mat, and hello there! 大模型从原始文本到对话，大模型很大。 Straße déjà vu " + "aaaa aaa ").repeat(3).replaceAll(" ", "▁");
  const vocab = { "<unk>": 0, "<s>": 1, "</s>": 2 }, merges = [];
  for (let b = 0; b < 256; ++b) vocab[`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`] = b + 3;
  for (const c of new Set(text)) vocab[c] = Object.keys(vocab).length;
  let words = text.split(/(?=▁)/u).map((w) => [...w]);
  while (merges.length < 120) {
    const counts = new Map();
    for (const w of words) for (let i = 0; i + 1 < w.length; ++i) counts.set(w[i] + " " + w[i + 1], (counts.get(w[i] + " " + w[i + 1]) ?? 0) + 1);
    const best = [...counts].sort((a, b) => b[1] - a[1])[0];
    if (!best) break;
    const [l, r] = best[0].split(" ");
    merges.push(best[0]);
    vocab[l + r] ??= Object.keys(vocab).length;
    words = words.map((w) => w.reduce((out, c) => (out.at(-1) === l && c === r ? out.splice(-1, 1, l + r) : out.push(c), out), []));
  }
  return { vocab, merges };
}
const sp = model({ unk_token: "<unk>", fuse_unk: true, byte_fallback: true, ...characters() });
const spDecoder = { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }] };
const spAdded = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")];
const llama2 = whole({
  added_tokens: spAdded,
  normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, { type: "Replace", pattern: { String: " " }, content: "▁" }] },
  pre_tokenizer: null, decoder: spDecoder, model: sp,
});
const mistral = whole({
  added_tokens: spAdded,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
  decoder: spDecoder, model: sp,
});
const metaspace = whole({
  added_tokens: spAdded,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
  decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true }] },
  model: sp,
});

// A few characters of everything that has ever broken a tokenizer; the same numbers in every run. Left out: U+0085 and
// U+FEFF, which JavaScript's \s takes differently from Unicode's White_Space and so from the tokenizers of Rust.
let seed = 7;
const below = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
const bits = [" ", "  ", "     ", "\n", "\r\n", "\n\n", "\t", " \n ", "0", "12", "345", "20241", "▁", "the", " the", "a", "aa", "ing", " of", "Hello", "don't", "I'LL", "'s", "'ſ", "==", "::", "();\n", "</", "你", "你好", "世界", "，", "。", "——", "…", "Ａ", "ａ", "𠮷", "😀", "é", "e\u0301", "ß", "я", "ア", "한", "\u1112\u1161\u11ab", "�", "<s>", "</s>", "<|im_start|>", "<|eot_id|>", "<tool>", " <|pad|>  ", "word", "words", "<0x41>", "\u00a0", "\u200d", "龘", "ⅷ", "²", "\x7f", "\x01", "cat", "mat,", "大模型"];
const texts = ["", " ", "a", "a".repeat(3000), " ".repeat(300), "hello world", "  two  spaces ", "<s>[INST] Hi [/INST]", "<s> a</s>b"];
for (let i = 0; i < 400; ++i) {
  let text = "";
  for (let n = 1 + below(30); n > 0; --n) text += bits[below(bits.length)];
  texts.push(text);
}

function puyu(args, lines) {
  const out = execFileSync(process.env.PUYU, ["tokenizer", ...args], { input: lines.join("\n") + "\n", maxBuffer: 1 << 28 });
  return out.toString().split("\n").slice(0, lines.length);
}
const ids = (line) => (line === "" ? [] : line.split(" ").map(Number));

for (const [name, json] of Object.entries({ llama3, qwen2, gpt2, llama2, mistral, metaspace }))
  test(`tokenizer.json in the shape of ${name}`, () => {
    const dir = join(scratch, name);
    mkdirSync(dir);
    writeFileSync(join(dir, "tokenizer.json"), JSON.stringify(json));
    const theirs = new Tokenizer(json, {});
    const got = puyu(["encode", dir, "--json_lines", "--specials"], texts.map((t) => JSON.stringify(t)));
    texts.forEach((text, i) => assert.deepEqual(ids(got[i]), theirs.encode(text, { add_special_tokens: false }).ids, JSON.stringify(text)));
    // Decoded: texts that are whole lines.
    const plain = texts.map((t, i) => [t, got[i]]).filter(([t]) => !/[\n\r]/.test(t));
    const back = puyu(["decode", dir, "--specials"], plain.map(([, line]) => line));
    plain.forEach(([text, line], i) => {
      if (line === "") return;
      const want = theirs.decode(ids(line), { skip_special_tokens: false, clean_up_tokenization_spaces: false });
      assert.equal(back[i], want, JSON.stringify(text));
    });
  });

test("cl100k", () => {
  const file = join(scratch, "cl100k_base.tiktoken");
  writeFileSync(file, ranks.map(([b, r]) => `${b.toString("base64")} ${r}\n`).join(""));
  const theirs = get_encoding("cl100k_base");
  const got = puyu(["encode", file, "--json_lines"], texts.map((t) => JSON.stringify(t)));
  texts.forEach((text, i) => assert.deepEqual(ids(got[i]), [...theirs.encode_ordinary(text)], JSON.stringify(text)));
  assert.ok(pat_str.includes("(?!\\S)"));
});
