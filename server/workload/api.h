// `cairn workload`: the database of a model registry at any scale, and a load on it, or on any database, at a set rate.
#pragma once

namespace cairn::workload {}
