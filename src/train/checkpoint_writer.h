// Checkpoints that training does not wait for. begin() copies the state, which is all that the run stands still for; a
// thread of every rank then writes its part of the files, and when all ranks have flushed theirs, a thread of rank 0
// makes the folder count (checksums, state.json, `complete`) and removes the oldest. Only one save is under way at a
// time. The threads send no messages: ranks learn of each other in poll(), between steps. What goes wrong in a thread
// (full disk, no permission) ends the run in the next poll() of all ranks, with the file and the reason.
#pragma once
#include <atomic>
#include <thread>

#include "train/checkpoint.h"
#include "train/state_files.h"

namespace puyu {

class CheckpointWriter {
 public:
  struct Options {
    std::string run_dir;
    std::string tokenizer;   // as copy_tokenizer
    Json config;             // all options of the run
    int64_t keep = 2;        // the newest checkpoints that stay; 0 = all. Of snapshots two stay
    bool background = true;  // false: begin() returns when the checkpoint is complete, and nothing is copied
  };
  // Removes what a killed run has left half-written. Error when there is no room for one more checkpoint.
  CheckpointWriter(Options options, Learner& learner);
  ~CheckpointWriter();  // waits for this rank's thread; a save under way stays incomplete
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // All by all ranks, from the thread that trains. begin() first waits for an earlier save.
  void begin(const TrainState& state, SaveKind kind = SaveKind::kCheckpoint);
  std::string poll();    // the folder that has become complete since the last call; "" = none
  std::string finish();  // waits for the save under way; as poll()

  bool busy() const { return stage_ != Stage::kIdle; }
  double stalled_seconds() const { return stalled_; }  // spent in these calls since the beginning
  std::vector<std::pair<std::string, int64_t>> memory() const;

 private:
  enum class Stage { kIdle, kWriting, kCommitting };
  void prepare();
  void touch_copies();
  void copy_state();
  void start(std::function<void()> work);
  void advance();
  void wait();
  [[noreturn]] void give_up();
  void commit() const;

  Options options_;
  Learner& learner_;
  Stage stage_ = Stage::kIdle;
  SaveKind kind_ = SaveKind::kCheckpoint;
  TrainState state_;
  std::string dir_, done_, model_config_;
  FilePlan files_[2];
  std::unique_ptr<Arena> copies_;
  std::thread make_real_;  // of copies_, before the first save
  std::atomic<bool> ending_{false};
  std::thread thread_;
  std::atomic<bool> running_{false};
  std::string error_;  // of the thread; read when it has ended
  double stalled_ = 0;
};

}  // namespace puyu
