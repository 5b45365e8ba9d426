// Encoding and decoding of chunks: nanoseconds a sample, samples a second, bytes a sample.
//   build/release/bench/chunk_bench
#include <benchmark/benchmark.h>

#include <bit>
#include <random>
#include <vector>

#include "chunk/histogram_chunk.h"
#include "chunk/packed_chunk.h"
#include "chunk/xor_chunk.h"

namespace chronolith {
namespace {

constexpr std::size_t kSamples = 120;  // Prometheus' chunk

enum Kind { kConstant, kCounter, kWalk, kDecimal, kRandomBits, kJitter, kGauge };
const char* const kNames[] = {"constant", "counter", "random walk", "two decimals", "random bits", "counter, jittering times",
                              "gauge"};

std::vector<Sample> Make(int kind) {
  std::mt19937_64 rng(1);
  std::vector<Sample> samples;
  Timestamp t = 1'700'000'000'000;
  double v = 1e6;
  for (std::size_t i = 0; i < kSamples; ++i) {
    t += 15'000;
    switch (kind) {
      case kConstant:
        break;
      case kCounter:
        v += 1000;
        break;
      case kWalk:
        v += static_cast<double>(static_cast<std::int64_t>(rng() % 2001) - 1000) / 64;
        break;
      case kDecimal:
        v = static_cast<double>(rng() % 10'000) / 100;
        break;
      case kRandomBits:
        v = std::bit_cast<double>(rng());
        break;
      case kJitter:
        t += static_cast<std::int64_t>(rng() % 21) - 10, v += 1000;
        break;
      case kGauge:
        v += static_cast<double>(rng() % 21) - 10;
        break;
    }
    samples.push_back({t, v});
  }
  return samples;
}

void Report(benchmark::State& state, std::size_t samples_an_iteration) {
  const auto total = static_cast<double>(state.iterations()) * static_cast<double>(samples_an_iteration);
  state.counters["time/sample"] = benchmark::Counter(total, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["samples"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
}

void XorEncode(benchmark::State& state) {
  const std::vector<Sample> samples = Make(static_cast<int>(state.range(0)));
  std::vector<std::uint8_t> buffer(kSamples * kXorMaxSampleBytes);
  std::uint32_t size = 0;
  for (auto _ : state) {
    XorAppender a;
    for (const Sample& s : samples) a.Append(buffer.data(), s.timestamp, s.value);
    size = a.size();
    benchmark::DoNotOptimize(buffer.data());
    benchmark::ClobberMemory();
  }
  Report(state, kSamples);
  state.counters["bytes/sample"] = static_cast<double>(size) / kSamples;
  state.SetLabel(kNames[state.range(0)]);
}
BENCHMARK(XorEncode)->DenseRange(kConstant, kGauge);

// As a head does it: one sample to each of many series in turn, so that no series' state is in the cache when its turn comes.
void XorEncodeAcrossSeries(benchmark::State& state) {
  struct alignas(64) Entry {
    XorAppender appender;
    std::uint8_t* buffer = nullptr;
  };
  constexpr std::size_t kBuffer = 512;
  const auto series = static_cast<std::size_t>(state.range(0));
  std::vector<Entry> entries(series);
  std::vector<std::uint8_t> buffers(series * kBuffer);
  for (std::size_t i = 0; i < series; ++i) entries[i].buffer = buffers.data() + i * kBuffer;
  Timestamp t = 1'700'000'000'000;
  double v = 0;
  for (auto _ : state) {
    t += 15'000;
    v += 1000;
    for (Entry& e : entries) {
      if (e.appender.count == kSamples) e.appender = XorAppender();
      e.appender.Append(e.buffer, t, v);
    }
  }
  Report(state, series);
}
BENCHMARK(XorEncodeAcrossSeries)->Arg(100)->Arg(20'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void XorDecode(benchmark::State& state) {
  const std::string chunk = EncodeXor(Make(static_cast<int>(state.range(0))));
  Timestamp t[kSamples];
  double v[kSamples];
  XorIterator it;
  for (auto _ : state) {
    it.Reset(chunk);
    benchmark::DoNotOptimize(it.Decode(t, v, kSamples));
    benchmark::ClobberMemory();
  }
  Report(state, kSamples);
  state.SetLabel(kNames[state.range(0)]);
}
BENCHMARK(XorDecode)->DenseRange(kConstant, kGauge);

// XOR to packed, as a checkpoint does it, its check included; bytes/sample is 0 where the chunk stays as it was.
void Pack(benchmark::State& state) {
  const std::string chunk = EncodeXor(Make(static_cast<int>(state.range(0))));
  FloatPacker packer;
  std::string packed;
  bool smaller = false;
  for (auto _ : state) {
    smaller = packer.Pack(chunk, &packed);
    benchmark::DoNotOptimize(packed.data());
  }
  Report(state, kSamples);
  state.counters["bytes/sample"] = smaller ? static_cast<double>(packed.size()) / kSamples : 0;
  state.SetLabel(kNames[state.range(0)]);
}
BENCHMARK(Pack)->DenseRange(kConstant, kGauge);

void PackedDecode(benchmark::State& state) {
  const std::string chunk = EncodeXor(Make(static_cast<int>(state.range(0))));
  FloatPacker packer;
  std::string packed;
  if (!packer.Pack(chunk, &packed)) packed = chunk;
  Timestamp t[kSamples];
  double v[kSamples];
  FloatIterator it;
  for (auto _ : state) {
    it.Reset(packed);
    benchmark::DoNotOptimize(it.Decode(t, v, kSamples));
    benchmark::ClobberMemory();
  }
  Report(state, kSamples);
  state.SetLabel(kNames[state.range(0)]);
}
BENCHMARK(PackedDecode)->DenseRange(kConstant, kGauge);

// To the XOR form, as remote read and Prometheus blocks want it.
void PackedToXor(benchmark::State& state) {
  const std::string chunk = EncodeXor(Make(static_cast<int>(state.range(0))));
  FloatPacker packer;
  std::string packed;
  std::string unpacked;
  if (!packer.Pack(chunk, &packed)) return state.SkipWithError("is not packed");
  for (auto _ : state) {
    benchmark::DoNotOptimize(Unpack(packed, &unpacked));
    benchmark::ClobberMemory();
  }
  Report(state, kSamples);
  state.SetLabel(kNames[state.range(0)]);
}
BENCHMARK(PackedToXor)->DenseRange(kConstant, kDecimal)->Arg(kJitter)->Arg(kGauge);

std::vector<HistogramSample> MakeHistograms() {
  std::mt19937_64 rng(1);
  IntHistogram h;
  h.schema = 3;
  h.positive_spans = {{0, 20}, {3, 12}};
  h.positive_deltas.resize(32);
  std::vector<std::int64_t> counts(32);
  std::vector<HistogramSample> samples;
  for (std::size_t i = 0; i < kSamples; ++i) {
    for (std::int64_t& c : counts) c += rng() % 3 == 0 ? static_cast<std::int64_t>(rng() % 20) : 0;
    h.count = 0;
    for (std::size_t b = 0; b < counts.size(); ++b) {
      h.positive_deltas[b] = counts[b] - (b == 0 ? 0 : counts[b - 1]);
      h.count += static_cast<std::uint64_t>(counts[b]);
    }
    h.sum += static_cast<double>(rng() % 1000) / 8;
    samples.push_back({static_cast<Timestamp>(1'700'000'000'000 + 15'000 * i), h});
  }
  return samples;
}

// Histograms of 32 buckets, a third of which change between two samples.
void HistogramEncode(benchmark::State& state) {
  const std::vector<HistogramSample> samples = MakeHistograms();
  std::size_t size = 0;
  for (auto _ : state) {
    const std::string chunk = EncodeHistograms(samples);
    size = chunk.size();
    benchmark::DoNotOptimize(chunk.data());
  }
  Report(state, kSamples);
  state.counters["bytes/sample"] = static_cast<double>(size) / kSamples;
}
BENCHMARK(HistogramEncode);

void HistogramDecode(benchmark::State& state) {
  const std::string chunk = EncodeHistograms(MakeHistograms());
  for (auto _ : state) {
    HistogramIterator it(chunk);
    while (it.Next()) benchmark::DoNotOptimize(it.sample().timestamp);
  }
  Report(state, kSamples);
}
BENCHMARK(HistogramDecode);

}  // namespace
}  // namespace chronolith

BENCHMARK_MAIN();
