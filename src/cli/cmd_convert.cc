// puyu convert IN OUT: a model into another format.
#include <cstdio>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/progress.h"
#include "base/signal.h"
#include "cli/model_files.h"
#include "cli/verbs.h"
#include "engine/gguf_tokenizer.h"
#include "model/gguf_model.h"
#include "model/hf_folder.h"

namespace puyu {
namespace {

struct Options {
  std::string to, dtype;
  template <class F>
  void fields(F&& f) {
    f("to", to,
      "gguf = one file for llama.cpp; puyu = a folder of one file with InternLM2's names; hf = a folder as "
      "the model came from Hugging Face, the same bytes");
    f("dtype", dtype,
      "gguf: f32, f16, bf16, q8_0, q4_k or q4_0; folder: f32, bf16 or f16; empty = as the model is stored");
  }
};

constexpr const char* kHelp =
    "Converts a model: a folder (ours or Hugging Face's: internlm2, internlm3, llama, mistral, qwen2; shards,\n"
    "f16) or a .gguf file, with its tokenizer.\n\n"
    "  puyu convert internlm2-chat-1_8b model.gguf --to gguf --dtype q8_0\n"
    "  puyu convert internlm2-chat-1_8b ours --to puyu && puyu convert ours theirs --to hf\n"
    "  puyu convert model.gguf folder --to hf --dtype bf16\n";

std::string stored(const ModelSource& s) { return s.dtype() == DType::kF32 ? "f32" : "bf16"; }

void to_gguf(Ctx& ctx, const ModelSource& source, const std::string& in, const std::string& out, const Options& o) {
  const GgmlType type = ggml_type(o.dtype.empty() ? stored(source) : o.dtype);
  GgufMetadata metadata;
  add_gguf_tokenizer(load_tokenizer(in), source.config().vocab_size, metadata);
  Progress progress("convert", gguf_bytes(source.config(), source.head(), type), "B");
  export_gguf(ctx, source, std::move(metadata), type, out, [&](int64_t bytes) { progress.add(bytes); });
}

std::optional<DType> folder_dtype(const std::string& name) {
  if (name.empty()) return {};
  if (name == "f32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  if (name == "f16") return DType::kF16;
  throw UsageError("--dtype: a folder takes f32, bf16 or f16, got '" + name + "'");
}

void to_folder(Ctx& ctx, const ModelSource& source, const std::string& in, const std::string& out, const Options& o) {
  const std::optional<DType> dtype = folder_dtype(o.dtype);
  AtomicFolder folder(out);
  const int64_t bytes = source.config().num_params() * dtype_size(dtype ? *dtype : source.dtype());
  Progress progress("convert", bytes, "B");
  auto step = [&](int64_t n) {
    progress.add(n);
    if (interrupted()) fail("[convert] interrupted; nothing was written");
  };
  // From a GGUF file or quantised tensors there is no way back to the same bytes.
  const bool as_it_was = is_directory(in) && source.scheme().empty();
  if (as_it_was && o.to == "hf") {
    write_hf(in, folder.path(), dtype, step);
  } else {
    if (as_it_was)
      write_ours(in, folder.path(), dtype, step);
    else
      write_folder(ctx, source, folder.path(), dtype.value_or(stored(source) == "f32" ? DType::kF32 : DType::kBF16),
                   step);
    copy_tokenizer_files(in, folder.path());
  }
  folder.commit();
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
  if (o.to != "gguf") folder_dtype(o.dtype);
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
