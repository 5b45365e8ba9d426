// verify: the engine's files by the engine's checksums.
#include "ops/verify_pass.h"

namespace chronolith::ops {
namespace {

constexpr int kVanishedMax = 20;  // in a row, with no file read in between

class FileVisitor : public VerifyVisitor {
 public:
  FileVisitor(const std::string& instance, VerifyFlow* flow, ProblemList* problems, const OnFileBytes& on_bytes)
      : instance_(instance), flow_(flow), problems_(problems), on_bytes_(on_bytes) {}
  bool OnBytes(std::uint64_t bytes) override {
    on_bytes_(bytes);
    flow_->context().Add(bytes);
    return flow_->Read(bytes).ok();
  }
  void OnFile(std::string_view file) override {
    behind_ = file;
    read_ = true;
  }
  void OnDamage(std::string_view file, const Status& damage) override {
    problems_->Add(ProblemKind::kFile, instance_ + "/" + std::string(file), damage.message());
  }
  const std::string& behind() const { return behind_; }
  bool TakeRead() { return std::exchange(read_, false); }

 private:
  const std::string& instance_;
  VerifyFlow* const flow_;
  ProblemList* const problems_;
  const OnFileBytes& on_bytes_;
  std::string behind_;
  bool read_ = false;
};

}  // namespace

Status LookAtFiles(KvEngine* engine, FamilyId family, const std::string& instance, const ReopenEngine& reopen, VerifyFlow* flow,
                   ProblemList* problems, const OnFileBytes& on_bytes) {
  if (!engine->Has(Capability::kVerify)) return Status::Ok();  // what is wrong is found by the rows
  FileVisitor visitor(instance, flow, problems, on_bytes);
  for (int vanished = 0;;) {
    const Status s = engine->VerifyChecksums(family, visitor.behind(), &visitor);
    if (s.code() == StatusCode::kCancelled) return s;
    if (s.ok()) return s;
    if (s.code() != StatusCode::kUnavailable) {
      problems->Add(ProblemKind::kFile, instance, s.message());
      return Status::Ok();
    }
    // A writer has replaced it. What came in its place has a name behind it.
    vanished = visitor.TakeRead() ? 1 : vanished + 1;
    const Result<KvEngine*> fresh = reopen();
    if (vanished > kVanishedMax || !fresh.ok()) {
      problems->Note(instance + ": files behind '" + visitor.behind() +
                     "' were not read: they vanished under the reader each time");
      return Status::Ok();
    }
    engine = *fresh;
  }
}

}  // namespace chronolith::ops
