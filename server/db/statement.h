// What is sent to PostgreSQL and what comes back, both in its binary format.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cairn::db {

// SQL with a name: prepared once a connection. Statements are constants; an empty name means text built at run time,
// which is parsed and planned anew each time.
struct Statement {
  std::string_view name;
  std::string_view sql;
};

// JSON text that goes to a jsonb parameter.
struct Jsonb {
  std::string_view text;
};

// Parameter values for $1, $2, … in order. Copies what it is given.
class Params {
 public:
  Params() = default;
  template <class... T>
  static Params of(const T&... values) {
    Params params;
    (params.add(values), ...);
    return params;
  }

  Params& add(std::string_view text);
  Params& add(const std::string& text) { return add(std::string_view(text)); }
  Params& add(const char* text) { return add(std::string_view(text)); }
  Params& add(int32_t value);
  Params& add(int64_t value);
  Params& add(double value);
  Params& add(bool value);
  Params& add(Jsonb value);
  Params& add(std::span<const int32_t> values);
  Params& add(std::span<const int64_t> values);
  Params& add(std::span<const double> values);
  Params& add(std::span<const std::string> values);
  Params& add(const std::vector<int32_t>& values) { return add(std::span<const int32_t>(values)); }
  Params& add(const std::vector<int64_t>& values) { return add(std::span<const int64_t>(values)); }
  Params& add(const std::vector<double>& values) { return add(std::span<const double>(values)); }
  Params& add(const std::vector<std::string>& values) { return add(std::span<const std::string>(values)); }
  // text[] in which an absent value is NULL.
  Params& add(const std::vector<std::optional<std::string>>& values);
  Params& add(const std::vector<std::optional<int64_t>>& values);
  Params& add(const std::vector<std::optional<double>>& values);
  // An array of a composite type, the fields of each in order; the text names the type: $1::schema.type[].
  Params& add(std::span<const Params> records);
  // NULL of the type when there is no value.
  template <class T>
  Params& add(const std::optional<T>& value) {
    if (value) return add(*value);
    add(T{});
    offsets_.back() = kNull;
    return *this;
  }

  size_t size() const { return types_.size(); }

 private:
  friend class Connection;
  static constexpr size_t kNull = static_cast<size_t>(-1);
  void begin(Oid type);
  void end();
  void put16(uint16_t value);
  void put32(uint32_t value);
  void put64(uint64_t value);
  void array_header(size_t count, bool has_null, Oid element);
  template <class Number>
  Params& add_nullable(Oid array, Oid element, const std::vector<std::optional<Number>>& values);

  std::string bytes_;
  std::vector<Oid> types_;
  std::vector<size_t> offsets_;
  std::vector<int> lengths_;
};

// The result of one statement. Column access is by position; reading a column as a type it does not have throws
// std::logic_error, reading NULL where the accessor does not return an optional too.
class Rows {
 public:
  explicit Rows(PGresult* result) : result_(result, &PQclear) {}

  int size() const { return PQntuples(result_.get()); }
  bool empty() const { return size() == 0; }
  // Rows that INSERT, UPDATE or DELETE touched.
  int64_t affected() const;

  bool is_null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // text, varchar, name, json, jsonb, uuid (in its usual form).
  std::string text(int row, int column) const;
  // Without a copy: for text, varchar and jsonb only. Valid while the Rows live.
  std::string_view view(int row, int column) const;
  std::optional<std::string> optional_text(int row, int column) const;
  // int2, int4, int8.
  int64_t integer(int row, int column) const;
  std::optional<int64_t> optional_integer(int row, int column) const;
  double number(int row, int column) const;
  bool boolean(int row, int column) const;
  // timestamptz as milliseconds since 1970 UTC.
  int64_t timestamp_ms(int row, int column) const;
  std::optional<int64_t> optional_timestamp_ms(int row, int column) const;
  // timestamptz as microseconds since 1970 UTC.
  int64_t timestamp_us(int row, int column) const;
  // Arrays without NULLs; int4[] and int8[] both come as int64. NULL is empty.
  std::vector<int64_t> integers(int row, int column) const;
  std::vector<double> numbers(int row, int column) const;
  std::vector<std::string> texts(int row, int column) const;
  // The same with NULLs: int8[], float8[], text[].
  std::vector<std::optional<int64_t>> optional_integers(int row, int column) const;
  std::vector<std::optional<double>> optional_numbers(int row, int column) const;
  std::vector<std::optional<std::string>> optional_texts(int row, int column) const;

 private:
  std::string_view bytes(int row, int column) const;
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

// What PostgreSQL (or the connection to it) reported. `code()` is what a client is told: connection loss is
// kTemporarilyUnavailable, a full disk kInsufficientStorage, the rest kInternalError unless the store says better.
class DbError : public Error {
 public:
  DbError(std::string sqlstate, const std::string& message, std::string statement);
  const std::string& sqlstate() const { return sqlstate_; }
  const std::string& statement() const { return statement_; }
  bool is_unique_violation() const { return sqlstate_ == "23505"; }
  bool is_foreign_key_violation() const { return sqlstate_ == "23503"; }
  // Serialisation failure or deadlock: the transaction may be run again.
  bool is_retryable() const { return sqlstate_ == "40001" || sqlstate_ == "40P01"; }
  bool is_lock_timeout() const { return sqlstate_ == "55P03"; }
  bool is_statement_timeout() const { return sqlstate_ == "57014"; }
  // The connection is gone or the server is not accepting work.
  bool is_unavailable() const { return code() == ErrorCode::kTemporarilyUnavailable; }

 private:
  std::string sqlstate_;
  std::string statement_;
};

// Throws Error(kInvalidParameterValue) for a LIKE pattern that PostgreSQL would refuse while it runs.
void check_like_pattern(std::string_view pattern);

// The one function that quotes an SQL identifier.
std::string quote_identifier(std::string_view name);

}  // namespace cairn::db
