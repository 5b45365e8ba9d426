// Holds the calls of an engine, or of anything else, until a test lets them go.
#ifndef CHRONOLITH_TESTS_SUPPORT_GATE_H_
#define CHRONOLITH_TESTS_SUPPORT_GATE_H_

#include "base/mutex.h"

namespace chronolith {

// Holds engine calls of one method while it is closed, and counts them. Thread safety: all methods may be called concurrently.
class Gate {
 public:
  void Close() {
    MutexLock lock(&mu_);
    open_ = false;
  }
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  // Those that it holds go on; it stays closed.
  void LetHeldGo() {
    MutexLock lock(&mu_);
    held_ = 0;
    ++let_go_;
    changed_.SignalAll();
  }
  // Called by the engine.
  void Pass() {
    MutexLock lock(&mu_);
    ++calls_;
    ++held_;
    changed_.SignalAll();
    const int before = let_go_;
    while (!open_ && let_go_ == before) changed_.Wait(&mu_);
    if (let_go_ == before) --held_;
  }
  // Returns when `n` calls stand before the closed gate.
  void AwaitHeld(int n) {
    MutexLock lock(&mu_);
    while (held_ < n) changed_.Wait(&mu_);
  }
  int calls() {
    MutexLock lock(&mu_);
    return calls_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = true;
  int held_ ABSL_GUARDED_BY(mu_) = 0;
  int let_go_ ABSL_GUARDED_BY(mu_) = 0;  // times
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_GATE_H_
