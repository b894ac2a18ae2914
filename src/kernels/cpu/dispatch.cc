#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "kernels/cpu/set_table.h"
#include "kernels/cpu/table.h"

namespace puyu::cpu {
namespace base {
extern const Table kTable;
}
#ifdef PUYU_X86
namespace avx2 {
extern const Table kTable;
}
namespace avx512 {
extern const Table kTable;
}
#endif
namespace {

// AMX tiles need the kernel's leave once a process (Documentation/x86/xstate.rst, XFEATURE_XTILEDATA = 18).
bool ask_for_amx() {
#ifdef SYS_arch_prctl
  constexpr int kReqXcompPerm = 0x1023;
  return syscall(SYS_arch_prctl, kReqXcompPerm, 18) == 0;
#else
  return false;
#endif
}

Features detect() {
  Features f;
#ifdef PUYU_X86
  __builtin_cpu_init();
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (f.avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) f.avx512_bf16 = a & (1u << 5);
  f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
  if (f.avx512_bf16 && __get_cpuid_count(7, 0, &a, &b, &c, &d))
    f.amx_bf16 = (d & (1u << 22)) && (d & (1u << 24)) && ask_for_amx();
  f.amx_int8 = f.amx_bf16 && (d & (1u << 25));
#endif
  return f;
}

struct Choice {
  Features machine = detect(), use = machine;
  const Table* table = &base::kTable;
  std::string name;

  Choice() {
    const char* env = std::getenv("PUYU_ISA");
    choose(env ? env : "");
  }
  void choose(const std::string& want) {
    use = machine;
    auto list = isas();
    bool known = want.empty();
    for (const auto& i : list) known |= i == want;
    if (!known) {
      std::string all;
      for (const auto& i : list) all += (all.empty() ? "" : ", ") + i;
      fail("[cpu] PUYU_ISA=", want, " is not possible on this machine; choose one of: ", all);
    }
    name = want.empty() ? list.back() : want;
    if (name == "base") use = {};
    if (name == "avx2") use = {.avx2 = true};
    if (name == "avx512") use.avx512_bf16 = use.avx512_vnni = use.amx_bf16 = use.amx_int8 = false;
    if (name == "avx512bf16") use.amx_bf16 = use.amx_int8 = false;
#ifdef PUYU_X86
    table = use.avx512 ? &avx512::kTable : use.avx2 ? &avx2::kTable : &base::kTable;
#endif
  }
  std::vector<std::string> isas() const {
    std::vector<std::string> out{"base"};
    if (machine.avx2) out.push_back("avx2");
    if (machine.avx512) out.push_back("avx512");
    if (machine.avx512_bf16) out.push_back("avx512bf16");
    if (machine.amx_bf16) out.push_back("amx");
    return out;
  }
};
Choice& choice() {
  static Choice c;
  return c;
}

}  // namespace

const Features& features() { return choice().use; }
const Table& table() { return *choice().table; }
std::string isa_name() { return choice().name; }
std::vector<std::string> available_isas() { return choice().isas(); }
void set_isa(const std::string& name) { choice().choose(name); }
void set_table(const Table& table) { choice().table = &table; }

}  // namespace puyu::cpu
