#!/usr/bin/env python3
"""Counts the instructions that matter in each kernel of a cubin, where there is no cuobjdump.
   nvcc -std=c++20 -O3 --expt-relaxed-constexpr -arch=sm_90a -cubin -Isrc src/kernels/cuda/linear.cu -o linear.cubin
   bench/gpu/sass.py linear.cubin
An instruction of sm_70 and later is 16 bytes; the low 12 bits are its operation; bits 73-75 of a load or store its
width (4 = 32 bits, 5 = 64, 6 = 128)."""
import collections
import struct
import subprocess
import sys

OPS = {0x23C: "HMMA", 0x237: "IMMA", 0xDF0: "HGMMA", 0x83B: "LDSM", 0xFAE: "LDGSTS", 0x223: "FFMA", 0x308: "MUFU",
       0x981: "LDG", 0x986: "STG", 0x984: "LDS", 0x388: "STS", 0x983: "LDL", 0x387: "STL", 0xB1D: "BAR"}
WIDTHS = {0: ".8", 1: ".8", 2: ".16", 3: ".16", 4: ".32", 5: ".64", 6: ".128"}


def sections(elf):
    start, size, count, names = struct.unpack_from("<Q10xHHH", elf, 0x28)
    heads = [struct.unpack_from("<IIQQQQ", elf, start + i * size) for i in range(count)]
    base = heads[names][4]
    for h in heads:
        end = elf.index(b"\0", base + h[0])
        yield elf[base + h[0]:end].decode(), elf[h[4]:h[4] + h[5]]


for path in sys.argv[1:]:
    for name, code in sections(open(path, "rb").read()):
        if not name.startswith(".text."):
            continue
        found = collections.Counter()
        for at in range(0, len(code), 16):
            low, high = struct.unpack_from("<QQ", code, at)
            op = OPS.get(low & 0xFFF)
            if op:
                found[op + (WIDTHS.get(high >> 9 & 7, ".?") if op in ("LDG", "STG", "LDS", "STS") else "")] += 1
        nice = subprocess.run(["c++filt", name[6:]], capture_output=True, text=True).stdout.strip() or name[6:]
        print(nice.split("(puyu::cuda")[0][:120], len(code) // 16, "instructions:",
              ", ".join(f"{k} {v}" for k, v in sorted(found.items())))
