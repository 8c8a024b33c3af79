// The floor: what reading and writing the arrays of an optimizer step costs, with next to no arithmetic.
#include <algorithm>
#include <cstdint>

namespace {

constexpr int kMostWritten = 4;
constexpr int64_t kGrain = 16 * 1024;  // as the kernel splits its work
constexpr int64_t kTurn = 128;         // elements that a cursor advances by before it is the other's turn

struct Segment {
  int64_t size;
  const float* gradient;
  float* written[kMostWritten];
};

struct Work {
  const Segment* segments;
  int64_t count;
  float zero;  // a number that the compiler does not know: values stay as they are and are written all the same
};

template <int arrays>
void stream(const Segment& segment, float zero, int64_t begin, int64_t end) {
  const float* __restrict__ g = segment.gradient;
  float* __restrict__ a = segment.written[0];
  float* __restrict__ b = segment.written[1];
  float* __restrict__ c = segment.written[2];
  float* __restrict__ d = segment.written[3];
  for (int64_t i = begin; i < end; ++i) {
    const float nothing = zero * g[i];
    a[i] += nothing;
    b[i] += nothing;
    if constexpr (arrays == 5) {
      c[i] += nothing;
      d[i] += nothing;
    }
  }
}

// From the front and from the middle by turns.
template <int arrays>
void two_streams(const Segment& segment, float zero, int64_t begin, int64_t end) {
  const int64_t half = (end - begin) / 2;
  for (int64_t i = 0; i < half; i += kTurn) {
    const int64_t size = std::min(kTurn, half - i), first = begin + i, second = first + half;
    stream<arrays>(segment, zero, first, first + size);
    stream<arrays>(segment, zero, second, second + size);
  }
  stream<arrays>(segment, zero, begin + 2 * half, end);
}

template <void (*pass)(const Segment&, float, int64_t, int64_t)>
void range(int64_t begin, int64_t end, void* context) {
  const Work& work = *static_cast<const Work*>(context);
  int64_t offset = 0;
  for (int64_t i = 0; i < work.count && offset < end; ++i) {
    const Segment& segment = work.segments[i];
    const int64_t first = std::max<int64_t>(begin - offset, 0), last = std::min(end - offset, segment.size);
    if (first < last) pass(segment, work.zero, first, last);
    offset += segment.size;
  }
}

constexpr int64_t kGroup = 16;  // rows that are asked for at once, so that their pages are looked up together

void ask(const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 16) __builtin_prefetch(row + i, 1);
}

using Body = void (*)(int64_t begin, int64_t end, void* context);
using ParallelFor = int32_t (*)(int64_t begin, int64_t end, int64_t grain, Body body, void* context);

}  // namespace

// Reads and writes some rows of two tables, of so many floats each, once, and reads their gradients once.
extern "C" void floor_rows(const int64_t* rows, const int64_t* places, int64_t count, int64_t width, float* params,
                           float* averages, const float* gradients, float zero) {
  const auto ask_for = [=](int64_t begin) {
    for (int64_t k = begin; k < std::min(begin + kGroup, count); ++k) {
      ask(gradients + places[k] * width, width);
      ask(params + rows[k] * width, width);
      ask(averages + rows[k] * width, width);
    }
  };
  ask_for(0);
  for (int64_t k = 0; k < count; ++k) {
    if (k % kGroup == 0) ask_for(k + kGroup);
    const Segment row{width, gradients + places[k] * width, {params + rows[k] * width, averages + rows[k] * width}};
    stream<3>(row, zero, 0, width);
  }
}

// Streams once over all segments of `arrays` (3 or 5) arrays, with one or two cursors per thread.
extern "C" int32_t floor_pass(const Segment* segments, int64_t count, int32_t arrays, int32_t cursors, float zero,
                              ParallelFor parallel_for) {
  static const Body bodies[2][2] = {{range<stream<3>>, range<two_streams<3>>},
                                    {range<stream<5>>, range<two_streams<5>>}};
  Work work{segments, count, zero};
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += segments[i].size;
  return parallel_for(0, total, kGrain, bodies[arrays == 5][cursors == 2], &work);
}
