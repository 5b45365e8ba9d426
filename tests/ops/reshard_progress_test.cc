#include "ops/reshard_progress.h"

#include <gmock/gmock.h>

#include "ops/checked_lines.h"

namespace chronolith::ops {
namespace {

ReshardProgress Example(ReshardStep step) {
  ReshardProgress p;
  p.source = {.uuid = std::string(32, 'a'), .incarnation = 7, .logs = {{3, 41}, {3, 0}}};
  p.target_uuid = std::string(32, 'b');
  p.shards = 3;
  p.step = step;
  p.position = 12'345;
  p.series_at_once = 16'384;
  if (step == ReshardStep::kCompared) p.figures = {{1, 2, 3, 4, 5}, {}, {6, 7, 8, 9, 10}};
  return p;
}

TEST(ReshardProgress, ComesBackAsItWas) {
  for (const ReshardStep step : {ReshardStep::kCopying, ReshardStep::kCopied, ReshardStep::kCompared}) {
    const ReshardProgress p = Example(step);
    const Result<ReshardProgress> back = DecodeReshardProgress(EncodeReshardProgress(p));
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(*back, p);
  }
}

TEST(ReshardProgress, EveryOtherByteAndEveryCutIsRefused) {
  const std::string text = EncodeReshardProgress(Example(ReshardStep::kCompared));
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(DecodeReshardProgress(text.substr(0, i)).ok()) << i;
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_FALSE(DecodeReshardProgress(other).ok()) << i;
  }
}

// With a checksum that is right.
TEST(ReshardProgress, WhatMakesNoSenseIsRefused) {
  const std::string a(32, 'a');
  const std::string b(32, 'b');
  const std::string first = "chronolith reshard 1\n";
  const std::string source = "source " + a + " 1 1\nlog 1 2\n";
  const std::string target = "target " + b + " 2\n";
  struct Row {
    std::string text;
    StatusCode code;
  };
  const Row kRows[] = {
      {first + source + target + "step copying 0 1\n", StatusCode::kOk},
      {first + source + target + "step compared 0 1\nshard 1 2 3 4 5\nshard 0 0 0 0 0\n", StatusCode::kOk},
      {"", StatusCode::kDataLoss},
      {"chronolith backup 1\n", StatusCode::kDataLoss},
      {"chronolith reshard 2\n" + source + target + "step copying 0 1\n", StatusCode::kFailedPrecondition},
      {first + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source " + a + " 1 0\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source " + a + " 1 32\nlog 1 2\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source " + a + " 1 4294967295\nlog 1 2\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source aa 1 1\nlog 1 2\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source " + a + " 1 2\nlog 1 2\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + "source " + a + " 1 1\nlog 1 -2\n" + target + "step copying 0 1\n", StatusCode::kDataLoss},
      {first + source + "target " + b + " 0\nstep copying 0 1\n", StatusCode::kDataLoss},
      {first + source + "target " + b + " 32\nstep copying 0 1\n", StatusCode::kDataLoss},
      {first + source + target + "step resting 0 1\n", StatusCode::kDataLoss},
      {first + source + target + "step copying 0 0\n", StatusCode::kDataLoss},
      {first + source + target + "step copying 0\n", StatusCode::kDataLoss},
      {first + source + target + "step copying 0 1\nshard 1 2 3 4 5\n", StatusCode::kDataLoss},
      {first + source + target + "step compared 0 1\nshard 1 2 3 4 5\n", StatusCode::kDataLoss},
      {first + source + target + "step compared 0 1\nshard 1 2 3 4\nshard 1 2 3 4 5\n", StatusCode::kDataLoss},
      {first + source + target + "step compared 0 1\nshard 1 2 3 4 5\nshard 1 2 3 4 5\nmore\n", StatusCode::kDataLoss},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(DecodeReshardProgress(WithEndLine(row.text)).status().code(), row.code) << row.text;
  }
}

}  // namespace
}  // namespace chronolith::ops
