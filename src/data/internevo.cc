#include "data/internevo.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"

namespace puyu {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kLargestId = int64_t{1} << 30;

// The text after "'key':" in the header of a .npy file, which is a Python dict.
std::string_view entry(std::string_view header, const char* key, const std::string& path) {
  const size_t at = header.find(cat("'", key, "':"));
  if (at == std::string_view::npos) fail("[internevo] ", path, ": the .npy header has no '", key, "'");
  header.remove_prefix(at + std::strlen(key) + 3);
  header.remove_prefix(std::min(header.size(), header.find_first_not_of(' ')));
  return header;
}

struct Index {
  int width = 0;  // bytes of a number
  int64_t rows = 0;
  std::string_view data;
  int64_t at(int64_t row, int column) const {
    const char* p = data.data() + (row * 2 + column) * width;
    if (width == 8) {
      int64_t v = 0;
      std::memcpy(&v, p, 8);
      return v;
    }
    int32_t v = 0;
    std::memcpy(&v, p, 4);
    return v;
  }
};

// NumPy's format 1.0 to 3.0: magic, version, length of the header (2 or 4 bytes), header, data.
Index read_index(const MappedFile& meta) {
  const std::string& path = meta.path();
  std::string_view b = meta.bytes();
  if (!b.starts_with(kMagic) || b.size() < 12) fail("[internevo] ", path, ": not a NumPy .npy file");
  const int version = static_cast<unsigned char>(b[6]);
  uint32_t length = 0;
  const size_t length_bytes = version == 1 ? 2 : 4, begin = 8 + length_bytes;
  if (version < 1 || version > 3) fail("[internevo] ", path, ": .npy version ", version, ", expected 1 to 3");
  std::memcpy(&length, b.data() + 8, length_bytes);
  if (b.size() < begin + length) fail("[internevo] ", path, ": the .npy header is cut off");
  const std::string_view header = b.substr(begin, length);
  Index out;
  out.data = b.substr(begin + length);
  const std::string_view type = entry(header, "descr", path), shape = entry(header, "shape", path);
  out.width = type.starts_with("'<i4'") ? 4 : type.starts_with("'<i8'") ? 8 : 0;
  if (out.width == 0) fail("[internevo] ", path, ": expected int32 or int64 numbers ('<i4', '<i8')");
  if (!entry(header, "fortran_order", path).starts_with("False"))
    fail("[internevo] ", path, ": expected rows one after the other (fortran_order False)");
  const char* end = shape.data() + shape.size();
  const auto [after, error] = std::from_chars(shape.data() + !shape.empty(), end, out.rows);
  if (!shape.starts_with('(') || error != std::errc{} || !std::string_view(after, end).starts_with(", 2)") ||
      out.rows < 0)
    fail("[internevo] ", path, ": expected shape (documents, 2)");
  if (static_cast<uint64_t>(out.rows) != out.data.size() / (2 * out.width) || out.data.size() % (2 * out.width) != 0)
    fail("[internevo] ", path, ": ", out.data.size(), " bytes for ", out.rows, " documents; the file is damaged");
  return out;
}

}  // namespace

bool is_internevo_data(const std::string& path) { return path.ends_with(".bin") && file_exists(path + ".meta"); }

InternEvoReader::InternEvoReader(const std::string& path, bool verify, const std::string& meta_path) : file_(path) {
  const MappedFile meta(meta_path.empty() ? path + ".meta" : meta_path);
  const Index index = read_index(meta);
  const auto size = static_cast<int64_t>(file_.size());
  int64_t total = 0;
  for (int64_t i = 0; i < index.rows; ++i) {
    const int64_t offset = index.at(i, 0), n = index.at(i, 1);
    if (offset < 0 || offset >= size)
      fail("[internevo] ", meta.path(), ": document ", i, " begins at byte ", offset, " of ", size,
           offset < 0 ? "; files above 2 GiB need an int64 index" : "");
    if (n < 0 || n > size) fail("[internevo] ", meta.path(), ": document ", i, " has ", n, " tokens");
    if (n == 0) continue;
    offsets_.push_back(offset), ends_.push_back(total += n);
  }
  for (int64_t i = 0; verify && i < documents(); ++i)
    for (int32_t id : document(i)) largest_ = std::max(largest_, id < 0 ? ~id : id);
}

const std::vector<int32_t>& InternEvoReader::document(int64_t doc) const {
  if (doc == held_) return ids_;
  held_ = -1;
  std::string_view line = file_.bytes().substr(static_cast<size_t>(offsets_[static_cast<size_t>(doc)]));
  line = line.substr(0, line.find('\n'));
  const std::string where = cat(file_.path(), ", document ", doc);
  const Json j = Json::parse(line, where);
  ids_.clear();
  for (const Json& v : j.at("tokens").as_array()) {
    const int64_t id = v.as_int();
    if (id > kLargestId || id < -kLargestId) fail("[internevo] ", where, ": ", id, " is no token id");
    ids_.push_back(static_cast<int32_t>(id > 0 ? id : ~-id));
  }
  const int64_t want = end(doc) - begin(doc);
  if (static_cast<int64_t>(ids_.size()) != want)
    fail("[internevo] ", where, ": ", ids_.size(), " tokens, the index says ", want,
         "; one of the two files is damaged");
  held_ = doc;
  return ids_;
}

void InternEvoReader::read(int64_t from, int64_t n, int32_t* out) const {
  CHECK(from >= 0 && n >= 0 && from + n <= tokens());
  while (n > 0) {
    const int64_t doc = std::upper_bound(ends_.begin(), ends_.end(), from) - ends_.begin();
    const std::vector<int32_t>& ids = document(doc);
    const int64_t count = std::min(n, end(doc) - from);
    std::copy_n(ids.begin() + (from - begin(doc)), count, out);
    out += count, from += count, n -= count;
  }
}

}  // namespace puyu
