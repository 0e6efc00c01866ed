// SQL text as PostgreSQL's own parser (libpg_query, of PostgreSQL 15) reads it, without a database.
//
// Placeholders ($1) parse, also where pg_stat_statements puts them and PostgreSQL's grammar would not (interval $1).
// What does not parse, is empty, or nests too deeply gives nothing; no function here throws for a text.
//
// Thread-safe: libpg_query keeps its memory per thread. A ParseTree itself is one thread's at a time.
#pragma once

#include <simdjson.h>

#include <memory>
#include <optional>
#include <string>

namespace cairn::tuner {

// 16 hexadecimal digits, equal for statements that differ only in constants, placeholders, the length of lists of them,
// aliases and white space. Remembered. Thread-safe.
std::optional<std::string> fingerprint(const std::string& sql);

// The text that the parser makes of its tree: `interval $1` becomes a cast, which PostgreSQL can prepare.
std::optional<std::string> deparsed(const std::string& sql);

class ParseTree {
 public:
  static std::optional<ParseTree> parse(const std::string& sql);

  // An object for each statement of the text: {"stmt": {"SelectStmt": {…}}, "stmt_location": 0, "stmt_len": 0}, in
  // the names of PostgreSQL's parse nodes; fields that are zero, false or empty are absent. Locations are offsets in
  // bytes; a length of 0 or none reaches to the text's end. Valid while the tree lives.
  simdjson::dom::array statements() const { return statements_; }

 private:
  ParseTree() = default;

  std::unique_ptr<simdjson::dom::parser> parser_;
  simdjson::dom::array statements_;
};

}  // namespace cairn::tuner
