// Web archives whole and damaged, HTTP bodies and charsets. The archives are written here, record by record.
#include "data/warc.h"

#include <brotli/encode.h>
#include <gtest/gtest.h>
#include <unicode/ucnv.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "base/utf8.h"
#include "data/charset.h"
#include "data/http.h"
#include "data/reader.h"

namespace puyu {
namespace {

std::string deflate_to(const std::string& text, int window_bits) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data())), z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}
std::string gzip(const std::string& text) { return deflate_to(text, 15 + 16); }

std::string record(const std::string& type, const std::string& url, const std::string& content_type,
                   const std::string& block) {
  return cat("WARC/1.0\r\nWARC-Type: ", type, "\r\nWARC-Target-URI: ", url, "\r\nWARC-Date: 2024-02-29T10:11:12Z\r\n",
             "Content-Type: ", content_type, "\r\nContent-Length: ", block.size(), "\r\n\r\n", block, "\r\n\r\n");
}
std::string conversion(const std::string& url, const std::string& text) {
  return record("conversion", url, "text/plain", text);
}
std::string response(const std::string& url, const std::string& headers, const std::string& body) {
  return record("response", url, "application/http; msgtype=response", "HTTP/1.1 " + headers + "\r\n\r\n" + body);
}

struct WarcTest : ::testing::Test {
  test::TempDir folder;
  std::string path = folder.path + "/a.warc";
  struct Seen {
    std::string url, block, problem;
    bool operator==(const Seen&) const = default;
  };
  std::vector<Seen> read(const std::string& bytes, int64_t most = 1 << 20) {
    std::ofstream(path, std::ios::binary) << bytes;
    std::vector<Seen> out;
    read_warc(path, most, [&](const WarcRecord& r) { out.push_back({r.url, std::string(r.block), r.problem}); });
    return out;
  }
  // What the documents' reader makes of it: "url|content" or "url!reason".
  std::vector<std::string> documents(const std::string& bytes, const std::string& name = "a.warc.gz") {
    std::ofstream(path, std::ios::binary) << bytes;
    std::vector<std::string> out;
    ReaderOptions options;
    options.max_record_bytes = 1 << 20;
    read_documents(
        {path, "s", name, "", static_cast<int64_t>(bytes.size())}, options,
        [&](Document&& d) { last = d, out.push_back(d.url + "|" + d.content); },
        [&](ReadFailure&& f) { out.push_back(f.document.url + "!" + f.reason); });
    return out;
  }
  Document last;
};

void PrintTo(const WarcTest::Seen& s, std::ostream* out) { *out << s.url << "|" << s.block << "|" << s.problem; }

const std::string kBig(300000, 'x');

TEST_F(WarcTest, PlainGzipMembersOneMemberAndZstdAreTheSame) {
  std::string a = conversion("http://a/", "first\n\nWARC"), b = conversion("http://b/", kBig),
              c = conversion("http://c/", "");
  std::vector<Seen> want = {{"http://a/", "first\n\nWARC", ""}, {"http://b/", kBig, ""}, {"http://c/", "", ""}};
  EXPECT_EQ(read(a + b + c), want);
  EXPECT_EQ(read(gzip(a) + gzip(b) + gzip(c)), want);
  EXPECT_EQ(read(gzip(a + b + c)), want);
  EXPECT_EQ(read(gzip(a) + gzip(b) + gzip(c) + std::string(512, '\0')), want);
  std::string zst(ZSTD_compressBound(400000), '\0'), all = a + b + c;
  zst.resize(ZSTD_compress(zst.data(), zst.size(), all.data(), all.size(), 3));
  EXPECT_EQ(read(zst), want);
  EXPECT_EQ(read(""), std::vector<Seen>{});
}

