// Keeps the embedded PostgreSQL alive on a full disk.
//
// PostgreSQL bears a full disk while it extends a table (the transaction fails) but not while it needs another segment
// of its log: it panics, and its recovery needs a segment too. So writes are refused while there is still some room,
// and <data>/reserve holds space that recovery gets when the disk filled up too fast for that.
//
// Threads: keep_room() from one thread at a time; give_up_reserve() from any.
#pragma once

#include <cstdint>
#include <string>

namespace cairn::cluster {

class DiskGuard {
 public:
  explicit DiskGuard(const std::string& data_dir) : data_dir_(data_dir), reserve_(data_dir + "/reserve") {}

  // Whether there is room for writes; says in the log when that changes. Makes the reserve where it is missing.
  bool keep_room();
  // Before PostgreSQL starts: removes the reserve if there is too little room for that.
  void give_up_reserve() const;
  uint64_t free_bytes() const;

 private:
  bool make_reserve() const;

  std::string data_dir_;
  std::string reserve_;
  bool room_ = true;
};

}  // namespace cairn::cluster
