#include "pooler/settings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cairn::pooler {
namespace {

Backend backend() {
  return {.host = "/data/run",
          .port = "5432",
          .database = "cairn",
          .user = "cairn",
          .secret = "",
          .sslmode = "",
          .sslrootcert = "",
          .auth_user = "postgres",
          .connections = 97};
}

TEST(Pooler, R10_AllKeysOfTheTextAreWritten) {
  Options options;
  options.max_db_connections = 60;
  const std::string ini = render_ini(options, backend(), "/data/pgbouncer", "/data/run");
  for (const auto& [key, value] : {std::pair{"pool_mode", "transaction"},
                                   {"max_client_conn", "1000"},
                                   {"default_pool_size", "25"},
                                   {"reserve_pool_size", "5"},
                                   {"reserve_pool_timeout", "3"},
                                   {"server_idle_timeout", "600"},
                                   {"max_db_connections", "60"},
                                   {"listen_port", "6432"}})
    EXPECT_EQ(ini_value(ini, key), value) << key;
  EXPECT_NE(ini.find("\ncairn = host='/data/run' port=5432 dbname='cairn'\n"), std::string::npos) << ini;
}

TEST(Pooler, R10_ConnectionsAreThoseThatPostgresqlCanSpare) {
  Options options;
  EXPECT_EQ(database_connections(options, backend(), 16), 71);
  Backend large = backend();
  large.connections = 500;
  EXPECT_EQ(database_connections(options, large, 16), 100);
  options.max_db_connections = 72;
  EXPECT_THROW(database_connections(options, backend(), 16), Error);
  options.max_db_connections = 0;
  EXPECT_THROW(database_connections(options, backend(), 97), Error);
}

TEST(Pooler, R20_NobodyComesOverTheNetworkWithoutAPassword) {
  Options options;
  options.listen_addr = "0.0.0.0";
  EXPECT_THROW(render_hba(options, backend()), Error);
  options.tls_certificate = "cert.pem";
  options.tls_key = "key.pem";
  EXPECT_EQ(render_hba(options, backend()).find("host all"), std::string::npos);
  options.max_db_connections = 1;
  EXPECT_EQ(ini_value(render_ini(options, backend(), "/d", "/d"), "client_tls_sslmode"), "require");
}

TEST(Pooler, R20_ARoleWithoutAPasswordGetsOneThatNobodyKnows) {
  EXPECT_EQ(render_userlist(backend(), "x"), "\"cairn\" \"x\"\n\"postgres\" \"x\"\n");
  Backend named = backend();
  named.user = "a\"b";
  named.auth_user = "";
  named.secret = "p\"w";
  EXPECT_EQ(render_userlist(named, "x"), "\"a\"\"b\" \"p\"\"w\"\n");
  named.secret = "line\nbreak";
  EXPECT_THROW(render_userlist(named, "x"), Error);
}

}  // namespace
}  // namespace cairn::pooler
