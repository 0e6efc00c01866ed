// vector_index_check(regclass): what is wrong with an hnsw or ivfflat index, a row a finding.
#include "am/hnsw/check.h"
#include "am/ivfflat/check.h"
#include "pg/am.h"

namespace {

PG_FUNCTION_DECLARE(hnswhandler);
PG_FUNCTION_DECLARE(ivfflathandler);

void add_row(void* context, BlockNumber block, const char* what) {
  auto* result = static_cast<ReturnSetInfo*>(context);
  Datum values[2] = {Int64GetDatum(static_cast<int64>(block)), CStringGetTextDatum(what)};
  bool nulls[2] = {false, false};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

using Checker = void (*)(Relation, void (*)(void*, BlockNumber, const char*), void*);

Checker checker_of(Relation index) {
  FmgrInfo handler;
  fmgr_info(index->rd_amhandler, &handler);
  if (handler.fn_addr == hnswhandler) return cairn::hnsw::hnsw_index_check;
  if (handler.fn_addr == ivfflathandler) return cairn::ivfflat::ivfflat_index_check;
  ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                  errmsg("\"%s\" is not an hnsw or ivfflat index", RelationGetRelationName(index))));
}

}  // namespace

PG_FUNCTION(vector_index_check) {
  InitMaterializedSRF(fcinfo, 0);
  const Relation index = index_open(PG_GETARG_OID(0), AccessShareLock);
  const Checker check = checker_of(index);
  check(index, add_row, fcinfo->resultinfo);
  index_close(index, AccessShareLock);
  return static_cast<Datum>(0);
}
