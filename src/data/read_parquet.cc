// Parquet files to documents: a row a document, the columns named as the fields of JSONL.
#include <algorithm>

#include "base/utf8.h"
#include "data/parquet.h"
#include "data/reading.h"

namespace puyu {
namespace {

constexpr size_t kPageRecords = 8;  // a page may hold as many of the largest records

struct TextColumn {
  std::string Document::* field;
  const ParquetColumn* column;
};

struct Wanted {
  const ParquetColumn* content;
  std::vector<TextColumn> others;
};

Wanted wanted_columns(const ParquetFooter& footer) {
  Wanted w{find_parquet_column(footer, {"content", "text"}), {}};
  if (!w.content) throw ParquetError("no_text_field", "no column 'content' or 'text' of texts");
  const TextColumn others[] = {{&Document::id, find_parquet_column(footer, {"id"})},
                               {&Document::title, find_parquet_column(footer, {"title"})},
                               {&Document::language, find_parquet_column(footer, {"language", "lang"})},
                               {&Document::date, find_parquet_column(footer, {"date", "timestamp"})},
                               {&Document::source, find_parquet_column(footer, {"source"})},
                               {&Document::url, find_parquet_column(footer, {"url"})}};
  for (const TextColumn& c : others)
    if (c.column) w.others.push_back(c);
  return w;
}

void read_group(Reading& r, std::string_view file, const Wanted& wanted, const ParquetGroup& group) {
  const auto most = static_cast<size_t>(r.options.max_record_bytes);
  auto open = [&](const ParquetColumn& c) {
    if (c.leaf >= group.chunks.size()) bad_parquet("a row group without column '" + c.name + "'");
    return ParquetColumnReader(file, c, group.chunks[c.leaf], most * kPageRecords);
  };
  ParquetColumnReader content = open(*wanted.content);
  std::vector<ParquetColumnReader> others;
  for (const TextColumn& c : wanted.others) others.push_back(open(*c.column));
  for (int64_t row = 0; row < group.rows; ++row) {
    // The whole row first: a document stands for a row that could be read.
    const std::optional<std::string_view> text = content.next();
    Document row_fields;
    for (size_t c = 0; c < others.size(); ++c)
      if (auto v = others[c].next()) row_fields.*wanted.others[c].field = repair_utf8(*v);
    Document d = r.start_numbered();
    if (r.options.keep_ids && !row_fields.source.empty() && is_document_id(row_fields.id))
      d.id = row_fields.id, d.source = row_fields.source;
    d.title = row_fields.title, d.date = row_fields.date;
    if (!row_fields.url.empty()) d.url = row_fields.url;
    if (d.language.empty()) d.language = row_fields.language;
    if (text && text->size() > most)
      r.fail_as(std::move(d), "too_large", text->size());
    else
      r.emit(std::move(d), text ? std::string(*text) : "", Format::kText);
  }
}

}  // namespace

void read_parquet(Reading& r) {
  const MappedFile file(r.file.path);
  try {
    const ParquetFooter footer = read_parquet_footer(file.bytes());
    const Wanted wanted = wanted_columns(footer);
    // Runs of nulls cost next to nothing: a small file must not make the documents of a large one.
    uint64_t rows = 0;
    for (const ParquetGroup& group : footer.groups)
      rows += std::min<uint64_t>(static_cast<uint64_t>(group.rows), file.size() + 1);
    if (rows > file.size()) bad_parquet("the file says that it has more rows than bytes");
    for (const ParquetGroup& group : footer.groups) {
      try {
        read_group(r, file.bytes(), wanted, group);
      } catch (const ParquetError& e) {  // the next group may be whole
        int64_t bytes = 0;
        if (wanted.content->leaf < group.chunks.size()) bytes = group.chunks[wanted.content->leaf].bytes;
        r.fail_as(r.start_numbered(), e.reason, static_cast<size_t>(std::max<int64_t>(0, bytes)));
      }
    }
  } catch (const ParquetError& e) { r.fail_as(r.start(), e.reason, file.size()); }
}

}  // namespace puyu
