#include "data/sealed_file.h"

#include "base/check.h"

namespace puyu {
namespace {

struct Header {
  char magic[8];
  uint32_t version, zero;
  uint64_t bytes, checksum;
  SealedFields fields;
};
static_assert(sizeof(Header) == 64);

uint64_t seal(uint64_t body_hash, const SealedFields& fields) {
  return hash64({reinterpret_cast<const char*>(fields.data()), sizeof fields}, body_hash);
}

}  // namespace

SealedWriter::SealedWriter(const std::string& path, std::string_view magic, uint32_t version)
    : file_(path), magic_(magic), version_(version) {
  CHECK(magic.size() == 8);
  file_.write(std::string(sizeof(Header), '\0'));
}

void SealedWriter::write(std::string_view bytes) {
  hash_.update(bytes);
  file_.write(bytes);
  bytes_ += bytes.size();
}

void SealedWriter::pad() { write(std::string((8 - bytes_ % 8) % 8, '\0')); }

void SealedWriter::commit(const SealedFields& fields) {
  Header h{};
  std::memcpy(h.magic, magic_.data(), 8);
  h.version = version_, h.bytes = bytes_, h.fields = fields;
  h.checksum = seal(hash_.digest(), fields);
  file_.write_at(0, {reinterpret_cast<const char*>(&h), sizeof h});
  file_.commit();
}

SealedFile::SealedFile(const std::string& path, std::string_view magic, uint32_t version, const char* make)
    : file_(path), make_(make) {
  if (file_.size() < sizeof(Header) || file_.bytes().substr(0, 8) != magic)
    fail("[data] ", path, ": expected a file of '", make, "' (magic ", magic, "), got something else");
  auto h = load_at<Header>(file_.data());
  if (h.version != version) fail("[data] ", path, ": version ", h.version, ", this program reads version ", version);
  if (h.bytes != file_.size() - sizeof h) damaged("it is truncated or has trailing bytes");
  body_ = file_.bytes().substr(sizeof h);
  if (seal(hash64(body_), h.fields) != h.checksum) damaged("checksum mismatch");
  fields_ = h.fields, checksum_ = h.checksum;
}

void SealedFile::damaged(const std::string& what) const {
  fail("[data] ", path(), ": ", what, "; the file is damaged, make it again with '", make_, "'");
}

}  // namespace puyu
