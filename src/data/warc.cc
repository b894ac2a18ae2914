#include "data/warc.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/file.h"
#include "data/ascii.h"
#include "data/compress.h"

namespace puyu {
namespace {

constexpr size_t kPiece = size_t{256} << 10;
constexpr size_t kMaxHeader = size_t{64} << 10;
constexpr std::string_view kMagic = "WARC/";

// A gzip file member by member. After damage, seek_member() finds the next member that holds a record.
class GzipMembers {
 public:
  explicit GzipMembers(std::string_view file) : file_(file) { CHECK(inflateInit2(&z_, 15 + 16) == Z_OK); }
  ~GzipMembers() { inflateEnd(&z_); }
  GzipMembers(const GzipMembers&) = delete;
  GzipMembers& operator=(const GzipMembers&) = delete;

  bool at_member_start() const { return done_; }
  const char* damage() const { return damage_; }

  // Appends what comes next of this member, or the beginning of the next one; false at the end and after damage.
  bool read(std::string& out, size_t most = kPiece) {
    if (damage_) return false;
    if (done_) {
      if (file_.find_first_not_of('\0', at_) == std::string_view::npos) return false;
      start(at_);
    }
    size_t old = out.size();
    out.resize(old + most);
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file_.data() + at_));
    z_.avail_in = static_cast<uInt>(std::min<size_t>(file_.size() - at_, kPiece));
    z_.next_out = reinterpret_cast<Bytef*>(out.data() + old);
    z_.avail_out = static_cast<uInt>(most);
    const uInt offered = z_.avail_in;
    int rc = inflate(&z_, Z_NO_FLUSH);
    at_ += offered - z_.avail_in;
    out.resize(old + most - z_.avail_out);
    done_ = rc == Z_STREAM_END;
    if (rc == Z_BUF_ERROR || (rc == Z_OK && offered == 0 && out.size() == old))
      damage_ = "truncated_gzip";
    else if (rc != Z_OK && rc != Z_STREAM_END)
      damage_ = "damaged_gzip";
    return damage_ == nullptr;
  }

  bool seek_member() {
    for (size_t at = file_.find("\x1f\x8b\x08", member_ + 1); at != std::string_view::npos;
         at = file_.find("\x1f\x8b\x08", at + 1)) {
      start(at);
      std::string head;
      while (head.size() < kMagic.size() && read(head, kMagic.size())) {}
      if (!head.starts_with(kMagic)) continue;
      start(at);
      return true;
    }
    return false;
  }

 private:
  void start(size_t at) {
    inflateReset(&z_);
    member_ = at_ = at, done_ = false, damage_ = nullptr;
  }
  std::string_view file_;
  z_stream z_{};
  size_t at_ = 0, member_ = 0;
  bool done_ = true;
  const char* damage_ = nullptr;
};

// The archive as one stream of bytes with a window on what comes next.
class Archive {
 public:
  explicit Archive(const std::string& path) : file_(path) {
    if (file_.bytes().starts_with("\x1f\x8b"))
      members_.emplace(file_.bytes());
    else
      plain_ = std::make_unique<InputStream>(path);
  }

  std::string_view window() const { return std::string_view(buffer_).substr(at_); }
  void skip(size_t n) { at_ += n; }
  std::string damage() const { return members_ ? (members_->damage() ? members_->damage() : "") : plain_->damage(); }

  // More bytes in the window; false at the end and at damage.
  bool fill() {
    if (at_ > 0) buffer_.erase(0, at_), at_ = 0;
    size_t old = buffer_.size();
    while (buffer_.size() == old)
      if (members_ ? !members_->read(buffer_) : !plain_->read(buffer_)) return false;
    return true;
  }

  // A window of n bytes. False when the archive ends before, or when the member of a record does and the next one
  // begins: then only the bytes before that are in reach and `short_by_member` is set.
  bool need(size_t n, bool& short_by_member) {
    while (window().size() < n) {
      bool new_member = members_ && members_->at_member_start();
      size_t old = window().size();
      if (!fill()) return false;
      if (new_member && window().substr(old).starts_with(kMagic)) {
        at_ += old;  // what was read of the short record is given up
        return !(short_by_member = true);
      }
    }
    return true;
  }

