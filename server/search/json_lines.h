// JSON lines, in pieces as they arrive, into a collection: a document a line.
#pragma once

#include <string>
#include <string_view>

#include "search/ingest.h"

namespace cairn::search {

class JsonLines {
 public:
  // `name` is where they come from: it is in the messages, and with the line's number the source of documents that name
  // none. `ingest` must outlive it.
  JsonLines(Ingest& ingest, std::string name) : ingest_(ingest), name_(std::move(name)) {}

  // Throws Error(kInvalidParameterValue) that names the line; the documents before it are stored then.
  task<> feed(std::string_view piece);
  // The last line, which may have no end.
  task<> finish();

 private:
  task<> line();

  Ingest& ingest_;
  std::string name_;
  std::string line_;
  int64_t number_ = 0;
};

}  // namespace cairn::search
