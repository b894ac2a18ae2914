// Papers in LaTeX: a main file (one with \documentclass) a document, with what it reads by \input, from a folder or
// from an archive as arXiv gives them.
#include <filesystem>
#include <map>

#include "data/ascii.h"
#include "data/charset.h"
#include "data/reading.h"
#include "data/tar.h"
#include "text/latex.h"

namespace puyu {
namespace {

namespace fs = std::filesystem;

// "sections/intro.tex" from "./sections/../sections/intro"; "" when it leaves the folder.
std::string clean_name(const std::string& name) {
  if (name.find('\0') != name.npos || fs::path(name).is_absolute()) return "";
  const std::string clean = fs::path(name).lexically_normal().generic_string();
  return clean.starts_with("..") ? "" : clean;
}

void emit_paper(Reading& r, Document&& d, std::string_view source, const LatexFiles& files) {
  size_t missing = 0;
  const std::string whole = expand_latex_inputs(source, files, missing);
  LatexPaper paper = latex_to_text(expand_latex_macros(whole));
  d.title = paper.title;
  if (missing) d.repairs["missing_input"] = static_cast<int64_t>(missing);
  r.emit(std::move(d), std::move(paper.text), Format::kText);
}

std::string decoded(std::string_view bytes) { return decode_text(bytes, "", false).text; }

bool is_source(std::string_view name) {
  for (std::string_view ending : {".tex", ".ltx", ".latex", ".TEX"})
    if (name.ends_with(ending)) return true;
  return false;
}

}  // namespace

bool is_latex_name(std::string_view name) { return is_source(name); }

void read_paper(Reading& r, std::string_view text) {
  Document d = r.start();
  if (!is_latex_main(text)) return r.fail_as(std::move(d), "tex_part", text.size());
  const fs::path folder = fs::path(r.file.path).parent_path();
  // A file of the same folder or below it, through no link that leads out.
  auto files = [&](const std::string& name) -> std::optional<std::string> {
    const std::string clean = clean_name(name);
    if (clean.empty()) return std::nullopt;
    for (const std::string& candidate : {clean + ".tex", clean}) {
      std::error_code none;
      const fs::path path = fs::canonical(folder / candidate, none), root = fs::canonical(folder, none);
      if (none || !fs::is_regular_file(path, none)) continue;
      if (path.lexically_relative(root).generic_string().starts_with("..")) continue;
      if (fs::file_size(path, none) > static_cast<uint64_t>(r.options.max_file_bytes) || none) continue;
      return decoded(read_file(path.string()));
    }
    return std::nullopt;
  };
  emit_paper(r, std::move(d), text, files);
}

void read_paper_archive(Reading& r, std::string_view tar) {
  std::map<std::string, std::string> sources;
  const bool whole = read_tar(tar, [&](const std::string& name, std::string_view content) {
    if (std::string clean = clean_name(name); is_source(clean)) sources[clean] = decoded(content);
  });
  size_t mains = 0;
  for (const auto& [name, text] : sources) {
    if (!is_latex_main(text)) continue;
    ++mains;
    const fs::path folder = fs::path(name).parent_path();
    auto files = [&](const std::string& wanted) -> std::optional<std::string> {
      for (const std::string& candidate : {wanted + ".tex", wanted}) {
        auto it = sources.find(clean_name((folder / candidate).generic_string()));
        if (it != sources.end()) return it->second;
      }
      return std::nullopt;
    };
    Document d = r.start();
    d.url = cat(r.file.name, "#", name);
    emit_paper(r, std::move(d), text, files);
  }
  const char* problem = !whole            ? "damaged_tar"
                        : sources.empty() ? "archive_without_tex"
                        : mains == 0      ? "no_main_tex"
                                          : nullptr;
  if (problem) r.fail_as(r.start(), problem, tar.size());
}

}  // namespace puyu
