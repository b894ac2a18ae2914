// Wikitext, dumps of it, LaTeX, archives of it and books: any bytes give text or a reason.
#include "data/reader.h"
#include "data/tar.h"
#include "fuzz.h"
#include "text/latex.h"
#include "text/wikitext.h"

using namespace puyu;

namespace {
// One file as an archive, in the form of POSIX.
std::string tar(const std::string& name, const std::string& content) {
  std::string h(512, '\0');
  auto put = [&](size_t at, const std::string& s) { h.replace(at, s.size(), s); };
  char size[16];
  std::snprintf(size, sizeof size, "%011zo", content.size());
  put(0, name), put(100, "0000644"), put(124, size), put(148, "        "), put(156, "0"),
      put(257, std::string("ustar\0", 6)), put(263, "00");
  unsigned sum = 0;
  for (char c : h) sum += static_cast<unsigned char>(c);
  std::snprintf(size, sizeof size, "%06o", sum);
  put(148, std::string(size) + '\0');
  return h + content + std::string((512 - content.size() % 512) % 512, '\0');
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string wiki =
      "{{a|[[b]]}} '''x''' [[File:y|z]] [[c|d]]\n== h ==\n* i\n# j\n{| a=1\n! k !! l\n|-\n| b=1 | m || "
      "n\n|}\n<ref>r</ref><math>q</math>-{zh-hans:s;zh:t}-";
  const std::string tex =
      "\\documentclass{a}\\newcommand{\\R}{\\mathbb{R}}\\def\\q#1{x}\n\\title{T}\\begin{document}\\section{s} $x$ "
      "\\[y\\] \\input{b} \\'e\n"
      "\\begin{itemize}\\item[a] b\\end{itemize}\\begin{tabular}{l}a & b\\\\\\end{tabular}\\footnote{f}% "
      "c\n\\begin{align}z\\end{align}\\end{document}";
  const std::string book =
      "Title: X\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\nCHAPTER I\n\na\n\nCHAPTER II\n\nb\n\n*** END OF THE "
      "PROJECT GUTENBERG EBOOK X ***\nlicence";
  return {"W" + wiki, "L" + tex,
          "D<mediawiki xml:lang=\"en\"><siteinfo><base>http://a/b</base><namespaces><namespace "
          "key=\"6\">F</namespace></namespaces></siteinfo>"
          "<page><title>t</title><ns>0</ns><revision><timestamp>2024-01-02T</timestamp><text bytes=\"3\">a &lt;b&gt; "
          "&amp;amp;</text></revision></page>"
          "<page><title>u</title><ns>0</ns><redirect title=\"x\" /></page></mediawiki>",
          "T" + tar("a/main.tex", tex) + tar("a/b.tex", "b") + std::string(1024, '\0'), "D" + book};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes = fuzz_bytes(data + 1, size - 1);
  if (data[0] == 'W') wikitext_to_text(bytes);
  if (data[0] == 'L') {
    size_t missing = 0;
    auto files = [](const std::string& name) -> std::optional<std::string> {
      return name.empty() || name[0] == 'x' ? std::nullopt : std::optional(name + "\\input{" + name + "}");
    };
    latex_to_text(expand_latex_macros(expand_latex_inputs(bytes, files, missing)));
  }
  if (data[0] != 'D' && data[0] != 'T') return 0;
  MemoryFile file(bytes);
  ReaderOptions options;
  options.max_record_bytes = 4096, options.split_bytes = 16;
  read_documents(
      {file.path(), "s", "a", "", static_cast<int64_t>(size)}, options,
      [](Document&& d) { expect(!d.content.empty()); },
      [](ReadFailure&& f) { expect(!f.reason.empty() && f.bytes >= 0); });
  return 0;
}
