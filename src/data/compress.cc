#include "data/compress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace puyu {
namespace {

constexpr size_t kPiece = size_t{1} << 20;
enum class Coding { kPlain, kGzip, kZstd };

Coding coding_of(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return Coding::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Coding::kZstd;
  return Coding::kPlain;
}

}  // namespace

struct InputStream::State {
  MappedFile file;
  Coding coding;
  size_t at = 0;  // consumed bytes of the file
  std::string damage, lines;
  size_t line_at = 0;
  bool ended = false, member_done = false;
  z_stream gzip{};
  ZSTD_DCtx* zstd = nullptr;

  State(const std::string& path, size_t offset)
      : file(path), coding(coding_of(file.bytes().substr(std::min(offset, file.size())))), at(offset) {
    if (coding == Coding::kGzip) CHECK(inflateInit2(&gzip, 15 + 16) == Z_OK);
    if (coding == Coding::kZstd) CHECK((zstd = ZSTD_createDCtx()) != nullptr);
  }
  ~State() {
    if (coding == Coding::kGzip) inflateEnd(&gzip);
    ZSTD_freeDCtx(zstd);
  }
  bool stop(const char* why) {
    damage = why;
    ended = true;
    return false;
  }
  bool read_plain(std::string& out) {
    std::string_view piece = file.bytes().substr(at, kPiece);
    out += piece;
    at += piece.size();
    return !piece.empty();
  }
  // Several gzip members may follow one another; zero padding after the last is ignored.
  bool read_gzip(std::string& out) {
    size_t old = out.size();
    if (member_done) {
      if (file.bytes().find_first_not_of('\0', at) == std::string_view::npos) return false;
      inflateReset(&gzip);
      member_done = false;
    }
    out.resize(old + kPiece);
    auto* in = reinterpret_cast<const Bytef*>(file.data() + at);
    gzip.next_in = const_cast<Bytef*>(in);
    gzip.avail_in = static_cast<uInt>(std::min(file.size() - at, kPiece));
    gzip.next_out = reinterpret_cast<Bytef*>(out.data() + old);
    gzip.avail_out = static_cast<uInt>(kPiece);
    bool no_input = gzip.avail_in == 0;
    int rc = inflate(&gzip, Z_NO_FLUSH);
    at += static_cast<size_t>(gzip.next_in - in);
    out.resize(old + kPiece - gzip.avail_out);
    if (rc == Z_STREAM_END) return member_done = true;
    if (rc == Z_BUF_ERROR || (rc == Z_OK && no_input && out.size() == old)) return stop("truncated_gzip");
    return rc == Z_OK ? true : stop("damaged_gzip");
  }
  bool read_zstd(std::string& out) {
    size_t old = out.size();
    if (member_done && at == file.size()) return false;
    out.resize(old + kPiece);
    ZSTD_inBuffer in{file.data(), file.size(), at};
    ZSTD_outBuffer to{out.data() + old, kPiece, 0};
    size_t rc = ZSTD_decompressStream(zstd, &to, &in);
    bool stuck = in.pos == at && to.pos == 0;
    at = in.pos;
    out.resize(old + to.pos);
    if (ZSTD_isError(rc)) return stop("damaged_zstd");
    member_done = rc == 0;
    return stuck ? stop("truncated_zstd") : true;
  }
};

InputStream::InputStream(const std::string& path, size_t offset) : s_(std::make_unique<State>(path, offset)) {}
InputStream::~InputStream() = default;

bool InputStream::read(std::string& out) {
  if (s_->ended) return false;
  bool more = s_->coding == Coding::kPlain  ? s_->read_plain(out)
              : s_->coding == Coding::kGzip ? s_->read_gzip(out)
                                            : s_->read_zstd(out);
  s_->ended = !more;
  return more;
}

void InputStream::read_all(std::string& out, size_t most) {
  while (out.size() <= most && read(out)) {}
}

bool InputStream::read_line(std::string& line, size_t most) {
  State& s = *s_;
  bool cut = false;  // the head of the line is in `line` already, its end is looked for
  for (size_t searched = s.line_at;;) {
    size_t end = s.lines.find('\n', searched);
    if (end != std::string::npos) {
      if (!cut) line.assign(s.lines, s.line_at, std::min(end - s.line_at, most + 1));
      s.line_at = end + 1;
      return true;
    }
    if (!cut && s.lines.size() - s.line_at > most) {
      line.assign(s.lines, s.line_at, most + 1);
      cut = true;
    }
    s.lines.erase(0, cut ? s.lines.size() : s.line_at);
    s.line_at = 0;
    searched = s.lines.size();
    if (read(s.lines)) continue;
    if (!s.damage.empty()) return false;  // half a line of a damaged file is no record
    if (cut) return true;
    if (s.lines.empty()) return false;
    line = std::move(s.lines);
    s.lines.clear();
    return true;
  }
}

const std::string& InputStream::damage() const { return s_->damage; }
size_t InputStream::file_bytes() const { return s_->file.size(); }

struct ZstdFile::State {
  AtomicFile file;
  std::string path, buffer;
  ZSTD_CCtx* zstd = ZSTD_createCCtx();
  State(const std::string& p, int level) : file(p), path(p) {
    CHECK(zstd != nullptr);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    buffer.resize(ZSTD_CStreamOutSize());
  }
  ~State() { ZSTD_freeCCtx(zstd); }
  void compress(std::string_view text, ZSTD_EndDirective mode) {
    ZSTD_inBuffer in{text.data(), text.size(), 0};
    for (size_t left = 1; mode == ZSTD_e_end ? left != 0 : in.pos < in.size;) {
      ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
      left = ZSTD_compressStream2(zstd, &out, &in, mode);
      if (ZSTD_isError(left)) fail("[zstd] ", path, ": ", ZSTD_getErrorName(left));
      file.write({buffer.data(), out.pos});
    }
  }
};

ZstdFile::ZstdFile(const std::string& path, int level) : s_(std::make_unique<State>(path, level)) {}
ZstdFile::~ZstdFile() = default;
void ZstdFile::write(std::string_view text) { s_->compress(text, ZSTD_e_continue); }
uint64_t ZstdFile::end_frame() {
  s_->compress({}, ZSTD_e_end);
  return s_->file.size();
}
void ZstdFile::commit() {
  s_->compress({}, ZSTD_e_end);
  s_->file.commit();
}

}  // namespace puyu