  // To the next line that begins with "WARC/" after the window's first byte, over damage too. Adds what was passed
  // over.
  bool resync(int64_t& passed) {
    for (;;) {
      std::string_view w = window();
      size_t found = w.find("\nWARC/", 0);
      if (found != std::string_view::npos) return skip_counted(found + 1, passed), true;
      skip_counted(w.size() - std::min<size_t>(w.size(), kMagic.size()), passed);
      if (fill()) continue;
      skip_counted(window().size(), passed);
      if (!members_ || !members_->damage() || !members_->seek_member()) return false;
      buffer_.clear(), at_ = 0;
      return true;
    }
  }

 private:
  void skip_counted(size_t n, int64_t& passed) { at_ += n, passed += static_cast<int64_t>(n); }
  MappedFile file_;
  std::optional<GzipMembers> members_;
  std::unique_ptr<InputStream> plain_;
  std::string buffer_;
  size_t at_ = 0;
};

// The header's fields; nullopt when it has no valid length.
std::optional<size_t> read_header(std::string_view header, WarcRecord& r) {
  std::optional<size_t> length;
  for_each_header(header, [&](const std::string& name, std::string_view value) {
    if (name == "warc-type") r.type = lower_ascii(value);
    if (name == "warc-target-uri") r.url = value.starts_with('<') ? value.substr(1, value.size() - 2) : value;
    if (name == "warc-date") r.date = value;
    if (name == "content-type") r.content_type = value;
    if (name == "content-length") {
      size_t n = 0;
      auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
      if (error == std::errc() && end == value.data() + value.size()) length = n;
    }
  });
  return length;
}

// The length of the header in the window with its blank line, or 0 when there is none in reach.
size_t header_length(Archive& in, bool& short_by_member) {
  for (;;) {
    std::string_view w = in.window();
    for (std::string_view end : {"\r\n\r\n", "\n\n"})
      if (size_t at = w.find(end); at != std::string_view::npos && at < kMaxHeader) return at + end.size();
    if (w.size() >= kMaxHeader || !in.need(w.size() + 1, short_by_member)) return 0;
  }
}

// Passes over a block that is too large to hold.
bool skip_block(Archive& in, size_t n, bool& short_by_member) {
  while (n > 0) {
    if (!in.need(1, short_by_member)) return false;
    size_t step = std::min(n, in.window().size());
    in.skip(step), n -= step;
  }
  return true;
}

bool skip_blank(Archive& in) {
  for (;;) {
    std::string_view w = in.window();
    size_t n = std::min(w.find_first_not_of("\r\n"), w.size());
    in.skip(n);
    if (n < w.size()) return true;
    if (!in.fill()) return false;
  }
}

// The next record into r, its block still in the window. Returns its problem, or "end".
std::string read_record(Archive& in, int64_t max_bytes, WarcRecord& r, bool& short_by_member) {
  auto cut_off = [&](const char* otherwise) { return in.damage().empty() ? std::string(otherwise) : in.damage(); };
  if (!skip_blank(in)) return cut_off("end");
  size_t header = header_length(in, short_by_member);
  if (short_by_member) return "truncated_record";
  std::optional<size_t> length;
  if (header && in.window().starts_with(kMagic)) length = read_header(in.window().substr(0, header), r);
  if (!length) return header ? "bad_record_header" : cut_off("bad_record_header");
  in.skip(header);
  r.bytes = *length > INT64_MAX ? INT64_MAX : static_cast<int64_t>(*length);
  if (r.bytes > max_bytes) return skip_block(in, *length, short_by_member) ? "too_large" : cut_off("truncated_record");
  if (!in.need(*length, short_by_member)) return cut_off("truncated_record");
  r.block = in.window().substr(0, *length);
  return "";
}

}  // namespace

bool is_warc_name(std::string_view name) { return name.ends_with(".warc") || name.ends_with(".wet"); }

void read_warc(const std::string& path, int64_t max_record_bytes,
               const std::function<void(const WarcRecord&)>& record) {
  Archive in(path);
  for (bool more = true; more;) {
    WarcRecord r;
    bool short_by_member = false;
    r.problem = read_record(in, max_record_bytes, r, short_by_member);
    if (r.problem == "end") return;
    size_t block = r.block.size();
    if (r.problem.empty() || r.problem == "too_large" || short_by_member) {
      record(r);
      in.skip(block);
    } else {
      r.bytes = 0;
      more = in.resync(r.bytes);
      record(r);
    }
  }
}

}  // namespace puyu
