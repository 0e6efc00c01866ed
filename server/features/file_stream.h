// A file as a stream of pieces. Blocking: for the command line, where nothing else waits.
#pragma once

#include <fstream>
#include <iostream>

#include "base/error.h"
#include "http/message.h"

namespace cairn::features {

class FileStream : public http::BodyStream {
 public:
  // - is standard input. Throws Error(kResourceDoesNotExist).
  explicit FileStream(const std::string& name) {
    if (name == "-") return;
    file_.open(name, std::ios::binary);
    if (!file_) throw not_found("cannot read " + name);
    in_ = &file_;
  }
  task<std::optional<std::string>> next() override {
    std::string piece(64u << 10, '\0');
    in_->read(piece.data(), static_cast<std::streamsize>(piece.size()));
    piece.resize(static_cast<size_t>(in_->gcount()));
    if (piece.empty()) co_return std::nullopt;
    co_return piece;
  }

 private:
  std::ifstream file_;
  std::istream* in_ = &std::cin;
};

}  // namespace cairn::features
