// Plain-text books: Project Gutenberg's header and licence left out, lines that were wrapped joined to paragraphs, and
// the book cut between chapters where it is longer than split_bytes.
#include <algorithm>
#include <cctype>

#include "base/utf8.h"
#include "data/ascii.h"
#include "data/reading.h"

namespace puyu {
namespace {

constexpr size_t kFewestChapters = 3;  // of a book that does not say that it is one
constexpr size_t kLongestHeading = 80;
constexpr size_t kMostHeader = size_t{64} << 10;

struct Book {
  std::string title, language, date;
  std::string_view text;
  bool gutenberg = false;
};

// The line with "*** START OF THE PROJECT GUTENBERG EBOOK" (or END): where it begins and what follows it.
bool find_marker(std::string_view text, std::string_view word, size_t from, size_t& begin, size_t& after) {
  for (size_t at = text.find("***", from); at != text.npos; at = text.find("***", at + 3)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = lower_ascii(text.substr(at, std::min<size_t>(end - at, 200)));
    if (line.find(word) == line.npos || line.find("project gutenberg") == line.npos) continue;
    begin = at, after = std::min(end + 1, text.size());
    return true;
  }
  return false;
}

std::string header_field(std::string_view header, std::string_view name) {
  size_t at = header.find(name);
  if (at == header.npos || (at > 0 && header[at - 1] != '\n')) return "";
  at += name.size();
  const size_t end = std::min(header.find('\n', at), header.size());
  return std::string(trim_ascii(header.substr(at, end - at)));
}

Book without_gutenberg(std::string_view text) {
  Book book;
  book.text = text;
  size_t begin = 0, after = 0;
  if (!find_marker(text.substr(0, kMostHeader), "start of", 0, begin, after)) return book;
  book.gutenberg = true;
  const std::string_view header = text.substr(0, begin);
  book.title = header_field(header, "Title:");
  const std::string language = header_field(header, "Language:");
  book.language = language == "English" ? "en" : language == "Chinese" ? "zh" : "";
  book.date = iso_date(header_field(header, "Release date:") + header_field(header, "Release Date:"));
  size_t end = 0, rest = 0;
  book.text = text.substr(after);
  if (find_marker(book.text, "end of", 0, end, rest)) book.text = book.text.substr(0, end);
  return book;
}

bool is_numeral(std::string_view word) {
  while (!word.empty() && (word.back() == '.' || word.back() == ':')) word.remove_suffix(1);
  if (word.empty()) return false;
  auto only = [&](std::string_view set) { return word.find_first_not_of(set) == word.npos; };
  constexpr std::string_view kWords[] = {"one",   "two",    "three", "four",   "five",   "six",      "seven",
                                         "eight", "nine",   "ten",   "eleven", "twelve", "thirteen", "the",
                                         "first", "second", "third", "fourth", "fifth",  "last"};
  const std::string lower = lower_ascii(word);
  return only("0123456789") || only("IVXLC") || only("ivxlc") ||
         std::find(std::begin(kWords), std::end(kWords), lower) != std::end(kWords);
}

// "第十二回 …": 第, a number, and one of 章回卷节篇部折.
bool is_chinese_heading(std::string_view line) {
  constexpr std::string_view kFirst = "第";
  if (!line.starts_with(kFirst)) return false;
  size_t at = kFirst.size(), digits = 0;
  for (char32_t c = 0; size_t n = decode_utf8(line, at, c); at += n, ++digits) {
    const bool digit = (c >= '0' && c <= '9') ||
                       std::u32string_view(U"〇零一二三四五六七八九十百千两○").find(c) != std::u32string_view::npos;
    if (!digit) return digits > 0 && std::u32string_view(U"章回卷节節篇部折").find(c) != std::u32string_view::npos;
  }
  return false;
}

// A line of its own: "CHAPTER IV", "Chapter 4. The Storm", "BOOK TWO", "第四章 风暴".
bool is_heading(std::string_view line) {
  line = trim_ascii(line);
  if (line.empty() || line.size() > kLongestHeading) return false;
  if (is_chinese_heading(line)) return true;
  for (std::string_view word : {"chapter ", "book ", "part ", "act ", "canto ", "letter ", "volume "}) {
    const std::string head = lower_ascii(line.substr(0, word.size()));
    if (head != word || !std::isupper(static_cast<unsigned char>(line[0]))) continue;
    const std::string_view rest = trim_ascii(line.substr(word.size()));
    return is_numeral(rest.substr(0, rest.find_first_of(" .:—-")));
  }
  return false;
}

// Where chapters begin: headings after a blank line. The lines of a table of contents stand one below the other and are
// none.
std::vector<size_t> find_chapters(std::string_view text) {
  std::vector<size_t> out;
  bool after_blank = true;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const bool blank = trim_ascii(line).empty();
    if (after_blank && is_heading(line)) {
      const size_t next = std::min(end + 1, text.size()), stop = std::min(text.find('\n', next), text.size());
      if (!is_heading(text.substr(next, stop - next))) out.push_back(at);
    }
    after_blank = blank;
    at = end + 1;
  }
  return out;
}

// "[Illustration]" and "[Illustration: …]".
bool is_illustration(std::string_view line) {
  line = trim_ascii(line);
  return line.starts_with("[Illustration") && line.ends_with(']');
}

// Paragraphs of prose whose lines were wrapped, on one line; verse, lists and what is indented stays.
std::string unwrapped(std::string_view text) {
  constexpr size_t kWrapped = 45;  // bytes; a shorter line inside a paragraph was broken on purpose
  std::string out;
  std::vector<std::string_view> lines;
  auto paragraph = [&] {
    bool prose = lines.size() > 1;
    for (size_t i = 0; i < lines.size(); ++i)
      prose =
          prose && lines[i][0] != ' ' && lines[i][0] != '\t' && (i + 1 == lines.size() || lines[i].size() >= kWrapped);
    for (size_t i = 0; i < lines.size(); ++i) {
      out += prose ? trim_ascii(lines[i]) : lines[i];
      out += prose && i + 1 < lines.size() ? ' ' : '\n';
    }
    lines.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at = end + 1;
    if (is_illustration(line)) continue;
    if (!trim_ascii(line).empty()) {
      lines.push_back(line);
      continue;
    }
    paragraph();
    if (!out.empty() && !out.ends_with("\n\n\n")) out += '\n';
  }
  paragraph();
  return out;
}

}  // namespace

