// Manual pages: any bytes give text.
#include "text/roff.h"

#include "base/utf8.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  return {
      ".TH LS 1 2022-09-01\n.SH NAME\nls \\- list directory contents\n.SH SYNOPSIS\n.B "
      "ls\n[\\fIOPTION\\fR]...\n.TP\n\\fB\\-a\\fR, "
      "\\fB\\-\\-all\\fR\ndo not\\c\nignore\n.RS\n.nf\n  x\\e\\(co\\[u4E66]\n.fi\n.RE\n.de XX\n.ie n a\n.el b\n..\n",
      ".Dd May 1, 2020\n.Dt CAT 1\n.Sh NAME\n.Nm cat\n.Nd concatenate\n.Bl -tag -width Ds\n.It Fl n Ar "
      "file\nnumber\n.El\n",
      ".so man1/other.1\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes = fuzz_bytes(data, size);
  looks_like_roff(bytes);
  ManualPage page = roff_to_text(bytes);
  expect(valid_utf8(page.text));
  return 0;
}
