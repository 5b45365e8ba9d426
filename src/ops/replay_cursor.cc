#include "ops/replay_cursor.h"

#include <filesystem>
#include <utility>

#include "base/posix_file.h"
#include "interop/file_sink.h"
#include "ops/checked_lines.h"
#include "ops/target_path.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {
namespace {

constexpr std::string_view kFirstLine = "chronolith replay cursor 1";
constexpr std::size_t kCursorBytesMax = 1 << 20;

// A word of any text, also of none.
std::string Escape(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  if (text.empty()) return "%";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      out.push_back(c);
    } else {
      out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  return out;
}

bool Unescape(std::string_view text, std::string* out) {
  out->clear();
  if (text == "%") return true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size() || !ParseNumber(text.substr(i + 1, 2), &byte, 16)) return false;
    out->push_back(static_cast<char>(byte));
    i += 2;
  }
  return true;
}

Status TrimmedPast(ShardId shard, Lsn cursor, Lsn trimmed_to) {
  return FailedPrecondition("the log of shard " + std::to_string(shard) + " has been trimmed up to LSN " +
                            std::to_string(trimmed_to) + ", but the cursor stands at " + std::to_string(cursor) +
                            ": what lies between is not in the log any more. Remove the cursor, and what the target has, to begin "
                            "anew with what the log holds now; `chronolith export` has all that is stored");
}

}  // namespace

std::string EncodeCursor(const ReplayCursor& cursor) {
  std::string text(kFirstLine);
  text += "\nstore " + Escape(cursor.store) + " " + std::to_string(cursor.incarnation);
  text += "\ntarget " + Escape(cursor.target);
  text += "\nselection " + Escape(cursor.selection);
  text += "\nposition " + Escape(cursor.position) + "\n";
  for (const auto& [shard, lsn] : cursor.delivered) text += "shard " + std::to_string(shard) + " " + std::to_string(lsn) + "\n";
  return WithEndLine(std::move(text));
}

Result<ReplayCursor> DecodeCursor(std::string_view text) {
  const Status damaged = DataLoss("the cursor is damaged");
  if (text.size() > kCursorBytesMax) return damaged;
  const std::string_view first = text.substr(0, text.find('\n'));
  if (first != kFirstLine && first.size() < text.size() && first.starts_with("chronolith replay cursor ")) {
    return FailedPrecondition("the cursor was written by another version of Chronolith");
  }
  const auto lines = CheckedLines(text);
  if (!lines.ok() || lines->size() < 5 || lines->front() != kFirstLine) return damaged;
  ReplayCursor cursor;
  std::vector<std::string_view> fields;
  if (!Fields((*lines)[1], "store", 2, &fields) || !Unescape(fields[0], &cursor.store) ||
      !ParseNumber(fields[1], &cursor.incarnation))
    return damaged;
  std::size_t line = 2;
  for (const auto& [key, to] :
       {std::pair("target", &cursor.target), std::pair("selection", &cursor.selection), std::pair("position", &cursor.position)}) {
    if (!Fields((*lines)[line++], key, 1, &fields) || !Unescape(fields[0], to)) return damaged;
  }
  for (; line < lines->size(); ++line) {
    ShardId shard = 0;
    Lsn lsn = 0;
    if (!Fields((*lines)[line], "shard", 2, &fields) || !ParseNumber(fields[0], &shard) || !ParseNumber(fields[1], &lsn) ||
        !cursor.delivered.emplace(shard, lsn).second) {
      return damaged;
    }
  }
  return cursor;
}

Status CheckCursor(const ReplayCursor& cursor, const ReplayCursor& wanted, const OfflineStore& store) {
  const std::string begin_anew = "; name another file, or remove it to begin anew";
  if (cursor.store != wanted.store) return FailedPrecondition("the cursor belongs to another database" + begin_anew);
  if (cursor.incarnation != wanted.incarnation) {
    return FailedPrecondition("the cursor belongs to another copy of this database (one of the two was restored or copied)" +
                              begin_anew);
  }
  if (cursor.target != wanted.target) {
    return FailedPrecondition("the cursor belongs to the target " + cursor.target + ", not " + wanted.target + begin_anew);
  }
  if (cursor.selection != wanted.selection) {
    const auto of = [](const std::string& selection) { return selection.empty() ? "everything" : "'" + selection + "'"; };
    return FailedPrecondition("the cursor belongs to a replay of " + of(cursor.selection) + ", not of " + of(wanted.selection) +
                              begin_anew);
  }
  for (const auto& [shard, lsn] : wanted.delivered) {
    const auto at = cursor.delivered.find(shard);
    if (at == cursor.delivered.end()) return DataLoss("the cursor lacks shard " + std::to_string(shard) + begin_anew);
    std::string state;
    Lsn trimmed_to = 0;
    const Status s = store.log()->Get(WalFamily(shard), kWalStateKey, &state);
    if (s.code() == StatusCode::kNotFound) continue;
    if (!s.ok() || !DecodeWalState(shard, state, &trimmed_to).ok()) continue;  // the replay of the shard tells
    if (trimmed_to > at->second) return TrimmedPast(shard, at->second, trimmed_to);
  }
  return Status::Ok();
}