bool read_book(Reading& r, std::string_view text) {
  const Book book = without_gutenberg(text);
  const std::vector<size_t> chapters = find_chapters(book.text);
  if (!book.gutenberg && chapters.size() < kFewestChapters) return false;
  const size_t most = r.options.split_bytes > 0 ? static_cast<size_t>(r.options.split_bytes) : text.size();
  const bool whole = book.text.size() <= most;
  auto emit = [&](std::string_view piece) {
    Document d = whole ? r.start() : r.start_numbered();
    d.title = book.title, d.date = book.date;
    if (d.language.empty()) d.language = book.language;
    r.emit(std::move(d), book.gutenberg ? unwrapped(piece) : std::string(piece), Format::kText);
  };
  // As many chapters as fit; one that does not is cut at a blank line.
  std::string_view left = book.text;
  for (size_t next = 0; !left.empty();) {
    const auto from = static_cast<size_t>(left.data() - book.text.data());
    size_t cut = left.size();
    if (cut > most) {
      while (next < chapters.size() && chapters[next] <= from + most) ++next;  // the first that does not fit
      const size_t last = next > 0 && chapters[next - 1] > from ? chapters[next - 1] - from : 0;
      cut = last;
      if (last == 0) {
        const size_t stop = next < chapters.size() ? chapters[next] - from : left.size();
        cut = left.find("\n\n", most);
        cut = std::min(cut == left.npos ? left.size() : cut + 2, stop);
      }
    }
    if (trim_ascii(left.substr(0, cut)).empty())
      left.remove_prefix(cut);
    else
      emit(left.substr(0, cut)), left.remove_prefix(cut);
  }
  return true;
}

}  // namespace puyu
