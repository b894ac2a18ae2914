#include "data/texts.h"

#include "base/error.h"
#include "base/file.h"
#include "data/pipeline.h"

namespace puyu {
namespace {

bool is_corpus(const std::string& path) { return is_directory(path) && file_exists(path + "/docs-00000.jsonl.zst"); }

}  // namespace

int64_t for_each_input(const std::vector<std::string>& paths, const std::function<void(Document&&)>& fn) {
  int64_t documents = 0, failures = 0;
  auto take = [&](Document&& d) { ++documents, fn(std::move(d)); };
  for (const std::string& path : paths) {
    if (is_corpus(path)) {
      for_each_document(path, take);
      continue;
    }
    PipelineConfig config;
    config.input = {path};
    for (const InputFile& file : list_inputs(config))
      read_documents(file, config.reader, take, [&](ReadFailure&&) { ++failures; });
  }
  if (documents == 0) fail("[data] no document could be read from the input (", failures, " failures)");
  return failures;
}

}  // namespace puyu
