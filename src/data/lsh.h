// Locality-sensitive hashing of MinHash signatures: b bands of r rows. Two documents of Jaccard similarity s agree in
// some whole band with probability 1 - (1 - s^r)^b, a step around the knee (1/b)^(1/r); only then are their signatures
// compared, and at `threshold` or more they are called duplicates. Both curves are known exactly (pair_probability).
#pragma once
#include <string>

#include "data/minhash.h"

namespace puyu {

struct Banding {
  int bands = 0, rows = 0;
  bool operator==(const Banding&) const = default;
};

// The b and r, b r <= 128, that make the area of false positives below the threshold and of false negatives above it
// smallest in sum (what datasketch does): 14 x 9 for 0.7.
Banding choose_banding(double threshold);
double knee(Banding banding);
double candidate_probability(Banding banding, double s);
// That a pair of similarity s is a candidate and that at least threshold x 128 of its numbers agree. Exact: the sum
// over k agreeing numbers of the chance that k of 128 places hold a whole band.
double pair_probability(Banding banding, double s, double threshold);
// "14 bands x 9 rows, knee 0.746" and both curves from 0.3 to 1.0, for people.
std::string format_banding(Banding banding, double threshold);

// The hash of one band; two signatures with equal rows have equal hashes.
uint64_t band_hash(const Signature& s, Banding banding, int band);
// A text without a single token has no shingles and is near to nothing.
bool has_shingles(const Signature& s);

}  // namespace puyu