TEST_F(WarcTest, ABrokenMemberCostsOnlyItself) {
  std::string a = gzip(conversion("http://a/", "first")), b = gzip(conversion("http://b/", "second " + kBig)),
              c = gzip(conversion("http://c/", "third"));
  for (size_t at : {size_t{12}, b.size() / 2, b.size() - 5}) {  // the header, the middle, the checksum
    std::string flipped = b;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x5a);
    std::vector<Seen> got = read(a + flipped + c);
    ASSERT_GE(got.size(), 3u) << at;
    EXPECT_EQ(got.front(), (Seen{"http://a/", "first", ""})) << at;
    EXPECT_EQ(got.back(), (Seen{"http://c/", "third", ""})) << at;
    for (size_t i = 1; i + 1 < got.size(); ++i) EXPECT_FALSE(got[i].problem.empty() && got[i].block.empty()) << at;
    EXPECT_TRUE(std::any_of(got.begin(), got.end(), [](auto& s) { return s.problem == "damaged_gzip"; })) << at;
  }
  std::vector<Seen> cut = read(a + b.substr(0, b.size() / 2));
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(cut[1].problem, "truncated_gzip");
  EXPECT_EQ(cut[1].url, "http://b/");
  cut = read(a + b.substr(0, b.size() / 2) + c);  // bytes lost in the middle
  EXPECT_EQ(cut.back(), (Seen{"http://c/", "third", ""}));
  EXPECT_EQ(cut.size(), 3u);
}

TEST_F(WarcTest, BrokenRecordsAreNamedAndPassedOver) {
  std::string a = conversion("http://a/", "first"), c = conversion("http://c/", "third");
  Seen first{"http://a/", "first", ""}, third{"http://c/", "third", ""};
  auto bad = [&](const std::string& middle, const std::string& problem) {
    for (bool zipped : {false, true}) {
      std::vector<Seen> got = read(zipped ? gzip(a) + gzip(middle) + gzip(c) : a + middle + c);
      ASSERT_EQ(got.size(), 3u) << middle.substr(0, 99) << zipped;
      EXPECT_EQ(got[0], first);
      EXPECT_EQ(got[1].problem, problem) << middle.substr(0, 99) << zipped;
      EXPECT_EQ(got[2], third);
    }
  };
  bad("WARC/1.0\r\nWARC-Type: response\r\n\r\nno length\r\n\r\n", "bad_record_header");
  bad("WARC/1.0\r\nContent-Length: -7\r\n\r\nno length\r\n\r\n", "bad_record_header");
  bad("WARC/1.0\r\nContent-Length: 7x\r\n\r\nno length\r\n\r\n", "bad_record_header");
  bad("<html>what is this?</html>\r\n\r\n", "bad_record_header");
  bad(std::string(200000, 'y') + "\r\n\r\n", "bad_record_header");
  bad(std::string("\0\0\0\n\n", 5), "bad_record_header");
  bad(conversion("http://b/", std::string(2 << 20, 'z')), "too_large");
  std::string cut = conversion("http://b/", kBig);
  std::vector<Seen> got = read(gzip(a) + gzip(cut.substr(0, 200000)) + gzip(c));  // a crawler that died
  EXPECT_EQ(got, (std::vector<Seen>{first, {"http://b/", "", "truncated_record"}, third}));
  got = read(gzip(a) + gzip(cut.substr(0, 60)) + gzip(c));  // within the header
  EXPECT_EQ(got, (std::vector<Seen>{first, {"", "", "truncated_record"}, third}));
  got = read(a + cut.substr(0, 200000));
  EXPECT_EQ(got, (std::vector<Seen>{first, {"http://b/", "", "truncated_record"}}));
}

TEST_F(WarcTest, OneLineOfManyMegabytesAndNulsHaveReasons) {
  EXPECT_EQ(documents(gzip(conversion("http://l/", std::string(8 << 20, 'x')))),
            std::vector<std::string>{"http://l/!too_large"});
  EXPECT_EQ(documents(gzip(conversion("http://n/", std::string(9, '\0') + "text"))),
            std::vector<std::string>{"http://n/!binary"});
  EXPECT_EQ(documents("{\"text\": \"" + std::string(8 << 20, 'x') + "\"}\n{\"text\": \"short\"}\n", "a.jsonl"),
            (std::vector<std::string>{"a.jsonl!too_large", "a.jsonl#1|short"}));
}

