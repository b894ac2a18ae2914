// Sorting more records than fit into memory: a buffer is sorted and written to a temporary file whenever it is full,
// and the files are merged in the end. Equal records may be joined on the way (counts added up). T is plain bytes.
#pragma once
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace puyu {

// A sequence of records in an unnamed temporary file of a folder: written once, then read from the front.
template <class T>
class RecordFile {
 public:
  explicit RecordFile(const std::string& dir) : path_(dir) {
    static int number = 0;
    std::string name = cat(dir, "/run", number++);
    file_.reset(std::fopen(name.c_str(), "w+b"));
    if (!file_) fail("[sort] ", name, ": cannot be created");
    std::setvbuf(file_.get(), nullptr, _IOFBF, 1 << 16);
    std::filesystem::remove(name);  // lives on while it is open
  }
  void write(const T* records, size_t n) {
    if (std::fwrite(records, sizeof(T), n, file_.get()) != n)
      fail("[sort] ", path_, ": cannot write; is the disk full?");
    count_ += n;
  }
  void rewind() {
    if (std::fflush(file_.get()) != 0) fail("[sort] ", path_, ": cannot write; is the disk full?");
    std::rewind(file_.get()), at_ = 0;
  }
  bool read(T& out) {
    if (at_ == count_) return false;
    if (std::fread(&out, sizeof(T), 1, file_.get()) != 1) fail("[sort] ", path_, ": cannot read back");
    return ++at_, true;
  }
  size_t size() const { return count_; }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  size_t count_ = 0, at_ = 0;
};

// Less: an order. Join: bool(T& into, const T& other), true when other went into `into`.
template <class T, class Less, class Join>
class ExternalSorter {
 public:
  ExternalSorter(std::string dir, size_t memory, Less less, Join join)
      : dir_(std::move(dir)), most_(std::max<size_t>(1024, memory / sizeof(T))), less_(less), join_(join) {}

  void add(const T& r) {
    if (buffer_.size() == buffer_.capacity() && buffer_.size() * 2 > most_) buffer_.reserve(most_);  // not twice that
    buffer_.push_back(r);
    if (buffer_.size() < most_) return;
    shrink();
    if (buffer_.size() > most_ / 2) spill();  // else joining has made room
  }

  // Gives every record in order and forgets them.
  template <class F>
  void finish(F&& fn) {
    shrink();
    if (runs_.empty()) {
      for (const T& r : buffer_) fn(r);
    } else {
      spill();
      merge(fn);
    }
    buffer_ = {}, runs_.clear();
  }

 private:
  void shrink() {
    std::sort(buffer_.begin(), buffer_.end(), less_);
    size_t n = 0;
    for (const T& r : buffer_)
      if (n == 0 || !join_(buffer_[n - 1], r)) buffer_[n++] = r;
    buffer_.resize(n);
  }
  void spill() {
    runs_.push_back(std::make_unique<RecordFile<T>>(dir_));
    runs_.back()->write(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  template <class F>
  void merge(F& fn) {
    struct Head {
      T record;
      size_t run;
    };
    auto later = [&](const Head& a, const Head& b) {  // of equal records the earlier run's goes first
      return less_(b.record, a.record) || (!less_(a.record, b.record) && b.run < a.run);
    };
    std::priority_queue<Head, std::vector<Head>, decltype(later)> heads(later);
    for (size_t r = 0; r < runs_.size(); ++r) {
      runs_[r]->rewind();
      T record;
      if (runs_[r]->read(record)) heads.push({record, r});
    }
    bool any = false;
    T last{};
    while (!heads.empty()) {
      Head h = heads.top();
      heads.pop();
      if (!any || !join_(last, h.record)) {
        if (any) fn(std::as_const(last));
        last = h.record, any = true;
      }
      if (runs_[h.run]->read(h.record)) heads.push(h);
    }
    if (any) fn(std::as_const(last));
  }

  std::string dir_;
  size_t most_;
  Less less_;
  Join join_;
  std::vector<T> buffer_;
  std::vector<std::unique_ptr<RecordFile<T>>> runs_;
};

}  // namespace puyu
