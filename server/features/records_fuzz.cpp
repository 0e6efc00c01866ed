// needs: base/error.cpp base/json.cpp base/bytes.cpp
// needs: features/csv.cpp features/copy_binary.cpp features/types.cpp

// Whatever a file of rows holds, and however it is cut into pieces: it is refused with an Error, or read the same; CSV
// that is written of it is read as what it was; and a field is refused, or becomes one element of an array.
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/fuzz.h"
#include "features/records.h"
#include "features/types.h"

namespace {

using namespace cairn;
using namespace cairn::features;

class Pieces : public http::BodyStream {
 public:
  Pieces(std::string_view text, size_t size) : text_(text), size_(size) {}
  task<std::optional<std::string>> next() override {
    if (text_.empty()) co_return std::nullopt;
    std::string piece(text_.substr(0, size_));
    text_.remove_prefix(piece.size());
    co_return piece;
  }

 private:
  std::string_view text_;
  size_t size_;
};

// Nothing that it awaits waits.
const Record* next(RecordReader& reader) {
  task<const Record*> reading = reader.next();
  reading.await_suspend(std::noop_coroutine()).resume();
  return reading.await_resume();
}

struct Result {
  std::vector<std::vector<std::optional<std::string>>> records;
  std::string error;
  bool operator==(const Result&) const = default;
};

template <class Reader>
Result read(std::string_view text, size_t piece) {
  Result result;
  Reader reader(std::make_unique<Pieces>(text, piece));
  try {
    while (const Record* record = next(reader)) result.records.emplace_back(record->begin(), record->end());
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue);
    result.error = error.what();
  }
  return result;
}

// An element of the text form of an array: NULL, plain, or in quotes of which those inside are escaped.
void require_element(std::string_view element) {
  fuzz::require(!element.empty());
  if (element.front() != '"') {
    fuzz::require(element.find_first_of("{},\"\\ \n") == element.npos);
    return;
  }
  size_t i = 1;
  for (; i < element.size() && element[i] != '"'; ++i) i += element[i] == '\\';
  fuzz::require(i + 1 == element.size());
}

void try_field(std::string_view bytes) {
  for (const std::string_view name : type_names()) {
    const ValueType type = value_type(name);
    for (const auto convert : {array_element_of_text, array_element_of_binary}) {
      try {
        require_element(convert(type, bytes));
      } catch (const Error& error) {
        fuzz::require(error.code() == ErrorCode::kInvalidParameterValue);
        fuzz::require(simdjson::validate_utf8(std::string_view(error.what())));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 7;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Result csv = read<CsvReader>(text, text.size() + 1);
  fuzz::require(csv == read<CsvReader>(text, piece));
  fuzz::require(read<BinaryReader>(text, text.size() + 1) == read<BinaryReader>(text, piece));
  std::string written;
  for (const auto& record : csv.records) {
    for (size_t i = 0; i < record.size(); ++i) {
      written += i > 0 ? "," : "";
      if (record[i]) written += csv_field(*record[i]);
    }
    written += '\n';
  }
  fuzz::require(read<CsvReader>(written, 5).records == csv.records);
  if (text.size() < 256) try_field(text);
  return 0;
}
