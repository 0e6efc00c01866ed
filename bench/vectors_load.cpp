// The client of `./dev bench vectors`: what is measured runs here, so that no interpreter stands between two queries.
//
//   bench_vectors_load CONNINFO copy TABLE FILE                  rows (id, v, f = id % 100) by binary COPY
//   bench_vectors_load CONNINFO search STATEMENT FILE PASSES     $1 is each vector of FILE, one pass uncounted before
//   bench_vectors_load CONNINFO insert STATEMENT FILE FIRST ID COUNT   $1 the id, from ID on; $2 vectors of FILE from
//   FIRST on bench_vectors_load CONNINFO fixed STATEMENT COUNT            $1, if there is one, is a bigint from 0 on
//
// FILE holds int32 rows, int32 columns and float32 values. Statements are prepared; parameters and results are binary,
// and a vector goes as the type `vector`. Settings come with CONNINFO (options=-c ...). The answer is one JSON object:
// `us`, the wall time of each call; `cpu_us`, the backend's CPU time of all of them (schedstat; the kernel's time is in
// it); `ids`, the first column of each query's rows in the last pass. One thread, one connection; ends with status 1 at
// the first error.
#include <endian.h>
#include <libpq-fe.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_vectors_load: %s\n", what.c_str());
  std::exit(1);
}

struct Vectors {
  int32_t rows = 0, columns = 0;
  std::vector<float> values;

  explicit Vectors(const char* path) {
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(&rows), 4).read(reinterpret_cast<char*>(&columns), 4);
    if (!file) fail(std::string("no vectors in ") + path);
    values.resize(size_t(rows) * columns);
    if (!file.read(reinterpret_cast<char*>(values.data()), std::streamsize(values.size() * 4)))
      fail(std::string(path) + " is cut short");
  }

  // The binary form of the type `vector`: int16 dimensions, int16 0, float4 each, in network order.
  std::string binary(int row) const {
    std::string out(4 + size_t(columns) * 4, '\0');
    const uint16_t dims = htobe16(uint16_t(columns));
    std::memcpy(out.data(), &dims, 2);
    for (int i = 0; i < columns; ++i) {
      uint32_t bits;
      std::memcpy(&bits, &values[size_t(row) * columns + i], 4);
      bits = htobe32(bits);
      std::memcpy(&out[4 + size_t(i) * 4], &bits, 4);
    }
    return out;
  }
};

template <typename T>
std::string network(T value) {
  value = sizeof(T) == 8   ? T(htobe64(uint64_t(value)))
          : sizeof(T) == 4 ? T(htobe32(uint32_t(value)))
                           : T(htobe16(uint16_t(value)));
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

class Connection {
 public:
  explicit Connection(const char* info) : handle_(PQconnectdb(info)) {
    if (PQstatus(handle_) != CONNECTION_OK) fail(PQerrorMessage(handle_));
  }
  ~Connection() { PQfinish(handle_); }

  // Client and backend take turns, so one core is enough for both. On a virtual machine a core that sleeps meanwhile
  // takes some 30 us to wake, and a part of that counts as the backend's CPU time.
  void share_core() {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof(cores), &cores) != 0) fail("sched_getaffinity");
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &cores)) --last;
    CPU_ZERO(&cores);
    CPU_SET(last, &cores);
    if (sched_setaffinity(0, sizeof(cores), &cores) != 0 ||
        sched_setaffinity(PQbackendPID(handle_), sizeof(cores), &cores) != 0)
      fail("cannot keep client and backend on one core: run as the server's user or as root");
  }

  PGconn* handle() { return handle_; }

  Oid vector_type() {
    PGresult* result = PQexec(handle_, "SELECT 'vector'::regtype::oid");
    if (PQresultStatus(result) != PGRES_TUPLES_OK) fail(PQerrorMessage(handle_));
    const Oid oid = Oid(std::strtoul(PQgetvalue(result, 0, 0), nullptr, 10));
    PQclear(result);
    return oid;
  }

  void prepare(const char* statement, const std::vector<Oid>& types) {
    PGresult* result = PQprepare(handle_, "s", statement, int(types.size()), types.data());
    if (PQresultStatus(result) != PGRES_COMMAND_OK) fail(PQerrorMessage(handle_));
    PQclear(result);
  }

  PGresult* run(const std::vector<std::string>& parameters) {
    const char* values[2] = {};
    int lengths[2] = {}, formats[2] = {1, 1};
    for (size_t i = 0; i < parameters.size(); ++i)
      values[i] = parameters[i].data(), lengths[i] = int(parameters[i].size());
    PGresult* result = PQexecPrepared(handle_, "s", int(parameters.size()), values, lengths, formats, 1);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) fail(PQerrorMessage(handle_));
    return result;
  }

  double cpu_us() {
    std::ifstream file("/proc/" + std::to_string(PQbackendPID(handle_)) + "/schedstat");
    double ns = 0;
    file >> ns;
    return ns / 1000;
  }

 private:
  PGconn* handle_;
};

