// Parquet: any bytes give rows or a reason.
#include "data/parquet.h"

#include "data/parquet_writer_test_util.h"
#include "data/reader.h"
#include "data/snappy.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  const std::vector<test::ParquetTexts> columns = {{"text", {"a text", std::nullopt, "another", "a text", "x"}},
                                                   {"date", {"2024", "2024-01-02", std::nullopt, "", "2024"}},
                                                   {"id", {"1", "2", "3", "4", "5"}, 0}};
  std::vector<std::string> seeds;
  for (int codec : {0, 1, 2, 6})  // without checksums, which would stop nearly every mutation
    for (bool dictionary : {false, true})
      for (bool second : {false, true})
        seeds.push_back(test::ParquetWriter({codec, dictionary, second, false, 2, 3}).write(columns));
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string out;
  if (snappy_decompress(fuzz_bytes(data, size), 4096, out)) expect(out.size() <= 4096);
  MemoryFile file(fuzz_bytes(data, size));
  ReaderOptions options;
  options.max_record_bytes = 4096;
  size_t rows = 0;
  read_documents(
      {file.path(), "s", "a.parquet", "", static_cast<int64_t>(size)}, options,
      [&](Document&& d) { expect(!d.content.empty() && d.content.size() <= 4096), ++rows; },
      [&](ReadFailure&& f) { expect(!f.reason.empty() && f.bytes >= 0), ++rows; });
  expect(rows <= 2 * size + 16);
  return 0;
}
