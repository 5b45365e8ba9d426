#include "ops/reshard_progress.h"

#include <fstream>
#include <sstream>

#include "ops/checked_lines.h"

namespace chronolith::ops {
namespace {

constexpr std::string_view kMagic = "chronolith reshard ";
constexpr std::string_view kFirstLine = "chronolith reshard 1";
constexpr std::string_view kSteps[] = {"copying", "copied", "compared"};
constexpr std::uint32_t kShardsMax = 31;

bool IsUuid(std::string_view text) { return text.size() == 32; }

bool ParseStep(std::string_view text, ReshardStep* step) {
  for (std::size_t i = 0; i < std::size(kSteps); ++i) {
    if (text != kSteps[i]) continue;
    *step = static_cast<ReshardStep>(i);
    return true;
  }
  return false;
}

bool ParseFigures(std::string_view line, StoreFigures* f) {
  std::vector<std::string_view> fields;
  return Fields(line, "shard", 5, &fields) && ParseNumber(fields[0], &f->series) && ParseNumber(fields[1], &f->samples) &&
         ParseNumber(fields[2], &f->histograms) && ParseNumber(fields[3], &f->exemplars) && ParseNumber(fields[4], &f->metadata);
}

bool Parse(const std::vector<std::string_view>& lines, ReshardProgress* p) {
  std::vector<std::string_view> fields;
  std::uint32_t logs = 0;
  if (lines.size() < 4 || !Fields(lines[1], "source", 3, &fields) || !IsUuid(fields[0])) return false;
  if (!ParseNumber(fields[1], &p->source.incarnation) || !ParseNumber(fields[2], &logs)) return false;
  p->source.uuid = fields[0];
  if (logs == 0 || logs > kShardsMax || lines.size() < logs + 4) return false;
  std::size_t at = 2;
  for (std::uint32_t k = 0; k < logs; ++k) {
    StoreMoment::Log& log = p->source.logs.emplace_back();
    if (!Fields(lines[at++], "log", 2, &fields) || !ParseNumber(fields[0], &log.epoch) || !ParseNumber(fields[1], &log.lsn)) {
      return false;
    }
  }
  if (!Fields(lines[at++], "target", 2, &fields) || !IsUuid(fields[0]) || !ParseNumber(fields[1], &p->shards)) return false;
  p->target_uuid = fields[0];
  if (p->shards == 0 || p->shards > kShardsMax) return false;
  if (!Fields(lines[at++], "step", 3, &fields) || !ParseStep(fields[0], &p->step)) return false;
  if (!ParseNumber(fields[1], &p->position) || !ParseNumber(fields[2], &p->series_at_once) || p->series_at_once == 0) return false;
  if (lines.size() - at != (p->step == ReshardStep::kCompared ? p->shards : 0)) return false;
  for (; at < lines.size(); ++at) {
    if (!ParseFigures(lines[at], &p->figures.emplace_back())) return false;
  }
  return true;
}

}  // namespace

std::string EncodeReshardProgress(const ReshardProgress& p) {
  const auto number = [](std::uint64_t n) { return " " + std::to_string(n); };
  std::string text =
      std::string(kFirstLine) + "\nsource " + p.source.uuid + number(p.source.incarnation) + number(p.source.logs.size()) + "\n";
  for (const StoreMoment::Log& log : p.source.logs) text += "log" + number(log.epoch) + number(log.lsn) + "\n";
  text += "target " + p.target_uuid + number(p.shards) + "\nstep " + std::string(kSteps[static_cast<std::size_t>(p.step)]) +
          number(p.position) + number(p.series_at_once) + "\n";
  for (const StoreFigures& f : p.figures) {
    text += "shard" + number(f.series) + number(f.samples) + number(f.histograms) + number(f.exemplars) + number(f.metadata) + "\n";
  }
  return WithEndLine(std::move(text));
}

Result<ReshardProgress> DecodeReshardProgress(std::string_view text) {
  if (!text.starts_with(kMagic)) return DataLoss("does not say how far a reshard is");
  if (const std::string_view first = text.substr(0, text.find('\n')); first != kFirstLine) {
    return FailedPrecondition("is of a format that this program does not know: " + std::string(first.substr(0, 40)));
  }
  const Result<std::vector<std::string_view>> lines = CheckedLines(text);
  if (!lines.ok()) return lines.status();
  ReshardProgress progress;
  if (!Parse(*lines, &progress)) return DataLoss("is malformed");
  return progress;
}

Result<ReshardProgress> ReadReshardProgress(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound("there is no file " + path);
  std::stringstream bytes;
  bytes << in.rdbuf();
  Result<ReshardProgress> progress = DecodeReshardProgress(bytes.str());
  if (progress.ok()) return progress;
  return Status(progress.status().code(), path + " " + progress.status().message());
}

}  // namespace chronolith::ops