ReplayCursor CursorKeeper::Wanted(const OfflineStore& store, const LogSelection& selection) const {
  ReplayCursor wanted;
  wanted.store = store.manifest().UuidHex();
  wanted.incarnation = store.manifest().incarnation;
  wanted.target = target_->name();
  wanted.selection = selection.ToString();
  for (const ShardId shard : selection.ShardsOf(store.shards())) wanted.delivered[shard] = 0;
  return wanted;
}

Status CursorKeeper::Read(const OfflineStore& store, ReplayCursor* cursor) {
  Result<std::string> text = ReadWholeFile(path_);
  if (text.status().code() == StatusCode::kNotFound) return Status::Ok();
  if (!text.ok()) return text.status();
  auto read = DecodeCursor(*text);
  if (!read.ok()) return read.status().WithContext(path_);
  if (Status s = CheckCursor(*read, *cursor, store); !s.ok()) return s.WithContext(path_);
  resumed_ = true;
  found_ = read->delivered;
  *cursor = std::move(*read);
  return Status::Ok();
}

Status CursorKeeper::Look(const OfflineStore& store, const LogSelection& selection) {
  looking_ = true;
  ReplayCursor wanted = Wanted(store, selection);
  return path_.empty() ? Status::Ok() : Read(store, &wanted);
}

Status CursorKeeper::Open(const OfflineStore& store, const LogSelection& selection) {
  if (path_.empty()) return target_->Open("");
  if (Status s = CheckOutsideDatabases(path_); !s.ok()) return s;
  ReplayCursor wanted = Wanted(store, selection);
  auto lock = PathLock::Take(path_ + ".lock", false, "replays with the cursor " + path_);
  if (!lock.ok()) return lock.status();
  lock_ = std::move(*lock);
  if (Status s = Read(store, &wanted); !s.ok()) return s;
  if (!resumed_) {
    // What was trimmed before the replay began is not missed by a later one.
    for (auto& [shard, lsn] : wanted.delivered) {
      std::string state;
      if (store.log()->Get(WalFamily(shard), kWalStateKey, &state).ok()) (void)DecodeWalState(shard, state, &lsn);
    }
  }
  if (Status s = target_->Open(wanted.position); !s.ok()) return s;
  {
    const MutexLock note(&note_mu_);
    cursor_ = std::move(wanted);
  }
  return Save();
}

std::optional<Lsn> CursorKeeper::After(ShardId shard) const {
  const auto at = found_.find(shard);
  if (!resumed_ || at == found_.end()) return std::nullopt;
  return at->second;
}

Status CursorKeeper::Flush(ShardId shard, Lsn delivered, std::uint64_t items, const std::function<Status()>& flush) {
  {
    const ReaderMutexLock lock(&mu_);
    if (Status s = flush(); !s.ok()) return s;
    const MutexLock note(&note_mu_);
    Lsn& noted = cursor_.delivered[shard];
    noted = std::max(noted, delivered);
    items_ += items;
  }
  return Due(saved_at_.load(std::memory_order_relaxed)) ? Save() : Status::Ok();
}

Status CursorKeeper::Save() {
  if (looking_) return Status::Ok();
  const MutexLock lock(&mu_);
  return SaveLocked();
}

Status CursorKeeper::SaveLocked() {
  std::string position;
  if (Status s = target_->Sync(&position); !s.ok()) return s;
  if (path_.empty()) return Status::Ok();
  std::string text;
  std::uint64_t items = 0;
  {
    const MutexLock note(&note_mu_);
    cursor_.position = std::move(position);
    saved_at_.store(std::chrono::steady_clock::now(), std::memory_order_relaxed);
    text = EncodeCursor(cursor_);
    items = items_;
  }
  const std::filesystem::path path(path_);
  const std::string directory = path.has_parent_path() ? path.parent_path().string() : ".";
  if (Status s = WriteSyncedFile(directory, path.filename().string(), text); !s.ok()) return s.WithContext("cursor");
  if (on_saved_) on_saved_(items);
  return Status::Ok();
}

}  // namespace chronolith::ops
