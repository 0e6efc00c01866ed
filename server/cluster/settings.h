// The embedded PostgreSQL's configuration files as text. Pure: no files, no processes.
#pragma once

#include <string>
#include <vector>

#include "cluster/machine.h"

namespace cairn::cluster {

struct SettingsInput {
  Machine machine;
  std::string socket_directory;
  std::string log_directory;
  // 0: no TCP at all; else PostgreSQL listens on the loopback addresses at this port as well.
  int tcp_port = 0;
  int max_connections = 100;
};

struct Setting {
  std::string name;
  std::string value;
  std::string reason;
};

// What rests on the machine: memory, cores, disk. Of them cairn.conf is made.
std::vector<Setting> machine_settings(const Machine& machine, int max_connections);

// cairn.conf: every setting with a line that says what it is derived from.
std::string render_settings(const SettingsInput& input);
// pg_hba.conf: the socket by the kernel's word on who connects (peer), loopback TCP by password, nothing else.
std::string render_host_access();
// pg_ident.conf: the operating system users that may act as `cairn` and as `postgres`.
std::string render_user_map(const std::string& server_user, const std::string& postgres_user);

// 'text' as a value in a PostgreSQL configuration file.
std::string quote_setting(const std::string& text);

}  // namespace cairn::cluster
