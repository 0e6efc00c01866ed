// What there is to know of a table before it is converted. Texts are SQL with every name quoted and with its schema.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "partitions/session.h"

namespace cairn::partitions {

std::string qualified(const std::string& schema, const std::string& name);
// `, `-separated and quoted; each with `prefix` before it.
std::string column_list(const std::vector<std::string>& columns, const std::string& prefix = "");
// As PostgreSQL would shorten it: 63 bytes with the suffix.
std::string fitted(const std::string& name, const std::string& suffix);

struct Column {
  std::string name = {};
  std::string type = {};
  bool not_null = false;
  bool generated = false;
  bool identity = false;
  std::string sequence_schema = {};  // that it owns
  std::string sequence = {};
};

struct Index {
  int64_t oid = 0;
  std::string name = {};
  bool unique = false;
  bool primary = false;
  bool constraint = false;
  bool exclusion = false;
  bool valid = false;
  bool plain = false;  // columns in their usual order and operator classes; no predicate, INCLUDE, NULLS NOT DISTINCT
  std::string deferrable = {};  // or DEFERRABLE …
  std::vector<std::string> columns = {};
  std::string body = {};  // what stands behind USING
};

struct IncomingKey {  // a foreign key that refers to the table
  std::string name = {};
  std::string table = {};
  std::string kind = {};  // relkind of that table
  bool of_itself = false;
  std::vector<std::string> columns = {};
  std::vector<std::string> references = {};
  std::string actions = {};
  bool valid = true;
};

struct OutgoingKey {
  std::string name = {};
  std::string definition = {};
  std::string table = {};  // that it refers to
  bool valid = true;
};

struct Trigger {
  std::string name = {};
  std::string definition = {};
  std::string enabled = {};  // tgenabled
  bool impossible = false;   // on a partitioned table
};

struct View {
  int64_t oid = 0;
  std::string name = {};
  std::string kind = {};
  std::string options = {};
};

struct Statistics {  // extended ones
  std::string schema = {};
  std::string name = {};
  std::string definition = {};
};

struct TableFacts {
  int64_t oid = 0;
  std::string schema = {};
  std::string name = {};
  std::string kind = {};
  std::string persistence = {};
  std::string owner = {};
  std::string storage = {};  // what stands behind the columns of a partition: WITH (…) TABLESPACE …
  bool row_security = false;
  bool inherits = false;
  bool may_alter = false;
  double rows = 0;
  int64_t bytes = 0;
  std::vector<Column> columns = {};
  std::vector<Index> indexes = {};
  std::vector<IncomingKey> incoming = {};
  std::vector<OutgoingKey> outgoing = {};
  std::vector<Trigger> triggers = {};
  std::vector<View> views = {};
  std::vector<Statistics> statistics = {};
  std::vector<std::string> others = {};  // what depends on it in a way that is not carried over

  std::string full_name() const { return qualified(schema, name); }
  std::string shown_name() const { return schema + "." + name; }
  const Column* find(const std::string& column) const;
  // All of it that a conversion relies on, to see whether somebody changed the table meanwhile.
  std::string signature() const;
};

task<TableFacts> read_facts(Session& session, int64_t oid);

}  // namespace cairn::partitions
