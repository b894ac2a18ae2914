// The stages of data/pipeline.cc on one thread, timed one by one.
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "data/compress.h"
#include "data/corpus_plan.h"
#include "data/judges.h"
#include "data/stages.h"
#include "text/tokenizer.h"

namespace puyu {
namespace {

// CPU seconds of this thread: other work on the machine does not count.
double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
double timed(F&& f) {
  const double start = cpu_seconds();
  f();
  return cpu_seconds() - start;
}

struct Sample {
  std::vector<Document> documents;
  double on_disk = 0, bytes = 0, text = 0, seconds = 0;
};

// Bytes of a file once it is decompressed.
double plain_bytes(const std::string& path) {
  InputStream in(path);
  double n = 0;
  for (std::string piece; in.read(piece); piece.clear()) n += static_cast<double>(piece.size());
  return n;
}

Sample read_sample(const std::string& dir, int64_t most) {
  PipelineConfig config;
  config.input = {dir};
  Sample s;
  for (const InputFile& f : list_inputs(config)) {
    if (s.bytes >= static_cast<double>(most)) break;
    s.on_disk += static_cast<double>(f.bytes), s.bytes += plain_bytes(f.path);
    s.seconds += timed([&] {
      read_documents(
          f, config.reader, [&](Document&& d) { s.documents.push_back(std::move(d)); }, [](ReadFailure&&) {});
    });
  }
  for (const Document& d : s.documents) s.text += static_cast<double>(d.content.size());
  if (s.documents.empty()) fail("[plan] ", dir, ": no documents to measure with");
  return s;
}

// Files of the timing run, gone with it.
struct Scratch {
  std::string path = (std::filesystem::temp_directory_path() / cat("puyu-rates-", ::getpid(), ".zst")).string();
  ~Scratch() { std::remove(path.c_str()); }
};

}  // namespace

DataRates measure_rates(const std::string& dir, const std::string& tokenizer, int64_t most, const DataRates& base) {
  DataRates r = base;
  Sample s = read_sample(dir, most);
  auto rate = [](double bytes, double seconds) { return bytes / 1e6 / std::max(seconds, 1e-9); };
  r.read_mbs = rate(s.bytes, s.seconds), r.text_share = s.text / s.bytes, r.input_compression = s.bytes / s.on_disk;

  const PipelineConfig config;
  const Judges judges(config);
  Stages stages(config, judges);
  std::vector<Document> kept;
  r.filter_mbs = rate(s.text, timed([&] {
                        for (Document& d : s.documents)
                          if (stages.process(d)) kept.push_back(std::move(d));
                      }));
  if (kept.empty()) fail("[plan] ", dir, ": the rules keep none of ", s.documents.size(), " documents");
  double clean = 0;
  for (const Document& d : kept) clean += static_cast<double>(d.content.size());
  r.kept_rules = std::min(1.0, clean / s.text);

  std::vector<DedupKey> keys;
  std::vector<Signature> signatures;
  r.sign_mbs =
      rate(clean, timed([&] {
             for (const Document& d : kept) {
               keys.push_back({hash128(d.id), hash128(d.content), 0, static_cast<uint32_t>(d.content.size()), 0});
               signatures.push_back(minhash(d.content));
             }
           }));
  const DedupView view{keys.data(), signatures.data(), static_cast<int64_t>(keys.size())};
  double left = 0;
  r.cluster_docs = static_cast<double>(keys.size()) / std::max(1e-9, timed([&] {
                                                                 const auto found = find_duplicates(view, config.dedup);
                                                                 for (size_t i = 0; i < found.size(); ++i)
                                                                   if (found[i].survivor < 0)
                                                                     left +=
                                                                         static_cast<double>(kept[i].content.size());
                                                               }));
  r.kept_dedup = left / clean;

  const Scratch scratch;
  r.write_mbs = rate(clean, timed([&] {
                       ZstdFile out(scratch.path);
                       for (const Document& d : kept) out.write(to_json_line(d));
                       out.commit();
                     }));
  r.compression = clean / static_cast<double>(std::filesystem::file_size(scratch.path));
  r.load_mbs = rate(clean, timed([&] {
                      InputStream in(scratch.path);
                      std::string line, reason;
                      while (in.read_line(line))
                        if (!parse_document(line, reason)) fail("[plan] ", scratch.path, ": ", reason);
                    }));
  if (!tokenizer.empty()) {
    const Tokenizer t = Tokenizer::load(tokenizer);
    double tokens = 0;
    r.tokenize_mbs = rate(clean, timed([&] {
                            for (const Document& d : kept) tokens += static_cast<double>(t.encode(d.content).size());
                          }));
    r.bytes_per_token = clean / tokens;
  }
  r.origin = cat("measured on ", s.documents.size(), " documents, ", static_cast<int64_t>(s.bytes), " bytes of ", dir);
  return r;
}

}  // namespace puyu
