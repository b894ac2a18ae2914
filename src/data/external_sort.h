// Sorting more records than fit into memory: a buffer is sorted and written to a temporary file whenever it is full,
// and the files are merged in the end. Equal records may be joined on the way (counts added up). T is plain bytes.
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
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
  explicit RecordFile(const std::string& dir) : path_(dir), buffer_(std::make_unique<char[]>(kBuffer)) {
    static int number = 0;
    std::string name = cat(dir, "/run", number++);
    file_.rdbuf()->pubsetbuf(buffer_.get(), kBuffer);
    file_.open(name, std::ios::in | std::ios::out | std::ios::trunc | std::ios::binary);
    if (!file_) fail("[sort] ", name, ": cannot be created");
    std::filesystem::remove(name);  // lives on while it is open
  }
  void write(const T* records, size_t n) {
    file_.write(reinterpret_cast<const char*>(records), static_cast<std::streamsize>(n * sizeof(T)));
    if (!file_) fail("[sort] ", path_, ": cannot write; is the disk full?");
    count_ += n;
  }
  void rewind() {
    file_.flush();
    if (!file_.seekg(0)) fail("[sort] ", path_, ": cannot write; is the disk full?");
    at_ = 0;
  }
  bool read(T& out) {
    if (at_ == count_) return false;
    if (!file_.read(reinterpret_cast<char*>(&out), sizeof(T))) fail("[sort] ", path_, ": cannot read back");
    return ++at_, true;
  }
  size_t size() const { return count_; }

 private:
  static constexpr std::streamsize kBuffer = 1 << 16;
  std::string path_;
  std::unique_ptr<char[]> buffer_;
  std::fstream file_;
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
