// The access method's callbacks that scan.
#pragma once

#include "pg/am.h"

namespace cairn::ivfflat {

IndexScanDesc begin_scan(Relation index, int keys, int orderbys);
void rescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey orderbys, int orderby_count);
bool get_tuple(IndexScanDesc scan, ScanDirection direction);
void end_scan(IndexScanDesc scan);

}  // namespace cairn::ivfflat
