// Web archives: any bytes give records, each whole or with a problem; HTTP bodies and texts of any charset come out as
// UTF-8 or with a problem.
#include "data/warc.h"

#include <zlib.h>

#include "base/utf8.h"
#include "data/reader.h"
#include "fuzz.h"

using namespace puyu;

namespace {
std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data())), z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string record(const std::string& type, const std::string& content_type, const std::string& block) {
  return "WARC/1.0\r\nWARC-Type: " + type + "\r\nWARC-Target-URI: http://a/\r\nContent-Type: " + content_type +
         "\r\nContent-Length: " + std::to_string(block.size()) + "\r\n\r\n" + block + "\r\n\r\n";
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::string page = "<html><meta charset=gbk><p>\xd6\xd0\xce\xc4 a paragraph that is long enough</p></html>";
  std::string a = record("conversion", "text/plain", "some text, \xe4\xb8\xad\xe6\x96\x87\n");
  std::string b = record("response", "application/http",
                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n" +
                             std::string("5\r\n<html\r\n0\r\n\r\n"));
  std::string c = record(
      "response", "application/http",
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html; charset=gb2312\r\n\r\n" + gzip(page));
  std::string d = record("response", "application/http", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxx");
  return {a + b, c + d, gzip(a) + gzip(b) + gzip(c), gzip(a + d)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(fuzz_bytes(data, size));
  read_warc(file.path(), 4096, [](const WarcRecord& r) {
    expect(r.problem.empty() || r.block.empty());
    expect(r.bytes >= 0 && r.block.size() <= 4096);
  });
  ReaderOptions options;
  options.max_record_bytes = 4096;
  read_documents(
      {file.path(), "s", "a.warc", "", static_cast<int64_t>(size)}, options,
      [](Document&& d) { expect(valid_utf8(d.url) && !d.content.empty()); },
      [](ReadFailure&& f) { expect(!f.reason.empty() && f.bytes >= 0); });
  return 0;
}
