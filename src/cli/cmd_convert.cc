// puyu convert IN OUT: a model into another format.
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/progress.h"
#include "cli/verbs.h"
#include "engine/gguf_tokenizer.h"
#include "model/gguf_model.h"
#include "model/weights.h"

namespace puyu {
namespace {

struct Options {
  std::string to, dtype;
  template <class F>
  void fields(F&& f) {
    f("to", to, "gguf = one file for llama.cpp; puyu or hf = a folder with config.json and model.safetensors");
    f("dtype", dtype, "gguf: f32, f16, bf16, q8_0 or q4_0; folder: f32 or bf16; empty = as the model is stored");
  }
};

constexpr const char* kHelp =
    "Converts a model: a folder (ours or Hugging Face's: internlm2, internlm3, llama, mistral, qwen2; shards,\n"
    "f16) or a .gguf file, with its tokenizer.\n\n"
    "  puyu convert internlm2-chat-1_8b model.gguf --to gguf --dtype q8_0\n"
    "  puyu convert model.gguf folder --to hf --dtype bf16\n";

std::string stored(const ModelSource& s) { return s.dtype() == DType::kF32 ? "f32" : "bf16"; }

void to_gguf(Ctx& ctx, const ModelSource& source, const std::string& in, const std::string& out, const Options& o) {
  const GgmlType type = ggml_type(o.dtype.empty() ? stored(source) : o.dtype);
  GgufMetadata metadata;
  add_gguf_tokenizer(load_tokenizer(in), source.config().vocab_size, metadata);
  Progress progress("convert", gguf_bytes(source.config(), source.head(), type), "B");
  export_gguf(ctx, source, std::move(metadata), type, out, [&](int64_t bytes) { progress.add(bytes); });
}

void to_folder(Ctx& ctx, const ModelSource& source, const std::string& in, const std::string& out, const Options& o) {
  const std::string dtype = o.dtype.empty() ? stored(source) : o.dtype;
  if (dtype != "f32" && dtype != "bf16") throw UsageError("--dtype: a folder takes f32 or bf16, got '" + dtype + "'");
  const DType t = dtype == "f32" ? DType::kF32 : DType::kBF16;
  Weights w = load_for_inference(ctx, in, source.head(), t);
  save_model(out, w, t);
  if (in.ends_with(".gguf"))
    load_tokenizer(in).save(out + "/tokenizer.puyu");
  else
    for (const char* name : {"tokenizer.puyu", "tokenizer.model", "tokenizer.json", "tokenizer_config.json",
                             "chat_template.jinja", "generation_config.json"})
      if (file_exists(in + "/" + name)) write_file(out + "/" + name, read_file(in + "/" + name));
}

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kConvertVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 2) throw UsageError("expected IN and OUT");
  const std::string &in = a.positional[0], &out = a.positional[1];
  if (o.to.empty()) o.to = out.ends_with(".gguf") ? "gguf" : "puyu";
  if (o.to != "gguf" && o.to != "puyu" && o.to != "hf")
    throw UsageError("--to: expected gguf, puyu or hf, got '" + o.to + "'");
  if (o.to == "gguf" && !out.ends_with(".gguf"))
    throw UsageError("OUT: expected a name ending in .gguf, got '" + out + "'");
  if (std::filesystem::exists(out)) fail("'", out, "' exists; remove it or choose another name");
  const auto source = open_model_source(in);
  Arena scratch("scratch", int64_t{1} << 36);
  Ctx ctx{Device::kCpu, &scratch};
  (o.to == "gguf" ? to_gguf : to_folder)(ctx, *source, in, out, o);
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace

const Verb kConvertVerb = {"convert", "puyu convert IN OUT [--to gguf|puyu|hf] [--dtype TYPE]",
                           "convert models between formats", run};

}  // namespace puyu