const std::string kPage =
    "<html><head><title>T</title></head><body><article><p>One paragraph of a page that is long enough to be "
    "kept.</p></article></body></html>";
const std::string kText = "One paragraph of a page that is long enough to be kept.";

TEST_F(WarcTest, DocumentsAndEveryOtherRecordIsCounted) {
  std::string html = "200 OK\r\nContent-Type: text/html; charset=utf-8";
  std::string all =
      gzip(record("warcinfo", "", "application/warc-fields", "software: x")) +
      gzip(record("request", "http://a/", "application/http; msgtype=request", "GET / HTTP/1.1\r\n\r\n")) +
      gzip(response("http://a/", html, kPage)) +
      gzip(response("http://gone/", "404 Not Found\r\nContent-Type: text/html", kPage)) +
      gzip(response("http://img/", "200 OK\r\nContent-Type: image/png", "\x89PNG")) +
      gzip(response("http://untyped/", "200 OK", kPage)) +
      gzip(record("response", "http://bad/", "application/http", "no http at all")) +
      gzip(record("strange", "http://s/", "text/plain", "?"));
  EXPECT_EQ(documents(all),
            (std::vector<std::string>{"a.warc.gz#0!record_warcinfo", "http://a/!record_request", "http://a/|" + kText,
                                      "http://gone/!http_404", "http://img/!not_text", "http://untyped/|" + kText,
                                      "http://bad/!bad_http", "http://s/!record_other"}));
  EXPECT_EQ(last.date, "2024-02-29");
  EXPECT_EQ(last.title, "T");
}

TEST_F(WarcTest, WrongCharsetDeclared) {
  // GB18030 bytes that call themselves ISO-8859-1 in the header and UTF-8 in the page.
  std::string chinese = "中文网页的编码声明常常是错误的，所以读取程序必须根据内容来判断，而不是相信它。";
  std::string page = "<html><head><meta charset=utf-8><title>标题</title></head><body><article><p>";
  for (int i = 0; i < 8; ++i) page += chinese;
  page += "</p></article></body></html>";
  UErrorCode status = U_ZERO_ERROR;
  std::string gb(page.size() * 2, '\0');
  gb.resize(static_cast<size_t>(ucnv_convert("gb18030", "UTF-8", gb.data(), static_cast<int32_t>(gb.size()),
                                             page.data(), static_cast<int32_t>(page.size()), &status)));
  ASSERT_TRUE(U_SUCCESS(status));
  documents(gzip(response("http://g/", "200 OK\r\nContent-Type: text/html", gb)));
  EXPECT_EQ(last.title, "标题");
  EXPECT_TRUE(last.repairs.count("charset_misdeclared"));
  last = {};
  documents(gzip(response("http://g/", "200 OK\r\nContent-Type: text/html; charset=gb2312", gb)));
  EXPECT_EQ(last.title, "标题");
  EXPECT_TRUE(last.repairs.empty());
  last = {};
  documents(gzip(response("http://u/", "200 OK\r\nContent-Type: text/html; charset=ISO-8859-1", page)));
  EXPECT_EQ(last.title, "标题");
  EXPECT_TRUE(last.repairs.count("charset_misdeclared"));
}

HttpResponse http(const std::string& headers, const std::string& body, size_t most = 1 << 20) {
  return parse_http_response("HTTP/1.1 200 OK\r\n" + headers + "\r\n\r\n" + body, most);
}

