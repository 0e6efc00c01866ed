#include "base/table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace cairn {
namespace {

std::string table(const std::vector<std::vector<std::string>>& rows, size_t most = 48) {
  std::ostringstream out;
  print_table(out, rows, most);
  return out.str();
}

TEST(Table, AlignsByCharactersNotBytes) {
  EXPECT_EQ(table({{"name", "value"}, {"ü", "1"}, {"longer name", "2"}}),
            "name         value\nü            1\nlonger name  2\n");
}

TEST(Table, CutsLongCellsAtACharacter) {
  EXPECT_EQ(table({{"äöüß!", "x"}}, 4), "äöü…  x\n");
  EXPECT_EQ(table({{"äöüß", "x"}}, 4), "äöüß  x\n");
}

TEST(Table, KeepsARowOnItsLine) { EXPECT_EQ(table({{"a\nb\x1b[31m", "c"}}), "a b [31m  c\n"); }

TEST(OneLine, HoldsNothingThatSteersTheTerminal) {
  EXPECT_EQ(on_one_line(" SELECT\n\t1\x1b[31m, 'ä'"), "SELECT 1 [31m, 'ä'");
}

}  // namespace
}  // namespace cairn
