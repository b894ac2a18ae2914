// Program text from anywhere: tokens cover every byte once, and imports, batches, descriptions and rules take any text.
#include <algorithm>

#include "data/code_batches.h"
#include "data/code_describe.h"
#include "data/code_order.h"
#include "data/code_quality.h"
#include "data/code_tokens.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  return {"#include \"x.h\"\n/* a */ int f(char c = '\\n') { return R\"(s)\"[0]; } // end\n",
          "from . import a\nclass C:\n    '''doc'''\n    x = 0x1F + 1.5e-3  # c\n",
          "export * from './a';\nconst b = `t${1}`;\n", "--[[ a ]] local x = require('y') -- b\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(fuzz_bytes(data, size));
  for (const char* language : {"cpp", "python", "typescript", "lua", "shell", "rust", "haskell"}) {
    const char* at = text.data();
    auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    for (const CodeToken& t : code_tokens(language, text)) {
      expect(!t.text.empty() && t.text.data() >= at && std::all_of(at, t.text.data(), blank));
      at = t.text.data() + t.text.size();
    }
    expect(std::all_of(at, text.data() + text.size(), blank));
    const std::vector<RepositoryFile> files = {{"a/x", language, text}, {"b.py", "python", "import a\n"}};
    expect(dependency_order(files).size() == 2 && dependency_order(files, FileOrder::kDepthFirst).size() == 2);
    repository_markdown("r", files, {FileOrder::kTopological, true});
    judge_code(language, text, {});
    code_minhash(language, text);
  }
  return 0;
}
