// See bit.h. The bits of a VarBit past its length are 0, so whole bytes can be compared.
#include "types/bit.h"

#include "kernels/distance.h"

namespace {

void check_same_length(const VarBit* a, const VarBit* b) {
  if (VARBITLEN(a) != VARBITLEN(b)) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("different bit lengths %u and %u", VARBITLEN(a), VARBITLEN(b))));
  }
}

}  // namespace

PG_FUNCTION(hamming_distance) {
  const VarBit* const a = PG_GETARG_VARBIT_P(0);
  const VarBit* const b = PG_GETARG_VARBIT_P(1);
  check_same_length(a, b);
  PG_RETURN_FLOAT8(static_cast<double>(cairn::core::hamming(VARBITS(a), VARBITS(b), VARBITBYTES(a))));
}

PG_FUNCTION(jaccard_distance) {
  const VarBit* const a = PG_GETARG_VARBIT_P(0);
  const VarBit* const b = PG_GETARG_VARBIT_P(1);
  check_same_length(a, b);
  const cairn::core::JaccardParts parts = cairn::core::jaccard_parts(VARBITS(a), VARBITS(b), VARBITBYTES(a));
  if (parts.both == 0) PG_RETURN_FLOAT8(1);
  PG_RETURN_FLOAT8(1 - static_cast<double>(parts.both) / static_cast<double>(parts.a + parts.b - parts.both));
}
