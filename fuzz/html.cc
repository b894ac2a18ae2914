// Web pages: any bytes give a page or a named problem; the content is valid UTF-8 when the input was.
#include "text/html.h"

#include "base/utf8.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  return {
      "<!doctype html><html lang=zh><head><meta charset=utf-8><title>书生</title></head><body><nav><a "
      "href=/>x</a></nav>"
      "<article><h1>Title</h1><p>One paragraph with enough words to be kept, 一段正文。</p><ul><li>a<li>b</ul>"
      "<table><tr><td>1<td>2</table><pre>int x;\n</pre></article><script>if(a<b){}</script></body></html>",
      "<div><div><p>a<p>b&amp;&#20070;&#xD800;&bogus;</div>"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  HtmlPage page = extract_html(fuzz_bytes(data, size));
  if (valid_utf8(fuzz_bytes(data, size))) expect(valid_utf8(page.content) && valid_utf8(page.title));
  return 0;
}
