#include "text/roff.h"

#include <gtest/gtest.h>

namespace puyu {
namespace {

TEST(Roff, ManPage) {
  ManualPage p = roff_to_text(R"(.\" a comment
.TH LS "1" "September 2022" "GNU coreutils 9.1" "User Commands"
.SH NAME
ls \- list directory contents
.SH SYNOPSIS
.B ls
[\fI\,OPTION\/\fR]... [\fI\,FILE\/\fR]...
.PP
Second
paragraph.
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore entries
starting with .
.nf
  code  kept
.fi
.BR foo (1),
.IR bar "(2) x"
)");
  EXPECT_EQ(p.title, "ls(1)");
  EXPECT_EQ(p.date, "September 2022");
  EXPECT_EQ(p.text,
            "NAME\n    ls - list directory contents\n\nSYNOPSIS\n    ls [OPTION]... [FILE]...\n\n"
            "    Second paragraph.\n\n    -a, --all\n        do not ignore entries starting with .\n"
            "          code  kept\n        foo(1), bar(2) x\n");
}

TEST(Roff, NameLinesAreTidy) {
  auto name = [](std::string body) {
    std::string t = roff_to_text(".TH X 1\n.SH NAME\n" + body + "\n.SH NEXT\ntext\n").text;
    return t.substr(0, t.find("NEXT"));
  };
  EXPECT_EQ(name("a,b ,c\\(emdoes it"), "NAME\n    a, b, c - does it\n\n");
  EXPECT_EQ(name("a,\nb \\- does\nit all"), "NAME\n    a, b - does it all\n\n");
  EXPECT_EQ(name("a \\- one\n.br\nb \\-\\- two"), "NAME\n    a - one\n    b - two\n\n");
  std::string zh = roff_to_text(".TH LS 1\n.SH 名称\nls \\- 列出目录内容\n.SH 描述\n列出“文件”。\n").text;
  EXPECT_EQ(zh, "名称\n    ls - 列出目录内容\n\n描述\n    列出“文件”。\n");
}

TEST(Roff, ConditionsAndDefinitionsAreSkipped) {
  EXPECT_EQ(roff_to_text(".ie n \\{\\\n.ds Q \"yes\n.\\}\n.el .ds Q no\n.if t \\{ hidden\n.de XX\nhidden\n..\n.\\}\n"
                         ".de YY\nhidden\n.  .\n.if !n hidden\n.SH A\n\\*Q \\(bu \\[u4E2D] \\N'65' a\\c\nb\n")
                .text,
            "A\n    yes • 中 A ab\n");
  EXPECT_EQ(roff_to_text(".so man1/grep.1\n").alias_of, "man1/grep.1");
}

TEST(Roff, Table) {
  EXPECT_EQ(
      roff_to_text(".SH A\n.TS\nallbox tab(:);\nlb lb\nl l.\nName:Value\n_\nx:T{\n.B long\ntext\nT}\n.TE\nend\n").text,
      "A\n\n    Name  Value\n    x  long text\n\n    end\n");
}

TEST(Roff, Mdoc) {
  ManualPage p = roff_to_text(R"(.Dd May 4, 2019
.Dt KILL 1
.Sh NAME
.Nm kill
.Nd terminate a process
.Sh SYNOPSIS
.Nm
.Op Fl s Ar signal
.Ar pid ...
.Sh OPTIONS
.Bl -tag
.It Fl l , Fl Fl list
Print names.
See
.Xr signal 7 .
.El
)");
  EXPECT_EQ(p.title, "kill(1)");
  EXPECT_EQ(p.text,
            "NAME\n    kill - terminate a process\n\nSYNOPSIS\n    kill [-s signal] pid ...\n\nOPTIONS\n\n"
            "    -l, --list\n        Print names. See signal(7).\n");
}

TEST(Roff, AnyBytesEnd) {
  for (std::string s : {"\\", ".\\", ".if", ".ie n", ".el \\{", "\\f", "\\f(", "\\*[", "\\h'", ".TS\nT{\n", ".de\n",
                        ".Bl\n.It\n.El\n.El\n", ".RE\n.RE\n.RE\ntext\n", ".SH", "\\[u110000]\\[uD800]", ".TH"})
    roff_to_text(s);
  std::string nested = ".SH A\n";
  for (int i = 0; i < 100000; ++i) nested += ".if n ";
  roff_to_text(nested + "x");
  ManualPage latin1 = roff_to_text(".SH A\ncaf\xe9\n");
  EXPECT_EQ(latin1.text, "A\n    café\n");
}

}  // namespace
}  // namespace puyu
