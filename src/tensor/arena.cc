#include "tensor/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/progress.h"
#include "tensor/device.h"

namespace puyu {
namespace {
constexpr int64_t kPage = 2 << 20;
constexpr int64_t kLeastBlock = 256 << 20;  // on a GPU: many weights a block, or too much of its end stays empty
int64_t whole_pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
}  // namespace

Arena::Arena(std::string name, int64_t capacity, const std::string& folder)
    : name_(std::move(name)), device_(Device::kCpu), capacity_(whole_pages(capacity)) {
  if (capacity_ == 0) return;
  auto because = [&](int error) {
    fail("[arena] ", folder, ": cannot keep ", format_count(static_cast<double>(capacity_), "B"), " for ", name_,
         " in a file there: ", std::strerror(error), "; free some space, or choose another folder");
  };
  std::string path = folder + "/puyu-memory-XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) because(errno);
  ::unlink(path.c_str());  // gone with the process, whatever ends it
  const int error = ::posix_fallocate(fd, 0, capacity_);
  void* p =
      error ? MAP_FAILED : ::mmap(nullptr, static_cast<size_t>(capacity_), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int why = error ? error : errno;
  ::close(fd);
  if (p == MAP_FAILED) because(why);
  blocks_.push_back({static_cast<char*>(p), 0, capacity_});
}

Arena::Arena(std::string name, int64_t capacity, Device device, bool host_visible)
    : name_(std::move(name)), device_(device), host_visible_(host_visible), capacity_(whole_pages(capacity)) {
  if (capacity_ == 0 || device == Device::kCuda) return;
  void* p = ::mmap(nullptr, static_cast<size_t>(capacity_), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    fail("[arena] cannot reserve ", format_count(static_cast<double>(capacity_), "B"), " for ", name_, ": ",
         std::strerror(errno), "; use a smaller batch or model");
  ::madvise(p, static_cast<size_t>(capacity_), MADV_HUGEPAGE);  // a hint; failure only costs speed
  blocks_.push_back({static_cast<char*>(p), 0, capacity_});
}

Arena::~Arena() {
  for (const Block& b : blocks_)
    if (device_ == Device::kCuda)
      device_free(b.data);
    else
      ::munmap(b.data, static_cast<size_t>(capacity_));
}

char* Arena::place(int64_t bytes) {
  for (const Block& b : blocks_) {
    if (used_ >= b.end) continue;
    const int64_t at = std::max(used_, b.begin);
    if (bytes > b.end - at) continue;
    used_ = at + bytes;
    return b.data + (at - b.begin);
  }
  if (device_ == Device::kCpu) return nullptr;
  const int64_t begin = blocks_.empty() ? 0 : blocks_.back().end, left = capacity_ - begin;
  if (bytes > left) return nullptr;
  const int64_t size = std::min(left, std::max((bytes + kPage - 1) / kPage * kPage, kLeastBlock));
  blocks_.push_back({static_cast<char*>(device_alloc(size, host_visible_)), begin, begin + size});
  used_ = begin + bytes;
  return blocks_.back().data;
}

Tensor Arena::alloc(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor t;
  t.dtype = dtype;
  t.device = device_;
  CHECK(shape.size() <= 4);
  int64_t n = dtype_size(dtype);
  bool overflow = false;
  for (int64_t s : shape) {
    CHECK(s >= 0);
    t.shape[t.rank++] = s;
    overflow |= __builtin_mul_overflow(n, s, &n);
  }
  if (overflow || n > INT64_MAX - 128)
    fail("[arena] ", name_, ": ", shape_string(t), " does not fit 64-bit sizes; use a smaller model");
  int64_t bytes = (n + 63) / 64 * 64 + 64;  // the extra line lets kernels read one vector past the end
  t.data = place(bytes);
  if (!t.data)
    fail("[arena] ", name_, ": ", shape_string(t), " needs ", format_count(static_cast<double>(bytes), "B"), ", but ",
         format_count(static_cast<double>(used_), "B"), " of ", format_count(static_cast<double>(capacity_), "B"),
         " are in use; use a smaller batch, sequence or model");
  peak_ = std::max(peak_, used_);
  return t;
}

std::string memory_table(const std::vector<const Arena*>& arenas) {
  std::string out = "memory          in use       peak\n";
  int64_t used = 0, peak = 0;
  auto row = [&](std::string name, int64_t u, int64_t p) {
    auto pad = [](std::string s, size_t w, bool left) {
      if (s.size() < w) left ? s.append(w - s.size(), ' ') : s.insert(0, w - s.size(), ' ');
      return s;
    };
    out += pad(std::move(name), 12, true) + pad(format_count(static_cast<double>(u), "B"), 10, false) +
           pad(format_count(static_cast<double>(p), "B"), 11, false) + "\n";
  };
  for (const Arena* a : arenas) {
    row(a->name(), a->used(), a->peak());
    used += a->used();
    peak += a->peak();
  }
  row("total", used, peak);
  return out;
}

}  // namespace puyu