TEST(Http, ChunksAndCodings) {
  std::string chunks = "4;x=y\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n";
  EXPECT_EQ(http("Transfer-Encoding: chunked", chunks).body, "Wikipedia in \r\n\r\nchunks.");
  EXPECT_EQ(http("Transfer-Encoding: chunked", "<html>undone</html>").body, "<html>undone</html>");
  EXPECT_EQ(http("Transfer-Encoding: chunked", chunks.substr(0, 20)).problem, "bad_chunks");
  EXPECT_EQ(http("Transfer-Encoding: chunked", "4\r\nWiki\r\nzz\r\n").problem, "bad_chunks");
  std::string text = "The text of a page, said twice. The text of a page, said twice.";
  EXPECT_EQ(http("Content-Encoding: gzip", gzip(text)).body, text);
  EXPECT_EQ(http("Content-Encoding: gzip", text).body, text);  // undone by the crawler
  EXPECT_EQ(http("Content-Encoding: deflate", deflate_to(text, 15)).body, text);
  EXPECT_EQ(http("Content-Encoding: deflate", deflate_to(text, -15)).body, text);
  EXPECT_EQ(http("content-encoding: deflate, gzip", gzip(deflate_to(text, 15))).body, text);
  std::string zst(1000, '\0'), br(1000, '\0');
  zst.resize(ZSTD_compress(zst.data(), zst.size(), text.data(), text.size(), 3));
  EXPECT_EQ(http("Content-Encoding: zstd", zst).body, text);
  size_t n = br.size();
  BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, text.size(), reinterpret_cast<const uint8_t*>(text.data()), &n,
                        reinterpret_cast<uint8_t*>(br.data()));
  EXPECT_EQ(http("Content-Encoding: br", br.substr(0, n)).body, text);
  EXPECT_EQ(http("Content-Encoding: br", "not brotli").problem, "damaged_content_encoding");
  EXPECT_EQ(http("Content-Encoding: rot13", text).problem, "unknown_content_encoding");
  EXPECT_EQ(http("Content-Encoding: gzip", gzip(text).substr(0, 30)).problem, "damaged_content_encoding");
  EXPECT_EQ(http("Content-Encoding: gzip", gzip(std::string(5 << 20, 'a'))).problem, "too_large");  // a bomb
}

TEST(Http, Headers) {
  HttpResponse r = http("Content-Type: Text/HTML ; Charset=\"GBK\"", "x");
  EXPECT_EQ(r.media_type, "text/html");
  EXPECT_EQ(r.charset, "GBK");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(parse_http_response("HTTP/1.0 301 Moved\nLocation: /\n\nbody", 99).status, 301);
  for (const char* bad : {"", "HTTP/1.1 200 OK", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "ICY 200 OK\r\n\r\n"})
    EXPECT_EQ(parse_http_response(bad, 99).problem, "bad_http") << bad;
}

TEST(Charset, DeclaredMarkedAndGuessed) {
  EXPECT_EQ(decode_text("caf\xe9", "iso-8859-1", false).text, "café");
  EXPECT_EQ(decode_text("\x93hi\x94", "ascii", false).text, "“hi”");
  EXPECT_EQ(decode_text("\xef\xbb\xbfx", "gbk", false).text, "x");
  EXPECT_EQ(decode_text(std::string_view("\xff\xfe-N\x87\x65", 6), "", false).text, "中文");
  EXPECT_EQ(decode_text(std::string_view("\xfe\xffN-e\x87", 6), "", false).text, "中文");
  EXPECT_EQ(decode_text("<meta charset='shift_jis'>\x93\xfa\x96\x7b", "", true).text, "<meta charset='shift_jis'>日本");
  EXPECT_EQ(decode_text("<meta http-equiv=x content=\"text/html; charset=big5\">\xa4\xa4\xa4\xe5", "", true).charset,
            "big5-hkscs");
  DecodedText t = decode_text("plain", "no-such-charset", false);
  EXPECT_EQ(t.text + t.charset, "plainUTF-8");
  EXPECT_FALSE(t.misdeclared);
  EXPECT_EQ(decode_text("", "", true).text, "");
  EXPECT_TRUE(valid_utf8(decode_text(std::string(99, '\xff'), "", true).text));
}

}  // namespace
}  // namespace puyu
