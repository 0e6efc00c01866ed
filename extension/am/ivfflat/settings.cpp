#include "am/ivfflat/settings.h"

#include "am/ivfflat/page.h"

namespace cairn::ivfflat {
namespace {

relopt_kind option_kind;

const config_enum_entry kIterativeScans[] = {
    {"off", kIterativeScanOff, false}, {"relaxed_order", kIterativeScanRelaxed, false}, {nullptr, 0, false}};

}  // namespace

int probes = 1;
int iterative_scan = kIterativeScanOff;
int max_probes = kListsMax;

int lists_of(Relation index) {
  const auto* options = reinterpret_cast<const Options*>(index->rd_options);
  return options != nullptr ? options->lists : kListsDefault;
}

bytea* parse_options(Datum options, bool validate) {
  static const relopt_parse_elt table[] = {{"lists", RELOPT_TYPE_INT, offsetof(Options, lists)}};
  return static_cast<bytea*>(build_reloptions(options, validate, option_kind, sizeof(Options), table, lengthof(table)));
}

void init_settings() {
  option_kind = add_reloption_kind();
  add_int_reloption(option_kind, "lists", "Number of inverted lists", kListsDefault, kListsMin, kListsMax,
                    AccessExclusiveLock);
  DefineCustomIntVariable("ivfflat.probes", "Sets the number of probes", "Valid range is 1..lists.", &probes, 1,
                          kListsMin, kListsMax, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("ivfflat.iterative_scan", "Sets the mode for iterative scans", nullptr, &iterative_scan,
                           kIterativeScanOff, kIterativeScans, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("ivfflat.max_probes", "Sets the max number of probes for iterative scans", nullptr,
                          &max_probes, kListsMax, kListsMin, kListsMax, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("ivfflat");
}

}  // namespace cairn::ivfflat
