#include "storage/log_judge.h"

#include <utility>

#include "query/damage_policy.h"
#include "storage/core.h"

namespace chronolith {
namespace {

constexpr std::size_t kRangesNamedMax = 64;
constexpr std::size_t kPlacesNamedMax = 8;

// Only looks.
class NamingJudge : public LogJudge {
 public:
  Status Begin(KvEngine*) override { return Status::Ok(); }
  void OnRow(FamilyId, std::string_view, std::string_view) override {}
  void OnDamage(const LogDamage& damage) override { places.push_back(damage.place); }
  Result<std::optional<std::size_t>> Decide() override { return Cancelled("only looked at"); }

  std::vector<std::string> places;
};

std::string Lsns(ShardId shard, Lsn first, Lsn last) {
  return "shard " + std::to_string(shard) + " LSN " + std::to_string(first) + (first == last ? "" : " to " + std::to_string(last));
}

}  // namespace

Result<StoredState> ReadStoredState(KvEngine* data, const JudgedShard& shard) {
  if (!data->Damage(shard.index_family).ok() || !data->Damage(shard.chunk_family).ok()) return StoredState{.damaged = true};
  StoredState stored;
  std::string value;
  Status s = data->Get(shard.index_family, index_rows::StateKey(), &value);
  if (s.ok()) {
    Result<index_rows::State> state = index_rows::DecodeState(value);
    s = state.status();
    if (s.ok()) stored.index = *state;
  }
  if (IsDamage(s)) return StoredState{.damaged = true};
  if (!s.ok() && s.code() != StatusCode::kNotFound) return s;
  s = data->Get(shard.chunk_family, kChunkStateKey, &value);
  if (s.ok()) s = DecodeChunkState(kChunkStateKey, value, &stored.chunks);
  if (IsDamage(s)) return StoredState{.damaged = true};
  if (!s.ok() && s.code() != StatusCode::kNotFound) return s;
  return stored;
}

WalJudge::WalJudge(KvEngine* data, const std::vector<JudgedShard>& shards, GiveUp give_up, std::string remedy)
    : data_(data), give_up_(std::move(give_up)), remedy_(std::move(remedy)) {
  for (const JudgedShard& shard : shards) shards_.push_back({.shard = shard});
}

Status WalJudge::Begin(KvEngine* stored) {
  for (ShardLog& log : shards_) {
    const Result<StoredState> state = ReadStoredState(data_, log.shard);
    if (!state.ok()) return state.status();
    log.applied_least = state->least();
    log.applied_most = state->most();
    log.replayed = std::make_unique<LogEnd>(log.shard.id);
    if (Status s = log.replayed->ReadStored(stored, log.shard.wal_family); !s.ok()) return s;
  }
  return Status::Ok();
}

WalJudge::ShardLog* WalJudge::Find(FamilyId family) {
  const auto log = std::find_if(shards_.begin(), shards_.end(), [&](const ShardLog& l) { return l.shard.wal_family == family; });
  return log == shards_.end() ? nullptr : &*log;
}

void WalJudge::OnReplayed(FamilyId family, std::string_view key, std::string_view value) {
  if (ShardLog* const log = Find(family); log != nullptr) log->replayed->OnReplayed(key, value);
}

void WalJudge::EndReplay() {
  if (std::exchange(replay_ended_, true)) return;
  for (ShardLog& log : shards_) {
    // RocksDB passes over zeroes where a record should begin: then the hole is the damage, and `end` is in front of it.
    if (const Status s = log.replayed->hole(); !s.ok()) hole_ = hole_.ok() ? s : DataLoss(hole_.message() + "; " + s.message());
    log.end = log.replayed->last();
    log.at = log.end;
  }
}

void WalJudge::OnDamage(const LogDamage& damage) {
  EndReplay();
  const bool began = std::any_of(shards_.begin(), shards_.end(), [](const ShardLog& l) { return l.end > 0; });
  for (ShardLog& log : shards_) log.behind = false;
  found_.push_back({.damage = damage, .first = began && last_group_ == 0, .group_before = last_group_});
}

// What rows behind a damage, of the same opening, say of it, or the engine.
bool WalJudge::Vouched(const Found& found) {
  if (found.damage.synced) return true;
  if (found.group_behind == 0) return false;
  if (!found.damage.unwritten) return true;
  // Where the log begins with the damage, the group that was synced last may have been in a log file that is rightly gone.
  return found.first ? found.synced >= found.group_behind : found.synced > found.group_before;
}

// Records that the data instance holds are not missing.
void WalJudge::Miss(const ShardLog& log, Lsn first, Lsn last, bool vouched) {
  first = std::max(first, log.applied_least + 1);
  if (first <= last) missing_.push_back({log.shard.id, first, last, vouched});
}

void WalJudge::OnRow(FamilyId family, std::string_view key, std::string_view value) {
  EndReplay();
  ShardLog* const log = Find(family);
  if (log == nullptr || key.empty() || key[0] != kWalRowPrefix) return;
  WalRowHeader row;
  std::string_view payload;
  RecordView record;
  // A row that does not decode vouches for nothing; replay will name it.
  if (!DecodeWalRow(log->shard.id, key, value, &row, &payload, &scratch_).ok() || !NextRecord(&payload, &record).ok()) return;

  log->behind = true;
  EpochRecord epoch;
  const bool opening = record.type == RecordType::kEpoch && DecodeEpoch(record.body, &epoch).ok();
  if (!found_.empty()) {
    Found& found = found_.back();
    found.later_opening = found.later_opening || opening;
    // Groups are counted from 1 by each opening, so the beginning of one is damaged.
    if (!found.later_opening && row.group < found.group_before) found.group_before = 0;
    if (!found.later_opening && found.group_behind == 0) found.group_behind = row.group;
    if (!found.later_opening) found.synced = std::max(found.synced, row.synced_group);
  }
  last_group_ = row.group;

  if (row.first_lsn + row.records <= log->at + 1) return;
  if (opening) {
    Miss(*log, log->at + 1, epoch.previous_end, true);
  } else {
    Miss(*log, log->at + 1, row.first_lsn - 1, false);
  }
  log->at = row.first_lsn + row.records - 1;
}

Status WalJudge::Refusal(const std::string& place) const {
  std::string text = "the log is damaged in " + place + ", and later writes show that it was whole";
  const std::size_t named = std::min(missing_.size(), kRangesNamedMax);
  for (std::size_t i = 0; i < named; ++i) {
    const Missing& m = missing_[i];
    text += (i == 0 ? ". Missing, as far as can be told: " : ", ") + Lsns(m.shard, m.first, m.last);
  }
  if (named < missing_.size()) text += " and " + std::to_string(missing_.size() - named) + " ranges more";
  bool end_unknown = false;
  for (const ShardLog& log : shards_) {
    if (log.behind) continue;
    text += (end_unknown ? ", shard " : ". Nothing shows where these ended: shard ") + std::to_string(log.shard.id) +
            " behind LSN " + std::to_string(std::max(log.at, log.applied_least));
    end_unknown = true;
  }
  if (missing_.empty() && !end_unknown) text += ". As far as can be told no shard lacks a record that is not stored";
  return DataLoss(text + remedy_);
}

Result<std::optional<std::size_t>> WalJudge::Decide() {
  EndReplay();
  Result<std::optional<std::size_t>> verdict = Judge();
  refused_ = verdict.status().code() == StatusCode::kDataLoss && !give_up_;
  if (verdict.status().code() != StatusCode::kDataLoss || !give_up_) return verdict;
  std::vector<ShardId> ends_unknown;
  for (const ShardLog& log : shards_) {
    if (!log.behind) ends_unknown.push_back(log.shard.id);
  }
  if (Status status = give_up_(ends_unknown); !status.ok()) return status;
  given_up_ = verdict.status();
  return std::optional<std::size_t>();
}

Result<std::optional<std::size_t>> WalJudge::Judge() {
  if (found_.empty()) return std::optional<std::size_t>();
  for (const ShardLog& log : shards_) {
    // Its LSNs would be given out twice, whether or not the data instance holds the records.
    if (log.end < log.applied_most) missing_.push_back({log.shard.id, log.end + 1, log.applied_most, true});
  }
  const auto vouched = [](const Missing& m) { return m.vouched; };
  if (std::any_of(missing_.begin(), missing_.end(), vouched)) return Refusal(found_.front().damage.place);
  // What was seen behind a damage was noted at the last one before it.
  for (std::size_t i = found_.size() - 1; i-- > 0;) {
    const Found& next = found_[i + 1];
    if (found_[i].later_opening) continue;
    found_[i].later_opening = next.later_opening;
    if (found_[i].group_behind == 0) found_[i].group_behind = next.group_behind;
    found_[i].synced = std::max(found_[i].synced, next.synced);
  }
  for (const Found& found : found_) {
    if (Vouched(found)) return Refusal(found.damage.place);
  }
  // In front of something that is intact, of the same file: no crash leaves that, and where the engine ends there it takes that
  // along.
  for (const Found& found : found_) {
    if (found.later_opening && !found.damage.ends_file && !found.damage.unwritten) return Refusal(found.damage.place);
  }
  // What lies before a later opening was the end of the log for that one, and nothing of it is missing.
  for (std::size_t i = 0; i < found_.size(); ++i) {
    if (!found_[i].later_opening) return std::optional<std::size_t>(i);
  }
  if (!hole_.ok()) return DataLoss("the log is damaged in " + found_.front().damage.place + ": " + hole_.message() + remedy_);
  return std::optional<std::size_t>();
}

std::string WalJudge::CutAway() const {
  std::string text;
  for (const ShardLog& log : shards_) {
    if (log.at > log.end) text += (text.empty() ? "" : ", ") + Lsns(log.shard.id, log.end + 1, log.at);
  }
  return text.empty() ? "no whole record" : text;
}

Result<std::optional<std::size_t>> SyncedLogJudge::Decide() {
  for (const LogDamage& damage : found_) {
    if (damage.ends_file && !damage.synced) continue;
    const Status refusal =
        DataLoss("its log is damaged in " + damage.place + ", and later writes show that it was whole" + affected_ + remedy_);
    refused_ = !give_up_;
    if (refused_) return refusal;
    given_up_ = refusal;
    return std::optional<std::size_t>();
  }
  if (found_.empty() || !found_.back().ends_log) return std::optional<std::size_t>();
  return std::optional<std::size_t>(found_.size() - 1);
}

Result<std::vector<std::string>> DamagedPlaces(EngineFactory* factory, const std::string& path, EngineOptions options) {
  NamingJudge judge;
  options.read_only = true;
  const Status checked = factory->CheckLog(path, options, &judge).status();
  const bool told = checked.ok() || checked.code() == StatusCode::kCancelled || checked.code() == StatusCode::kUnimplemented;
  if (!told) return checked;
  return std::move(judge.places);
}

Status NamingDamage(Status why, EngineFactory* factory, const std::string& path, const EngineOptions& options, bool* found) {
  if (why.code() != StatusCode::kDataLoss) return why;
  const Result<std::vector<std::string>> places = DamagedPlaces(factory, path, options);
  if (!places.ok()) return DataLoss(why.message() + "; looking at its log: " + places.status().message());
  if (found != nullptr) *found = !places->empty();
  std::string text;
  for (std::size_t i = 0; i < std::min(places->size(), kPlacesNamedMax); ++i) text += (i == 0 ? "" : ", ") + (*places)[i];
  if (places->size() > kPlacesNamedMax) text += " and " + std::to_string(places->size() - kPlacesNamedMax) + " places more";
  return places->empty() ? why : why.WithContext("its log is damaged in " + text);
}

// ---- Opening ----

Status Core::CheckLog(EngineFactory* factory, const std::string& path, const EngineOptions& options) {
  std::vector<JudgedShard> judged;
  for (const auto& shard : shards_) judged.push_back({shard->id, shard->wal_family, shard->index_family, shard->chunk_family});
  const bool log = options.instance == InstanceRole::kLog;
  // No word of what to do in the case that it is done.
  const std::string remedy = options_.accept_data_loss
                                 ? ""
                                 : ". Nothing was changed; restore a snapshot or a backup of the store, or give up "
                                   "what is damaged and keep the rest: " +
                                       LossCommand();
  WalJudge::GiveUp give_up;
  if (options_.accept_data_loss) {
    give_up = [this](const std::vector<ShardId>& ends_unknown) {
      unfinished_.ends.insert(ends_unknown.begin(), ends_unknown.end());
      return WriteUnfinished(path_, unfinished_);
    };
  }
  WalJudge wal_judge(data_engine_.get(), judged, give_up, remedy);
  const std::string affected =
      ". Affected: of " + AllShards() + " epochs only, which the log instance has too; no LSN and no sample";
  SyncedLogJudge data_judge(options_.accept_data_loss, affected, remedy);
  LogJudge* const judge = log ? static_cast<LogJudge*>(&wal_judge) : &data_judge;
  const Result<std::string> kept = factory->CheckLog(path, options, judge);
  if (kept.status().code() == StatusCode::kUnimplemented) return Status::Ok();
  if (!kept.ok()) {
    const bool judged = log ? wal_judge.refused() : data_judge.refused();
    return judged ? kept.status() : WithAffected(kept.status(), options.instance);
  }
  if (judge->GivesUpDamage()) {
    const Status& given_up = log ? wal_judge.given_up() : data_judge.given_up();
    Log(LogLevel::kError, given_up.message() + (kept->empty() ? ""
                                                              : ". The damaged bytes have been taken out of the log in " + path +
                                                                    "; the files are kept as they were in " + *kept));
    return Status::Ok();
  }
  if (kept->empty()) return Status::Ok();
  Log(LogLevel::kWarning, "the end of the log in " + path + " was torn by a crash and has been cut off" +
                              (log ? ", with " + wal_judge.CutAway() : "") + "; the files are kept as they were in " + *kept);
  return Status::Ok();
}

}  // namespace chronolith
