// Block lists of web sites and what is looked up in them; personal data comes back from any text.
#include "base/error.h"
#include "data/domain_list.h"
#include "data/pii.h"
#include "data/word_list.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  const std::string path = "/tmp/puyu_fuzz_domains_" + std::to_string(::getpid());
  write_file(path + ".txt", "bad.example\nmixed.example/gallery\n10.2.3.4\n");
  build_domain_list({path + ".txt"}, path);
  std::string list = read_file(path);
  ::unlink(path.c_str()), ::unlink((path + ".txt").c_str());
  return {list, "me@example.org +1 415-555-0132 [EMAIL_1] 110101199003071233", "http://[2001:db8::1]:80/x?y",
          "word\t2\twith=a|b\n!words\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes = fuzz_bytes(data, size);
  try {
    MemoryFile file(bytes);
    DomainList list(file.path());
    list.find("http://www.mixed.example/gallery/1");
    list.find(bytes);
  } catch (const Error&) {}
  parse_address(bytes);
  std::string masked(bytes);
  std::vector<PiiTag> tags = mask_pii(masked, {std::begin(kPiiKinds), std::end(kPiiKinds)});
  expect(restore_pii(masked, tags) == bytes);
  try {
    WordList words;
    words.add(bytes, "fuzz");
    words.build();
    words.score(bytes);
  } catch (const Error&) {}
  return 0;
}
