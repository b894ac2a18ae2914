#include "data/http.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <vector>

#include "base/check.h"
#include "data/ascii.h"

namespace puyu {
namespace {

constexpr size_t kPiece = size_t{64} << 10;

// Undoes one coding: out gets at most `most` + 1 bytes, so that more can be told from exactly that many.
bool unzip(std::string_view in, int window_bits, size_t most, std::string& out) {
  z_stream z{};
  CHECK(inflateInit2(&z, window_bits) == Z_OK);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  int rc = Z_OK;
  while (rc == Z_OK && out.size() <= most) {
    size_t old = out.size();
    out.resize(old + kPiece);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + old), z.avail_out = kPiece;
    rc = inflate(&z, Z_NO_FLUSH);
    out.resize(old + kPiece - z.avail_out);
    if (rc == Z_STREAM_END && z.avail_in > 0 && window_bits > 15) rc = inflateReset(&z);  // members after one another
  }
  inflateEnd(&z);
  return rc == Z_STREAM_END || out.size() > most;
}

bool unzstd(std::string_view in, size_t most, std::string& out) {
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> ctx(ZSTD_createDCtx(), ZSTD_freeDCtx);
  CHECK(ctx != nullptr);
  ZSTD_inBuffer from{in.data(), in.size(), 0};
  for (size_t left = 1; left != 0 && out.size() <= most;) {
    size_t old = out.size();
    out.resize(old + kPiece);
    ZSTD_outBuffer to{out.data() + old, kPiece, 0};
    left = ZSTD_decompressStream(ctx.get(), &to, &from);
    out.resize(old + to.pos);
    if (ZSTD_isError(left) || (left != 0 && to.pos == 0 && from.pos == from.size)) return false;
  }
  return true;
}

bool unbrotli(std::string_view in, size_t most, std::string& out) {
  std::unique_ptr<BrotliDecoderState, decltype(&BrotliDecoderDestroyInstance)> state(
      BrotliDecoderCreateInstance(nullptr, nullptr, nullptr), BrotliDecoderDestroyInstance);
  CHECK(state != nullptr);
  size_t left = in.size();
  auto* next = reinterpret_cast<const uint8_t*>(in.data());
  BrotliDecoderResult r = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && out.size() <= most) {
    size_t old = out.size(), room = kPiece;
    out.resize(old + kPiece);
    auto* to = reinterpret_cast<uint8_t*>(out.data() + old);
    r = BrotliDecoderDecompressStream(state.get(), &left, &next, &room, &to, nullptr);
    out.resize(old + kPiece - room);
  }
  return r == BROTLI_DECODER_RESULT_SUCCESS || out.size() > most;
}

// "" or the problem.
std::string undo_coding(const std::string& coding, size_t most, std::string& body) {
  if (coding.empty() || coding == "identity" || coding == "none" || body.empty()) return "";
  std::string out;
  bool ok = false;
  if (coding == "gzip" || coding == "x-gzip") {
    if (!body.starts_with("\x1f\x8b")) return "";  // undone already
    ok = unzip(body, 15 + 16, most, out);
  } else if (coding == "deflate") {  // zlib's form by the standard, the bare one in practice too
    ok = unzip(body, 15, most, out);
    if (!ok) out.clear(), ok = unzip(body, -15, most, out);
  } else if (coding == "zstd") {
    if (!body.starts_with("\x28\xb5\x2f\xfd")) return "";
    ok = unzstd(body, most, out);
  } else if (coding == "br") {
    ok = unbrotli(body, most, out);
  } else {
    return "unknown_content_encoding";
  }
  if (!ok) return "damaged_content_encoding";
  if (out.size() > most) return "too_large";
  body = std::move(out);
  return "";
}

// Hexadecimal length at the head of a chunk; -1 when there is none. `line` becomes the bytes of that line.
int64_t chunk_length(std::string_view in, size_t& line) {
  size_t end = in.substr(0, 1024).find('\n');
  if (end == std::string_view::npos) return -1;
  line = end + 1;
  int64_t n = 0;
  std::string_view digits = trim_ascii(in.substr(0, std::min(end, in.find(';'))));
  auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n, 16);
  return error == std::errc() && stop == digits.data() + digits.size() && !digits.empty() && n >= 0 ? n : -1;
}

std::string undo_chunks(std::string_view in, std::string& body) {
  size_t line = 0;
  if (chunk_length(in, line) < 0) {  // undone already
    body = in;
    return "";
  }
  while (!in.empty()) {
    int64_t n = chunk_length(in, line);
    if (n < 0 || static_cast<size_t>(n) > in.size() - line) return "bad_chunks";
    if (n == 0) return "";
    body += in.substr(line, static_cast<size_t>(n));
    in.remove_prefix(line + static_cast<size_t>(n));
    if (in.starts_with("\r\n"))
      in.remove_prefix(2);
    else if (in.starts_with("\n"))
      in.remove_prefix(1);
  }
  return "bad_chunks";  // the last chunk, of length 0, is missing
}

std::vector<std::string> codings_of(std::string_view value) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= value.size();) {
    size_t end = std::min(value.find(',', at), value.size());
    std::string one = lower_ascii(trim_ascii(value.substr(at, end - at)));
    if (!one.empty()) out.push_back(std::move(one));
    at = end + 1;
  }
  return out;
}

}  // namespace

HttpResponse parse_http_response(std::string_view block, size_t max_bytes) {
  HttpResponse r;
  size_t end = block.find("\r\n\r\n"), skip = 4;
  if (size_t bare = block.find("\n\n"); bare < end) end = bare, skip = 2;
  size_t space = block.find(' ');
  if (!block.starts_with("HTTP/") || end == std::string_view::npos || space > end ||
      std::from_chars(block.data() + space + 1, block.data() + std::min(space + 4, end), r.status).ec != std::errc()) {
    r.problem = "bad_http";
    return r;
  }
  bool chunked = false;
  std::vector<std::string> codings;
  for_each_header(block.substr(0, end), [&](const std::string& name, std::string_view value) {
    if (name == "content-type")
      r.media_type = lower_ascii(trim_ascii(value.substr(0, value.find(';')))),
      r.charset = header_parameter(value, "charset");
    if (name == "transfer-encoding") chunked |= lower_ascii(value).find("chunked") != std::string::npos;
    if (name == "content-encoding")
      for (std::string& c : codings_of(value)) codings.push_back(std::move(c));
  });
  std::string_view rest = block.substr(end + skip);
  if (chunked)
    r.problem = undo_chunks(rest, r.body);
  else
    r.body = rest;
  for (size_t i = codings.size(); i-- > 0 && r.problem.empty();) r.problem = undo_coding(codings[i], max_bytes, r.body);
  if (!r.problem.empty()) r.body.clear();
  return r;
}

}  // namespace puyu
