// Token shards, with and without the checksum: what is accepted can be read to its end.
#include "data/shard.h"

#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> out;
  for (int width : {2, 4}) {
    const std::string path = "/tmp/puyu_fuzz_shard_" + std::to_string(::getpid());
    ShardWriter w(path, width, 7);
    const int32_t ids[] = {1, 2, 3, 4, 5};
    w.add(ids, 5, 1), w.add(ids, 2, 2);
    w.commit();
    out.push_back(read_file(path));
    ::unlink(path.c_str());
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(fuzz_bytes(data, size));
  for (bool verify : {true, false}) {
    try {
      ShardReader r(file.path(), verify);
      std::vector<int32_t> ids;
      for (int64_t d = 0; d < r.documents(); ++d) {
        ids.resize(static_cast<size_t>(r.end(d) - r.begin(d)));
        r.read(r.begin(d), r.end(d) - r.begin(d), ids.data());
        r.source(d);
      }
    } catch (const Error&) {}
  }
  return 0;
}
