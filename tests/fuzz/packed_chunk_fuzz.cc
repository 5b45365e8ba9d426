// Any bytes as a packed float chunk: decoding at any step gives the same, and what decodes packs and unpacks again. The same bytes
// as doubles: what the packer takes comes back bit for bit.
#include <bit>
#include <vector>

#include "chunk/packed_chunk.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

bool Same(const Sample& a, const Sample& b) {
  return a.timestamp == b.timestamp && std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
}

std::vector<Sample> ReadBy(std::string_view bytes, std::size_t step, bool* ok) {
  PackedIterator it;
  it.Reset(bytes);
  std::vector<Sample> samples;
  std::vector<Timestamp> t(step);
  std::vector<double> v(step);
  while (const std::size_t n = it.Decode(t.data(), v.data(), step)) {
    for (std::size_t i = 0; i < n; ++i) samples.push_back({t[i], v[i]});
  }
  *ok = it.ok();
  FUZZ_CHECK(samples.size() == it.count());
  FUZZ_CHECK(it.ok() || samples.empty());
  return samples;
}

void CheckTimesAlone(std::string_view bytes, const std::vector<Sample>& samples, bool ok) {
  PackedIterator it;
  it.Reset(bytes);
  std::size_t read = 0;
  Timestamp t[100];
  while (const std::size_t n = it.Decode(t, nullptr, 100)) {
    for (std::size_t i = 0; i < n; ++i) FUZZ_CHECK(samples.at(read++).timestamp == t[i]);
  }
  FUZZ_CHECK(it.ok() == ok && read == samples.size());
}

void CheckPacker(const std::vector<Sample>& samples) {
  const std::string chunk = EncodeXor(samples);
  FloatPacker packer;
  std::string packed;
  if (!packer.Pack(chunk, &packed)) return;
  FUZZ_CHECK(IsPacked(packed) && packed.size() < chunk.size());
  std::string unpacked;
  FUZZ_CHECK(Unpack(packed, &unpacked).ok() && unpacked == chunk);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // Byte 0: the step, and whether the times are steady. Then the chunk behind its mark and version, which the fuzzer need not find.
  const std::string_view bytes = FuzzBytes(data, size).substr(1);
  const std::string chunk = std::string{'\0', '\0', static_cast<char>((data[0] & 128) | 1)}.append(bytes);
  bool ok = false;
  bool again_ok = false;
  const std::vector<Sample> samples = ReadBy(chunk, 256, &ok);
  const std::vector<Sample> again = ReadBy(chunk, 1 + data[0] % 64, &again_ok);
  FUZZ_CHECK(ok == again_ok && samples.size() == again.size());
  for (std::size_t i = 0; i < samples.size(); ++i) FUZZ_CHECK(Same(samples[i], again[i]));
  CheckTimesAlone(chunk, samples, ok);
  std::string unpacked;
  FUZZ_CHECK(Unpack(chunk, &unpacked).ok() == ok);
  if (ok) FUZZ_CHECK(unpacked == EncodeXor(samples));
  if (ok && samples.size() < 2000) CheckPacker(samples);

  std::vector<Sample> doubles;
  for (std::size_t i = 0; i + 8 <= bytes.size() && doubles.size() < 500; i += 8) {
    doubles.push_back({static_cast<Timestamp>(doubles.size()) * 1000 + data[0], LoadFixed<double>(bytes.data() + i)});
  }
  if (!doubles.empty()) CheckPacker(doubles);
  return 0;
}
