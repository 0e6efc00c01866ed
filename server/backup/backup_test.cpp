#include <gtest/gtest.h>

#include "backup/artifacts.h"
#include "backup/recovery.h"
#include "base/error.h"

namespace cairn::backup {
namespace {

TEST(BackupTime, R32_IsReadWithItsZoneAndRefusedWhenItIsNone) {
  EXPECT_EQ(parse_time_us("1970-01-01 00:00:01"), 1'000'000);
  EXPECT_EQ(parse_time_us("1970-01-01T01:00:00.000001+01"), 1);
  EXPECT_EQ(parse_time_us("1970-01-01 00:00:00-0130"), 5400LL * 1'000'000);
  EXPECT_EQ(parse_time_us("2026-11-22 11:45:10.5Z"), parse_time_us("2026-11-22 13:15:10.500+01:30"));
  for (const char* wrong :
       {"", "yesterday", "2026-11-22", "2026-02-30 00:00", "2026-01-01 25:00:00", "2026-01-01 00:00:00 CET"})
    EXPECT_THROW(parse_time_us(wrong), Error) << wrong;
}

TEST(BackupLsn, R32_IsReadAsPostgresWritesIt) {
  EXPECT_EQ(parse_lsn("0/2000028"), 0x2000028u);
  EXPECT_EQ(parse_lsn("1A/0"), 0x1A00000000u);
  for (const char* wrong : {"", "/", "0/", "/1", "0/xyz", "123", "0/123456789"})
    EXPECT_THROW(parse_lsn(wrong), Error) << wrong;
}

TEST(ArtifactsAtAPoint, R32_NewestNotYoungerAndWithoutWhatWasRemoved) {
  const ArtifactFile old_a{1, 10, "aa"}, new_a{1, 50, "bb"}, b{1, 20, "cc"}, c{1, 90, "dd"};
  ArtifactsAt files(60);
  files.add({{"a", old_a}, {"b", b}}, true);
  files.add({{"a", new_a}}, true);                     // b was removed
  files.add({{"a", {1, 70, "ee"}}, {"c", c}}, false);  // both after the point
  EXPECT_EQ(files.files(), (ArtifactList{{"a", new_a}}));
}

}  // namespace
}  // namespace cairn::backup
