// Monitoring: the figures of a PostgreSQL as Prometheus reads them, alerts from them, and the files that Prometheus and
// Grafana need.
#pragma once

#include "monitor/cli.h"
#include "monitor/exposition.h"
#include "monitor/monitor.h"
