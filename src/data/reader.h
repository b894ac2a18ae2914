// Files to documents. Any folder will do: a file's reader is told by its name (.gz and .zst are taken off first) and
// anything else is read as text unless it looks binary. What cannot be read becomes a failure with a reason.
//
//   .jsonl .json              one document a line, text in "content" or "text"
//   .warc .wet                web archives (data/warc.h): pages and texts of responses and conversions
//   .html .htm                main content and title (text/html.h)
//   .1 .2 … .9, .3ssl, .n     manual pages (text/roff.h), when they hold roff
//   .fortune                  texts between lines of "%"
//   .py .cc .h …              code, the language by the ending
//   the rest                  text; long texts are cut at blank lines into several documents
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "data/document.h"

namespace puyu {

struct ReaderOptions {
  int64_t max_file_bytes = int64_t{64} << 20;
  int64_t max_record_bytes = int64_t{64} << 20;
  int64_t split_bytes = 65536;
  bool keep_ids = false;
  template <class F>
  void fields(F&& f) {
    f("max_file_bytes", max_file_bytes, "larger files are refused, JSONL and web archives excepted");
    f("max_record_bytes", max_record_bytes, "larger lines of JSONL and records of web archives are refused");
    f("keep_ids", keep_ids,
      "documents of a corpus of ours (JSONL with id and source) keep both; else they are made anew");
    f("split_bytes", split_bytes, "texts longer than this are cut at blank lines into several documents; 0: never");
  }
};

struct InputFile {
  std::string path;      // on disk
  std::string source;    // the collection
  std::string name;      // path inside the source
  std::string language;  // given by the configuration, or "" to find out
  int64_t bytes = 0;
};

struct ReadFailure {
  Document document;   // id, source and url only
  std::string reason;  // "binary", "truncated_gzip", "bad_json", ...
  int64_t bytes = 0;
};

using DocumentSink = std::function<void(Document&&)>;
using FailureSink = std::function<void(ReadFailure&&)>;

// Every document of the file in order, and every failure. Throws only on errors of the system.
void read_documents(const InputFile& file, const ReaderOptions& options, const DocumentSink& document,
                    const FailureSink& failure);

}  // namespace puyu
