// Random bits for rounding: a pure function of what is rounded, whoever rounds it. src/rmsprop/storage.py states the
// same operations.
//
// Included by files that are compiled once per instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "bits.hpp"

namespace {

constexpr int kLaneBits = 8;  // elements that share a word, as a power of two
constexpr uint64_t kGolden64 = 0x9e3779b97f4a7c15;
constexpr uint32_t kGolden32 = 0x9e3779b9;

inline uint64_t mixed(uint64_t word) {
  word += kGolden64;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

// Bits for `size` lanes from `lane` on of the word of a block.
inline void fill_lanes(uint64_t word, uint32_t lane, int64_t size, uint32_t* bits) {
  const uint32_t low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
  for (int64_t k = 0; k < size; ++k) {
    uint32_t x = (low + (lane + static_cast<uint32_t>(k)) * kGolden32) ^ high;
    x = (x ^ (x >> 16)) * 0x7feb352d;
    x = (x ^ (x >> 15)) * 0x846ca68b;
    bits[k] = x ^ (x >> 16);
  }
}

inline void add_byte(const uint8_t* __restrict bytes, int64_t size, uint8_t more, uint8_t* __restrict sums) {
  for (int64_t k = 0; k < size; ++k) sums[k] = static_cast<uint8_t>(bytes[k] + more);
}

// Where the elements of a tensor stand in the whole parameter, of which it may be a shard: they lie in runs.
struct Place {
  int64_t number;  // of the parameter
  int64_t first;   // the index of the first element in the whole
  int64_t run;     // how many elements follow each other
  int64_t stride;  // how far one run begins behind the other

  // Calls part(index in the whole, position behind `begin`, size) for `size` elements from `begin` on, in parts that
  // follow each other in the whole and lie between two multiples of `group` there.
  template <class Part>
  void visit(int64_t begin, int64_t size, int64_t group, const Part& part) const {
    for (int64_t done = 0; done < size;) {
      const int64_t at = begin + done, nth = at < run ? 0 : at / run, within = at - nth * run;
      const int64_t index = first + nth * stride + within;
      const int64_t here = std::min({size - done, run - within, group - index % group});
      part(static_cast<uint64_t>(index), done, here);
      done += here;
    }
  }
};

// Which array of a parameter's state bits are for.
enum Stream { kSpreads = 1, kMeans, kBuffers };

constexpr int kPeriodBits = 7;       // updates that share bytes, as a power of two
constexpr int64_t kMostBytes = 256;  // that are asked for at a time

inline uint64_t key_of(uint64_t seed, uint64_t step, uint64_t number) {
  return mixed(mixed(mixed(seed) ^ step) ^ number);
}

// Bits for the elements of one parameter in one update.
class Noise {
 public:
  Noise(uint64_t seed, uint64_t step, const Place& place)
      : key_(key_of(seed, step, static_cast<uint64_t>(place.number))), place_(place) {}

  RMSPROP_NOINLINE void fill(int64_t begin, int64_t size, uint32_t* bits) const {
    place_.visit(begin, size, int64_t{1} << kLaneBits, [&](uint64_t index, int64_t at, int64_t here) {
      fill_lanes(word(index), static_cast<uint32_t>(index) & ((1 << kLaneBits) - 1), here, bits + at);
    });
  }

 protected:
  Noise(uint64_t key, const Place& place) : key_(key), place_(place) {}

  uint64_t word(uint64_t index) const { return mixed(key_ + (index >> kLaneBits) * kGolden64); }

  const uint64_t key_;
  const Place place_;
};

// Bits for an array of its state: a byte per element, and below it what all elements have in common.
class StateNoise : Noise {
 public:
  StateNoise(uint64_t seed, uint64_t step, const Place& place, Stream stream)
      : Noise(key_of(seed, step >> kPeriodBits, static_cast<uint64_t>(place.number) + (uint64_t{stream} << 56)), place),
        common_(((static_cast<uint32_t>(key_) + static_cast<uint32_t>(step) * kGolden32) & ~0xfffu) |
                static_cast<uint32_t>(mixed(key_ ^ step) >> 52)) {}

  uint32_t common() const { return common_ & 0xffffff; }

  // Not more than kMostBytes.
  RMSPROP_NOINLINE void fill(int64_t begin, int64_t size, uint8_t* bytes) const {
    place_.visit(begin, size, int64_t{4} << kLaneBits, [&](uint64_t index, int64_t at, int64_t here) {
      uint32_t words[kMostBytes / 4 + 1];
      const int64_t skipped = static_cast<int64_t>(index & 3), count = (skipped + here + 3) / 4;
      fill_lanes(word(index >> 2), static_cast<uint32_t>(index >> 2) & ((1 << kLaneBits) - 1), count, words);
      // Of a word, its lowest byte comes first.
      add_byte(reinterpret_cast<const uint8_t*>(words) + skipped, here, static_cast<uint8_t>(common_ >> 24),
               bytes + at);
    });
  }

 private:
  const uint32_t common_;
};

static_assert(std::endian::native == std::endian::little);

}  // namespace
