// What a stream in pieces of any size is read as.
#include "features/records.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/reactor.h"

namespace cairn::features {
namespace {

class Pieces : public http::BodyStream {
 public:
  Pieces(std::string text, size_t size) : text_(std::move(text)), size_(size) {}
  task<std::optional<std::string>> next() override {
    if (at_ >= text_.size()) co_return std::nullopt;
    const size_t begin = at_;
    at_ += size_;
    co_return text_.substr(begin, size_);
  }

 private:
  std::string text_;
  size_t size_, at_ = 0;
};

// Records as [field|field]; NULL is -.
task<std::string> shown(RecordReader& reader) {
  std::string text;
  while (const Record* record = co_await reader.next()) {
    text += "[";
    for (const auto& field : *record) text += (text.back() == '[' ? "" : "|") + std::string(field.value_or("-"));
    text += "]";
  }
  co_return text;
}

template <class Reader>
std::string read(const std::string& text) {
  Reactor reactor;
  std::optional<std::string> all;
  for (const size_t size : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{1000}}) {
    Reader reader(std::make_unique<Pieces>(text, size));
    std::string got;
    try {
      got = reactor.block_on(shown(reader));
    } catch (const Error& error) {
      got = error.what();
    }
    if (!all) all = got;
    EXPECT_EQ(got, *all) << size;
  }
  return *all;
}

TEST(Csv, IsReadAsRfc4180) {
  EXPECT_EQ(read<CsvReader>("a,b\r\n1,\"x, \"\"y\"\"\n\"\n\n,\"\"\n"), "[a|b][1|x, \"y\"\n][-|]");
  EXPECT_EQ(read<CsvReader>("\xEF\xBB\xBF\"a\",b"), "[a|b]");
  EXPECT_EQ(read<CsvReader>(""), "");
  EXPECT_EQ(read<CsvReader>("a,"), "[a|-]");
}

TEST(Csv, WhatIsNoneIsNamedByItsLine) {
  EXPECT_EQ(read<CsvReader>("a\nb\"c\n"),
            "line 2: a quote in the middle of a field: quote the whole field, and double the quotes in it");
  EXPECT_EQ(read<CsvReader>("a\n\"b\n\n"), "line 2: a quote is opened and never closed");
  EXPECT_EQ(read<CsvReader>("\"a\n\",1\n\"b\"c\n"),
            "line 3: a comma or the line's end is expected behind a quoted field");
  EXPECT_EQ(read<CsvReader>("a\n\xff\n"), "line 2: the text is not UTF-8");
  Reactor reactor;
  CsvReader endless(std::make_unique<Pieces>(std::string(3 * kMaxRecord, 'x'), 1 << 20));
  EXPECT_THROW(reactor.block_on(shown(endless)), Error);
}

TEST(CopyBinary, IsReadAsPostgresqlWritesIt) {
  const std::string head("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\2xx", 21);
  const std::string row("\0\2\0\0\0\2ab\xff\xff\xff\xff", 12);
  EXPECT_EQ(read<BinaryReader>(head + row + row + "\xff\xff"), "[ab|-][ab|-]");
  EXPECT_EQ(read<BinaryReader>(head + row), "the file ends in the middle of row 2");
  EXPECT_EQ(read<BinaryReader>(head + row + std::string("\0\1\x7f\0\0\0", 6)),
            "row 2: a field of 2130706432 bytes; at most 4194304 are read");
  EXPECT_EQ(read<BinaryReader>("a,b\n"), "the file is none of COPY's binary format: its signature is missing");
}

}  // namespace
}  // namespace cairn::features
