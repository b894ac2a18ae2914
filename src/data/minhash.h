// MinHash: a text as the set of its n-grams ("shingles"), and 128 numbers whose agreement estimates the Jaccard
// similarity of two such sets (Broder, 1997; the InternLM2 report 3.1 takes 128 functions on 5-grams).
//
// A shingle is n tokens in a row; a token is a run of letters, digits and underscores with ASCII case folded, or one
// ideograph (data/words.h): words in English, characters in Chinese, both in mixed text. A shorter text is one shingle.
// Each shingle is hashed once; function i of it is the affine permutation a[i] x + b[i] mod 2^32 with odd a[i]. The
// vector code (minhash_simd.cc) gives the same numbers as the plain loop on every machine.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace puyu {

constexpr int kPermutations = 128;
using Signature = std::array<uint32_t, kPermutations>;

Signature minhash(std::string_view text, int ngram = 5);
// The share of equal numbers: its mean is the Jaccard similarity J, its deviation sqrt(J (1 - J) / 128).
double similarity(const Signature& a, const Signature& b);
// By comparing the n-grams themselves: slow, for tests and inspection.
double exact_jaccard(std::string_view a, std::string_view b, int ngram = 5);

// The 32-bit hashes of the text's shingles in order, with repetitions.
std::vector<uint32_t> shingle_hashes(std::string_view text, int ngram);

// out[i] = min(out[i], min over x of a[i] x + b[i] mod 2^32), for kPermutations values of i.
using TakeMinima = void (*)(const uint32_t* a, const uint32_t* b, const uint32_t* x, size_t n, uint32_t* out);
struct MinimaVariant {
  const char* name;  // "plain", "avx2", "avx512"
  TakeMinima run;
};
// Those this machine can run, the fastest last.
std::vector<MinimaVariant> minima_variants();

}  // namespace puyu
