#include "data/reader.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/utf8.h"
#include "data/ascii.h"
#include "data/charset.h"
#include "data/compress.h"
#include "data/http.h"
#include "data/warc.h"
#include "text/html.h"
#include "text/roff.h"
#include "text/unicode.h"

namespace puyu {
namespace {

struct Reading {
  const InputFile& file;
  const ReaderOptions& options;
  const DocumentSink& document;
  const FailureSink& failure;
  size_t index = 0;
  std::map<std::string, int64_t> repairs = {};  // of the whole file, for every document in it

  Document start() {
    Document d;
    d.repairs = repairs;
    d.id = document_id(file.source, file.name, index++);
    d.source = file.source, d.url = file.name, d.language = file.language;
    return d;
  }
  void emit(Document&& d, std::string content, Format format) {
    d.content = std::move(content), d.format = format;
    if (d.content.find_first_not_of(" \t\r\n") == std::string::npos) return fail_as(std::move(d), "empty", 0);
    document(std::move(d));
  }
  void fail_as(Document&& d, const std::string& reason, size_t bytes) {
    d.content.clear();
    failure({std::move(d), reason, static_cast<int64_t>(bytes)});
  }
};

std::string_view without_compression(std::string_view name) {
  for (std::string_view ending : {".gz", ".zst"})
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  return name;
}

// "x.1", "x.3ssl", "x.n": a section of the manual.
bool has_section_ending(std::string_view name) {
  size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size()) return false;
  std::string_view e = name.substr(dot + 1);
  if (e == "n" || e == "l") return true;
  if (e[0] < '1' || e[0] > '9' || e.size() > 6) return false;
  for (char c : e.substr(1))
    if (!std::isalpha(static_cast<unsigned char>(c))) return false;
  return true;
}

// Text has no NUL and few other control characters; the first 8 KiB decide.
bool looks_binary(std::string_view bytes) {
  bytes = bytes.substr(0, 8192);
  size_t control = 0;
  for (char c : bytes) {
    if (c == '\0') return true;
    control += c >= 0 && c < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != '\f' && c != 0x1b;
  }
  return control * 20 > bytes.size();
}

void read_jsonl(Reading& r, InputStream& in) {
  auto most = static_cast<size_t>(r.options.max_record_bytes);
  for (std::string line, reason; in.read_line(line, most);) {
    if (line.size() > most) {
      r.fail_as(r.start(), "too_large", line.size());
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Document base = r.start();
    auto d = parse_document(line, reason);
    if (!d) {
      r.fail_as(std::move(base), reason, line.size());
      continue;
    }
    if (!r.options.keep_ids || d->source.empty() || !is_document_id(d->id)) d->id = base.id, d->source = base.source;
    if (d->url.empty()) d->url = cat(r.file.name, "#", r.index - 1);
    if (!base.language.empty()) d->language = base.language;
    std::string content = std::move(d->content);
    r.emit(std::move(*d), std::move(content), Format::kText);
  }
}

void read_fortunes(Reading& r, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find("\n%\n", at);
    std::string_view piece = text.substr(at, end == std::string_view::npos ? end : end - at);
    at = end == std::string_view::npos ? text.size() : end + 3;
    if (piece == "%" || piece == "%\n" || piece.empty()) continue;
    Document d = r.start();
    d.url = cat(r.file.name, "#", r.index - 1);
    r.emit(std::move(d), std::string(piece), Format::kText);
  }
}

// A long text in pieces of about split_bytes, cut where a paragraph ends.
void read_text(Reading& r, std::string_view text) {
  size_t most = r.options.split_bytes > 0 ? static_cast<size_t>(r.options.split_bytes) : text.size();
  bool whole = text.size() <= most;
  while (!text.empty()) {
    size_t cut = text.size();
    if (cut > most) {
      cut = text.find("\n\n", most);
      cut = cut == std::string_view::npos ? text.size() : cut + 2;
    }
    Document d = r.start();
    if (!whole) d.url = cat(r.file.name, "#", r.index - 1);
    r.emit(std::move(d), std::string(text.substr(0, cut)), Format::kText);
    text.remove_prefix(cut);
  }
}

std::map<std::string, int64_t> repairs_of(const DecodedText& t) {
  std::map<std::string, int64_t> out;
  if (t.misdeclared) out["charset_misdeclared"] = 1;
  if (t.guessed) out["charset_guessed"] = 1;
  if (t.replaced) out["invalid_charset"] = t.replaced;
  return out;
}

// d comes with id, source and url; `charset` is what a header outside the page says.
void read_html(Reading& r, Document&& d, std::string_view bytes, std::string_view charset = {}) {
  DecodedText text = decode_text(bytes, charset, true);
  HtmlPage page = extract_html(text.text);
  if (!page.problem.empty()) return r.fail_as(std::move(d), page.problem, bytes.size());
  d.title = page.title, d.repairs = repairs_of(text);
  if (std::string date = iso_date(page.date); !date.empty()) d.date = date;
  r.emit(std::move(d), std::move(page.content), Format::kWeb);
}

void read_web_text(Reading& r, Document&& d, std::string_view bytes, std::string_view charset) {
  DecodedText text = decode_text(bytes, charset, false);
  if (looks_binary(text.text)) return r.fail_as(std::move(d), "binary", bytes.size());
  d.repairs = repairs_of(text);
  r.emit(std::move(d), std::move(text.text), Format::kWeb);
}

bool looks_like_html(std::string_view bytes) {
  std::string head = lower_ascii(trim_ascii(bytes.substr(0, 1024)));
  return head.starts_with("<!doctype html") || head.find("<html") != std::string::npos;
}

void read_web(Reading& r, Document&& d, std::string_view bytes, const std::string& media_type,
              std::string_view charset) {
  bool html = media_type == "text/html" || media_type == "application/xhtml+xml";
  if (html || (media_type.empty() && looks_like_html(bytes))) return read_html(r, std::move(d), bytes, charset);
  if (media_type == "text/plain") return read_web_text(r, std::move(d), bytes, charset);
  r.fail_as(std::move(d), "not_text", bytes.size());
}

void read_record(Reading& r, const WarcRecord& record) {
  Document d = r.start();
  d.url = record.url.empty() ? cat(r.file.name, "#", r.index - 1) : repair_utf8(record.url);
  d.date = iso_date(record.date);
  auto bytes = static_cast<size_t>(record.bytes);
  if (!record.problem.empty()) return r.fail_as(std::move(d), record.problem, bytes);
  if (record.type == "conversion" || record.type == "resource") {
    std::string type = lower_ascii(trim_ascii(record.content_type.substr(0, record.content_type.find(';'))));
    return read_web(r, std::move(d), record.block, type, header_parameter(record.content_type, "charset"));
  }
  if (record.type != "response") {
    constexpr std::string_view kOthers[] = {"warcinfo", "request", "metadata", "revisit", "continuation"};
    bool known = std::find(std::begin(kOthers), std::end(kOthers), record.type) != std::end(kOthers);
    return r.fail_as(std::move(d), cat("record_", known ? record.type : "other"), bytes);
  }
  if (!record.content_type.starts_with("application/http")) return r.fail_as(std::move(d), "record_other", bytes);
  HttpResponse http = parse_http_response(record.block, static_cast<size_t>(r.options.max_record_bytes));
  if (!http.problem.empty()) return r.fail_as(std::move(d), http.problem, bytes);
  if (http.status != 200) return r.fail_as(std::move(d), cat("http_", http.status), bytes);
  read_web(r, std::move(d), http.body, http.media_type, http.charset);
}

void read_manual(Reading& r, std::string_view bytes) {
  Document d = r.start();
  ManualPage page = roff_to_text(bytes);
  if (!page.alias_of.empty()) return r.fail_as(std::move(d), "alias", bytes.size());
  d.title = page.title, d.date = iso_date(page.date);
  r.emit(std::move(d), std::move(page.text), Format::kManual);
}

void read_whole(Reading& r, InputStream& in, std::string_view name) {
  std::string bytes;
  auto most = static_cast<size_t>(r.options.max_file_bytes);
  in.read_all(bytes, most);
  bool utf16 = bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff");
  const char* problem = !in.damage().empty()            ? in.damage().c_str()
                        : bytes.size() > most           ? "too_large"
                        : bytes.empty()                 ? "empty"
                        : looks_binary(bytes) && !utf16 ? "binary"
                                                        : nullptr;
  if (problem) return r.fail_as(r.start(), problem, in.file_bytes());
  if (name.ends_with(".html") || name.ends_with(".htm")) return read_html(r, r.start(), bytes);
  DecodedText text = decode_text(bytes, "", false);
  if (utf16 && looks_binary(text.text)) return r.fail_as(r.start(), "binary", in.file_bytes());
  r.repairs = repairs_of(text);
  if (name.ends_with(".fortune")) return read_fortunes(r, text.text);
  if (has_section_ending(name) && looks_like_roff(text.text)) return read_manual(r, text.text);
  std::string code = code_language(name, text.text);
  if (code.empty()) return read_text(r, text.text);
  Document d = r.start();
  d.language = code, d.title = name.substr(name.rfind('/') + 1);
  r.emit(std::move(d), std::move(text.text), Format::kCode);
}

}  // namespace

void read_documents(const InputFile& file, const ReaderOptions& options, const DocumentSink& document,
                    const FailureSink& failure) {
  Reading r{file, options, document, failure};
  std::unique_ptr<InputStream> in;
  std::string_view name = without_compression(file.name);
  try {
    in = std::make_unique<InputStream>(file.path);
  } catch (const Error&) { return r.fail_as(r.start(), "unreadable", static_cast<size_t>(file.bytes)); }
  if (is_warc_name(name))
    return read_warc(file.path, options.max_record_bytes, [&](const WarcRecord& w) { read_record(r, w); });
  if (!name.ends_with(".jsonl") && !name.ends_with(".json")) return read_whole(r, *in, name);
  read_jsonl(r, *in);
  if (!in->damage().empty()) r.fail_as(r.start(), in->damage(), in->file_bytes());
}

}  // namespace puyu
