// Wikitext and LaTeX to text, feature by feature.
#include <gtest/gtest.h>

#include "text/latex.h"
#include "text/wikitext.h"

namespace puyu {
namespace {

TEST(Wikitext, ParagraphsLinksAndTemplates) {
  EXPECT_EQ(wikitext_to_text("{{Infobox|a={{b}}|c=[[d]]}}'''Berlin''' ({{lang|de|x}}; {{IPA}}) is the ''capital'' of "
                             "[[Germany]] and [[City|a city]].<ref name=\"a\">{{cite|x}}</ref><ref name=b />\n"),
            "Berlin is the capital of Germany and a city.\n");
  EXPECT_EQ(
      wikitext_to_text("[[File:a.jpg|thumb|A [[link]] in a caption]]Text [[:Category:X|x]].\n[[Category:Y]]\n[[fr:Z]]"),
      "Text x.\n");
  EXPECT_EQ(
      wikitext_to_text("See [http://a.b/c the label] and [http://a.b].<!-- not\nthis --> a[1] &amp; &#8211; &nbsp;b"),
      "See the label and . a[1] & –  b\n");
  EXPECT_EQ(wikitext_to_text("[[Datei:x.png|y]]a", {{"Datei"}}), "a\n");
  EXPECT_EQ(wikitext_to_text("一-{zh-hans:计算机; zh-hant:電腦}-二-{T|標題}-三__NOTOC__"), "一计算机二三\n");
  EXPECT_EQ(wikitext_to_text("unclosed {{ and [[ stay"), "unclosed {{ and [[ stay\n");
}

TEST(Wikitext, HeadingsListsTablesFormulaeAndCode) {
  EXPECT_EQ(
      wikitext_to_text(
          "Intro.\n== History ==\n=== Early ===\nOld.\n== Empty ==\n{{x}}\n=== Below ===\n== See also ==\n* [[a]]\n"
          "=== more ===\nb\n== End ==\nLast.\n"),
      "Intro.\n\nHistory\n\nEarly\n\nOld.\n\nEnd\n\nLast.\n");
  EXPECT_EQ(wikitext_to_text("* one\n** two\n# first\n# second\n: indented\n# again\n"),
            "- one\n- two\n1. first\n2. second\nindented\n1. again\n");
  EXPECT_EQ(
      wikitext_to_text(
          "{| class=\"wikitable\"\n|+ Caption\n! A !! B\n|-\n| style=\"x\" | 1 || [[b|2]]\n|-\n|3\n|4<br>5\n|}\nafter"),
      "Caption\nA | B\n1 | 2\n3 | 4 5\n\nafter\n");
  EXPECT_EQ(wikitext_to_text("Energy <math>E = mc^2 \\text{''x''}</math> and <nowiki>[[raw]]</nowiki>.\n"
                             "<syntaxhighlight lang=\"c\">\nint x = a[[0]];\n* y\n</syntaxhighlight>\nend"),
            "Energy $E = mc^2 \\text{''x''}$ and [[raw]].\n\nint x = a[[0]];\n* y\n\nend\n");
}

// What grows or repeats must stay linear: each of these would take minutes otherwise.
TEST(Wikitext, HostileTextsEnd) {
  auto repeated = [](const char* piece) {
    std::string out;
    while (out.size() < 300000) out += piece;
    return out;
  };
  for (const char* piece :
       {"{{", "[[", "}}", "<ref>", "<math>", "<!--", "'", "-{", "[http://", "(", "{|\n", "[[a|", "&", "<a", "="})
    wikitext_to_text(repeated(piece));
  for (const char* piece : {"\\begin{figure}", "\\begin{equation}", "{", "$", "\\footnote{", "\\section{", "\\[",
                            "\\item[", "\\label{", "\\input{a}", "\\'", "%\n", "\\newcommand{\\a", "\\title"}) {
    size_t missing = 0;
    latex_to_text(
        expand_latex_macros(expand_latex_inputs(repeated(piece), [](auto&) { return std::nullopt; }, missing)));
  }
}

std::string text_of(const std::string& body) {
  return latex_to_text(
             expand_latex_macros("\\documentclass{a}\n\\begin{document}\n" + body + "\n\\end{document}\nafter"))
      .text;
}

TEST(Latex, ParagraphsSectionsAndFormulae) {
  const LatexPaper p = latex_to_text(
      "\\documentclass[a4]{article}\\usepackage{x}\n\\title{On \\emph{Things}\\thanks{me}}\\author{A. "
      "B.}\n\\begin{document}\n"
      "\\maketitle\n\\begin{abstract}\nWe show\nit.\n\\end{abstract}\n\\section{Intro}\\label{s}\nText~\\cite{a,b} "
      "with $x_1 \\leq 2$ and\n"
      "\\[ y = \\frac{1}{2} \\label{e} \\]\nIt is 5\\% of \\$3. ``Quoted'' -- so.\n\n\\begin{align}\na &= b \\label{q} "
      "\\\\\nc &= d\n"
      "\\end{align}\nEnd\\footnote{A note.} \\textbf{bold}.\n\\begin{thebibliography}{9}\\bibitem{a} "
      "X\\end{thebibliography}\n\\end{document}");
  EXPECT_EQ(p.title, "On Things");
  EXPECT_EQ(p.text,
            "We show it.\n\nIntro\n\nText with $x_1 \\leq 2$ and\n\n\\[ y = \\frac{1}{2} \\]\n\nIt is 5% of $3. "
            "“Quoted” – so.\n\n"
            "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}\n\nEnd (A note.) bold.\n");
}

TEST(Latex, ListsTablesAccentsAndCode) {
  EXPECT_EQ(text_of("\\begin{itemize}\n\\item One\n\\item[Two] more\n\\end{itemize}\n\\begin{enumerate}\\item a \\item "
                    "b\\end{enumerate}"),
            "- One\n- Two more\n\n1. a\n2. b\n");
  EXPECT_EQ(
      text_of(
          "\\begin{table}\\begin{tabular}{ll}\n\\hline a & b \\\\\nc & \\textbf{d} \\\\ \\end{tabular}\\end{table}"),
      "a | b\nc | d\n");
  EXPECT_EQ(text_of("\\begin{figure}\\includegraphics[width=1cm]{x}\\caption{No}\\end{figure}Erd\\H{o}s, G\\\"odel, "
                    "na\\\"{\\i}ve, \\'Etude, "
                    "Stra\\ss e, \\href{http://x}{here}"),
            "Erdős, Gödel, naïve, Étude, Straße, here\n");
  EXPECT_EQ(text_of("\\begin{verbatim}\na % b\n  \\c{d}\n\\end{verbatim}x"), "a % b\n  \\c{d}\n\nx\n");
  EXPECT_EQ(text_of("中文的\n一段文字"), "中文的一段文字\n");
}

TEST(Latex, MacrosWithoutArgumentsAreExpanded) {
  EXPECT_EQ(
      text_of("\\newcommand{\\R}{\\mathbb{R}}\\def\\net{our net}\\newcommand\\two[1]{#1}\\DeclareMathOperator{\\im}{im}"
              "On $\\R^n$, \\net{} is $\\im f$, \\two{kept}."),
      "On $\\mathbb{R}^n$, our net is $\\operatorname{im} f$, kept.\n");
  // A macro of itself and one that doubles twenty times end.
  std::string bomb = "\\def\\a{\\a\\a}";
  for (char c = 'b'; c < 'v'; ++c) bomb += std::string("\\def\\") + c + "{\\" + char(c + 1) + "\\" + char(c + 1) + "}";
  EXPECT_LT(expand_latex_macros(bomb + "\\a\\b").size(), size_t{4} << 20);
}

TEST(Latex, InputsAndComments) {
  size_t missing = 0;
  auto files = [](const std::string& name) -> std::optional<std::string> {
    if (name == "self") return "s\\input{self}\\input self ";
    if (name == "intro") return "intro % comment\n  goes on";
    return std::nullopt;
  };
  EXPECT_EQ(expand_latex_inputs("a\\input{intro}b % \\input{intro}\n\n\\include{gone}\\% 5", files, missing),
            "aintro goes onb \n\n\\% 5");
  EXPECT_EQ(missing, 1u);
  EXPECT_LT(expand_latex_inputs("\\input self", files, missing).size(), 4000u);
  EXPECT_TRUE(is_latex_main("% x\n\\documentclass{a}\\begin{document}"));
  EXPECT_FALSE(is_latex_main("% \\documentclass{a}\n\\begin{document}"));
}

}  // namespace
}  // namespace puyu
