// One document on its way from a file to a token shard, and its form on disk: a line of JSON with the fixed fields
// {"id", "content", "title", "language", "date", "source", "url", "scores"} (docs/formats.md, "document").
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace puyu {

enum class Format { kText, kWeb, kManual, kCode };

struct Document {
  std::string id;        // 32 hexadecimal digits, a hash of where the document came from (document_id)
  std::string content;   // UTF-8
  std::string title;     // "" when it has none; manual pages: "ls(1)"
  std::string language;  // "en", "zh", ... or a programming language, "python"
  std::string date;      // "2022-09-01", "2022-09", "2022" or ""
  std::string source;    // the name of the collection, "man-en"
  std::string url;       // where it came from: its address, or the file's path inside the source ("ls.1.gz")
  std::map<std::string, double> scores;
  std::vector<std::pair<std::string, std::string>> pii;  // tag and what it stands for (pii.h); not written
  Format format = Format::kText;                         // how it was read; not written
  std::map<std::string, int64_t> repairs;  // what reading had to change, by kind: "charset_guessed"; not written
};

// Stable for a source and place inside it: the same on every machine and in every run.
std::string document_id(std::string_view source, std::string_view path, size_t index);
bool is_document_id(std::string_view text);  // has the form of one
Hash128 parse_id(const std::string& hex);
uint32_t date_number(const std::string& iso);  // 20220901, what is missing 0

std::string to_json_line(const Document& d);  // ends in a newline
// Parses such a line, or any JSON object with its text in "content" or "text"; nullopt and a reason when it is not one:
// "bad_json", "no_text_field". Invalid UTF-8 in strings is repaired.
std::optional<Document> parse_document(std::string_view line, std::string& reason);

// "en" and "zh" for themselves, "code" for programming languages, "other" for the rest: the unit of rules and of
// held-out sets.
std::string language_group(std::string_view language);
// The programming language by the file name's ending, or without one by its first line ("#!/bin/sh", "-*- C++ -*-");
// "" when it is no code.
std::string code_language(std::string_view file_name, std::string_view bytes = {});
// "1 September 2022", "2022年9月", "Sep 2022", "2022-9-1 …" as ISO 8601; "" when it is not understood.
std::string iso_date(std::string_view text);

}  // namespace puyu
