#include "train/state_files.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "model/hf_config.h"
#include "tensor/safetensors.h"

namespace puyu {
namespace {

struct NamedSet {
  Zero::Set set;
  std::string prefix;
};
const std::vector<NamedSet> kMasters{{Zero::Set::kMaster, ""}};
const std::vector<NamedSet> kMoments{{Zero::Set::kMoment1, "m."}, {Zero::Set::kMoment2, "v."}};

Tensor shape_of(const FlatTensor& t, DType dtype) {
  Tensor out;
  out.dtype = dtype, out.rank = t.spec.cols ? 2 : 1, out.shape[0] = t.spec.rows, out.shape[1] = t.spec.cols;
  return out;
}

std::string_view bytes_of(Tensor t) { return {static_cast<const char*>(t.data), static_cast<size_t>(t.nbytes())}; }

// The first byte of each tensor of each set, behind the header.
struct Places {
  std::string header;
  std::map<std::string, uint64_t> at;
  uint64_t end = 0;
};
Places places_of(const Zero& state, const std::vector<NamedSet>& sets, DType dtype) {
  std::vector<NamedTensor> list;
  for (const NamedSet& s : sets)
    for (const FlatTensor& t : state.layout().tensors) list.push_back({s.prefix + t.name, shape_of(t, dtype)});
  Places out;
  out.header = safetensors_begin(safetensors_header(pending(list), {{"format", "pt"}}));
  out.end = out.header.size();
  for (const NamedTensor& t : list) {
    out.at[t.name] = out.end;
    out.end += static_cast<uint64_t>(t.tensor.nbytes());
  }
  return out;
}

FilePlan plan_file(const std::string& path, Zero& state, const std::vector<NamedSet>& sets, DType dtype) {
  const Places places = places_of(state, sets, dtype);
  FilePlan plan{path, places.end, state.comm().rank() == 0 ? places.header : "", dtype, {}};
  for (const NamedSet& s : sets)
    state.each_slice(s.set, true, [&](const Zero::Slice& slice) {
      const auto begin = static_cast<uint64_t>(slice.begin * dtype_size(dtype));
      plan.parts.push_back({places.at.at(s.prefix + slice.tensor.name) + begin, slice.data});
    });
  return plan;
}

void write_planned(const FilePlan& plan, Comm& comm) {
  const bool first = comm.rank() == 0;
  try {
    together(comm, [&] {
      if (first) SharedFile::create(plan.path, plan.size);
    });
    together(comm, [&] { write_parts(plan); });
  } catch (const Error&) {
    if (first) SharedFile::discard(plan.path);
    throw;
  }
  together(comm, [&] {
    if (first) SharedFile::commit(plan.path);
  });
}

void read_sets(const std::string& path, Zero& state, const std::vector<NamedSet>& sets) {
  const SafeTensors file(path);
  Arena none("none", 0);
  Ctx ctx{Device::kCpu, &none};
  const size_t expected = sets.size() * state.layout().tensors.size();
  if (file.tensors().size() != expected)
    fail("[checkpoint] ", path, ": expected ", expected, " tensors, got ", file.tensors().size());
  for (const NamedSet& s : sets) {
    for (const FlatTensor& t : state.layout().tensors) {
      const std::string name = s.prefix + t.name, want = shape_string(shape_of(t, DType::kF32));
      const Tensor* found = file.find(name);
      // Masters may be of a run that keeps them in bf16.
      const bool bf16 =
          found && s.set == Zero::Set::kMaster && shape_string(*found) == shape_string(shape_of(t, DType::kBF16));
      if (!found || (shape_string(*found) != want && !bf16))
        fail("[checkpoint] ", path, ": tensor '", name, "': expected ", want, ", got ",
             found ? shape_string(*found) : "none", "; the model's shape is not the checkpoint's");
    }
    state.each_slice(s.set, false, [&](const Zero::Slice& slice) {
      const Tensor all = file.find(s.prefix + slice.tensor.name)->flat();
      cast(ctx, slice.data, all.rows(slice.begin, slice.begin + slice.data.numel()));
    });
  }
}

}  // namespace

int64_t FilePlan::bytes() const {
  int64_t n = 0;
  for (const FilePart& p : parts) n += p.data.nbytes();
  return n;
}

FilePlan plan_masters(const std::string& path, Zero& state, DType dtype) {
  return plan_file(path, state, kMasters, dtype);
}
FilePlan plan_moments(const std::string& path, Zero& state) { return plan_file(path, state, kMoments, DType::kF32); }

void write_parts(const FilePlan& plan) {
  SharedFile file(plan.path);
  if (!plan.header.empty()) file.write_at(0, plan.header);
  constexpr int64_t kPiece = 1 << 20;
  std::vector<BF16> rounded;
  for (const FilePart& part : plan.parts) {
    if (plan.dtype == part.data.dtype) {
      file.write_at(part.at, bytes_of(part.data));
      continue;
    }
    const auto* from = part.data.as<float>();
    for (int64_t begin = 0, n = part.data.numel(); begin < n; begin += kPiece) {
      rounded.resize(static_cast<size_t>(std::min(kPiece, n - begin)));
      for (size_t i = 0; i < rounded.size(); ++i) rounded[i] = to_bf16(from[static_cast<size_t>(begin) + i]);
      file.write_at(part.at + static_cast<uint64_t>(begin) * sizeof(BF16),
                    bytes_of(make_view(rounded.data(), static_cast<int64_t>(rounded.size()))));
    }
  }
  file.sync();
}

std::string model_config_text(const Zero& state) {
  return to_hf_config(state.config(), state.weights().head).dump(2) + "\n";
}

void write_model_folder(const std::string& dir, Zero& state, DType dtype) {
  Comm& comm = state.comm();
  together(comm, [&] {
    if (comm.rank() == 0) make_directories(dir);
  });
  write_planned(plan_masters(dir + "/model.safetensors", state, dtype), comm);
  together(comm, [&] {
    if (comm.rank() == 0) write_file(dir + "/config.json", model_config_text(state));
  });
}

void read_masters(const std::string& path, Zero& state) {
  together(state.comm(), [&] { read_sets(path, state, kMasters); });
  state.refresh_copies();
}

void read_moments(const std::string& path, Zero& state) {
  together(state.comm(), [&] { read_sets(path, state, kMoments); });
}

}  // namespace puyu
