// A file being read (reader.h): what the readers of the formats share. Each reader hands over documents and failures in
// the order of the file; a document's number in it makes its id, so failures count too.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/compress.h"
#include "data/reader.h"

namespace puyu {

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
  // One of several in the file.
  Document start_numbered() {
    Document d = start();
    d.url = cat(file.name, "#", index - 1);
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

// Text has no NUL and few other control characters; the first 8 KiB decide.
bool looks_binary(std::string_view bytes);
// A file's bytes, unpacked, by its name.
void read_bytes(Reading& r, std::string bytes, std::string_view name);

// The readers of formats, each in read_NAME.cc.
bool read_book(Reading& r, std::string_view text);  // false: it is no book
void read_git(Reading& r);
bool is_latex_name(std::string_view name);
void read_paper(Reading& r, std::string_view text);  // what it inputs lies in its folder
void read_paper_archive(Reading& r, std::string_view tar);
void read_parquet(Reading& r);
bool is_wikipedia(std::string_view head);
void read_wikipedia(Reading& r, InputStream& in, std::string head);  // head: what has been read of `in`

}  // namespace puyu