class Answer {
 public:
  explicit Answer(Connection& connection) : connection_(connection) {}

  void start() { cpu_ = connection_.cpu_us(), us_.clear(); }

  PGresult* timed(const std::vector<std::string>& parameters) {
    const auto began = Clock::now();
    PGresult* result = connection_.run(parameters);
    us_.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
    return result;
  }

  void keep_ids(const PGresult* result) {
    ids_ += ids_.empty() ? "[" : ",[";
    for (int row = 0; row < PQntuples(result); ++row) {
      uint64_t id;
      std::memcpy(&id, PQgetvalue(result, row, 0), 8);
      ids_ += (row ? "," : "") + std::to_string(be64toh(id));
    }
    ids_ += "]";
  }

  void print() {
    std::printf("{\"cpu_us\":%.1f,\"us\":[", connection_.cpu_us() - cpu_);
    for (size_t i = 0; i < us_.size(); ++i) std::printf("%s%.1f", i ? "," : "", us_[i]);
    std::printf("],\"ids\":[%s]}\n", ids_.c_str());
  }

 private:
  Connection& connection_;
  double cpu_ = 0;
  std::vector<double> us_;
  std::string ids_;
};

constexpr Oid kInt8 = 20;

void copy(Connection& connection, const char* table, const Vectors& vectors) {
  PGresult* result =
      PQexec(connection.handle(), (std::string("COPY ") + table + " (id, v, f) FROM STDIN (FORMAT binary)").c_str());
  if (PQresultStatus(result) != PGRES_COPY_IN) fail(PQerrorMessage(connection.handle()));
  PQclear(result);
  std::string data("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  for (int row = 0; row < vectors.rows; ++row) {
    const std::string vector = vectors.binary(row);
    data += network<int16_t>(3) + network<int32_t>(8) + network<int64_t>(row) +
            network<int32_t>(int32_t(vector.size())) + vector + network<int32_t>(4) + network<int32_t>(row % 100);
    if (PQputCopyData(connection.handle(), data.data(), int(data.size())) != 1)
      fail(PQerrorMessage(connection.handle()));
    data.clear();
  }
  data = network<int16_t>(-1);
  if (PQputCopyData(connection.handle(), data.data(), int(data.size())) != 1 ||
      PQputCopyEnd(connection.handle(), nullptr) != 1)
    fail(PQerrorMessage(connection.handle()));
  result = PQgetResult(connection.handle());
  if (PQresultStatus(result) != PGRES_COMMAND_OK) fail(PQerrorMessage(connection.handle()));
  PQclear(result);
}

void search(Connection& connection, const char* statement, const Vectors& vectors, int passes) {
  connection.prepare(statement, {connection.vector_type()});
  Answer answer(connection);
  for (int pass = 0; pass <= passes; ++pass) {
    if (pass == 1) answer.start();
    for (int row = 0; row < vectors.rows; ++row) {
      PGresult* result = answer.timed({vectors.binary(row)});
      if (pass == passes) answer.keep_ids(result);
      PQclear(result);
    }
  }
  answer.print();
}

void insert(Connection& connection, const char* statement, const Vectors& vectors, int first, int64_t id, int count) {
  if (first + count > vectors.rows) fail("not so many vectors in the file");
  connection.prepare(statement, {kInt8, connection.vector_type()});
  Answer answer(connection);
  answer.start();
  for (int i = 0; i < count; ++i) PQclear(answer.timed({network<int64_t>(id + i), vectors.binary(first + i)}));
  answer.print();
}

void fixed(Connection& connection, const char* statement, int count) {
  const bool parameter = std::strstr(statement, "$1") != nullptr;
  connection.prepare(statement, parameter ? std::vector<Oid>{kInt8} : std::vector<Oid>{});
  Answer answer(connection);
  for (int i = -count / 5; i < count; ++i) {
    if (i == 0) answer.start();
    PQclear(
        answer.timed(parameter ? std::vector<std::string>{network<int64_t>(std::abs(i))} : std::vector<std::string>{}));
  }
  answer.print();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[2] : "";
  if (argc < 5) fail("CONNINFO copy|search|insert|fixed ...");
  Connection connection(argv[1]);
  if (mode != "copy") connection.share_core();
  if (mode == "copy" && argc == 5)
    copy(connection, argv[3], Vectors(argv[4]));
  else if (mode == "search" && argc == 6)
    search(connection, argv[3], Vectors(argv[4]), std::atoi(argv[5]));
  else if (mode == "insert" && argc == 8)
    insert(connection, argv[3], Vectors(argv[4]), std::atoi(argv[5]), std::atoll(argv[6]), std::atoi(argv[7]));
  else if (mode == "fixed" && argc == 5)
    fixed(connection, argv[3], std::atoi(argv[4]));
  else
    fail(
        "copy TABLE FILE | search STATEMENT FILE PASSES | insert STATEMENT FILE FIRST ID COUNT | fixed STATEMENT "
        "COUNT");
}
