// InternEvo's data: two bytes say how long the index is, then index and lines. What is accepted can be read to its end.
#include "data/internevo.h"

#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  std::string meta("\x93NUMPY\x01\x00\x76\x00", 10);
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }";
  header.resize(0x75, ' ');
  meta += header + "\n";
  for (int32_t v : {0, 3, 27, 1}) meta.append(reinterpret_cast<const char*>(&v), 4);
  std::string out;
  out += static_cast<char>(meta.size());
  out += '\0';
  return {out + meta + "{\"tokens\": [1, -5, 70000]}\n{\"tokens\": [0]}\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz_bytes(data, size);
  if (bytes.size() < 2) return 0;
  const size_t split = 2 + static_cast<size_t>(data[0]) + 256 * static_cast<size_t>(data[1]);
  MemoryFile meta(bytes.substr(2, split - 2)), lines(bytes.substr(std::min(split, bytes.size())));
  for (bool verify : {true, false}) {
    try {
      InternEvoReader r(lines.path(), verify, meta.path());
      std::vector<int32_t> ids;
      for (int64_t d = 0; d < r.documents(); ++d) {
        ids.resize(static_cast<size_t>(r.end(d) - r.begin(d)));
        r.read(r.begin(d), r.end(d) - r.begin(d), ids.data());
      }
    } catch (const Error&) {}
  }
  return 0;
}
