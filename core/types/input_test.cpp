// Reading vectors: the numbers are strtof's, each mistake is told as the one that it is, and limits are kept.
#include "types/input.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "types/byte_order.h"
#include "types/number.h"

namespace cairn::core {
namespace {

struct Read {
  InputResult result;
  std::vector<float> values;
  std::vector<int32_t> indices;
};

Read vector_of(const std::string& text) {
  Read read;
  read.values.resize(kVectorMaxDims);
  read.result = parse_vector(text.c_str(), read.values.data());
  read.values.resize(static_cast<size_t>(read.result.dims));
  return read;
}

Read sparse_of(const std::string& text) {
  Read read;
  read.values.resize(kSparseMaxElements);
  read.indices.resize(kSparseMaxElements);
  read.result = parse_sparsevec(text.c_str(), read.indices.data(), read.values.data());
  read.values.resize(static_cast<size_t>(read.result.elements));
  read.indices.resize(static_cast<size_t>(read.result.elements));
  return read;
}

InputError error_of_vector(const std::string& text) { return vector_of(text).result.error; }
InputError error_of_sparse(const std::string& text) { return sparse_of(text).result.error; }

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; i++) all += text;
  return all;
}

void expect_as_strtof(const std::string& text) {
  const Number number = parse_number(text.c_str(), text.c_str() + text.size());
  char* end = nullptr;
  errno = 0;
  const float expected = std::strtof(text.c_str(), &end);
  EXPECT_EQ(number.end, end) << text;
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(number.value)) << text;
  } else {
    EXPECT_EQ(std::bit_cast<uint32_t>(number.value), std::bit_cast<uint32_t>(expected)) << text;
  }
  EXPECT_EQ(number.out_of_range, errno == ERANGE && (expected == 0 || std::isinf(expected))) << text;
}

TEST(Number, IsStrtofs) {
  std::istringstream texts(
      "0 0, 0] -0 +0 00 0.0 1 +1 -1 ++1 +-1 - + . -. .5 5. 1.e2 1e 1e+ 1e- 1e5x 0x 0x10 0X1P3 -0x.8p1 0x1p-160 0x1p200 "
      "1_000 inf -INF infinity infinit nan -nan nan( nan(12) NAN(a_b)x 1e38 3.4028235e38 3.40282356e38 3.40282357e38 "
      "1e39 -1e39 1e400 1e-37 1.17549435e-38 1.1754942e-38 1e-45 7.1e-46 7e-46 1e-46 -1e-400 0e-400 0.000e5000 "
      "1e99999999999999999999 1e-99999999999999999999 1.00000005960464477539062500001 16777217 x e5");
  for (std::string text; texts >> text;) {
    expect_as_strtof(text);
    expect_as_strtof(text + ",7");
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; i++) {
    const auto value = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(random())));
    char text[64];
    const char* formats[] = {"%.9g", "%g", "%.17g", "%a", "%f", "%.3e"};
    snprintf(text, sizeof(text), formats[i % 6], value);
    expect_as_strtof(text);
  }
}

TEST(VectorText, SpacesAreLeftOut) {
  EXPECT_EQ(vector_of("\t[ 1 ,\n-2.5\v,\f3e2\r] ").values, (std::vector<float>{1, -2.5, 300}));
}

TEST(VectorText, MistakesAreTold) {
  for (const char* text :
       {"[", "[,", "[1", "[1,", "[1,]", "[1,,2]", "[1 2]", "[1;2]", "[a]", "[[1]]", "[+ 1]", "[0x]"}) {
    EXPECT_EQ(error_of_vector(text), InputError::kSyntax) << text;
  }
  for (const char* text : {"", " ", "1", "{1}", "]"}) EXPECT_EQ(error_of_vector(text), InputError::kNoOpening) << text;
  for (const char* text : {"[1]x", "[1] 2", "[1]]"}) EXPECT_EQ(error_of_vector(text), InputError::kJunkAfter) << text;
  for (const char* text : {"[]", "[ ]", "[]x"}) EXPECT_EQ(error_of_vector(text), InputError::kNoDims) << text;
  EXPECT_EQ(error_of_vector("[nan"), InputError::kNaN);
  EXPECT_EQ(error_of_vector("[1,-inf"), InputError::kInfinite);
  const std::string text = "[1, 4e38x";
  const InputResult result = vector_of(text).result;
  EXPECT_EQ(result.error, InputError::kOutOfRange);
  std::vector<float> values(kVectorMaxDims);
  const InputResult refused = parse_vector(text.c_str(), values.data());
  EXPECT_EQ(std::string(refused.at, refused.length), "4e38");
}

TEST(VectorText, HasAtMost16000Dims) {
  EXPECT_EQ(vector_of("[" + repeated("1,", 15999) + "2]").result.dims, 16000);
  EXPECT_EQ(error_of_vector("[" + repeated("1,", 16000) + "2]"), InputError::kTooManyDims);
}

TEST(HalfvecText, EndsAt65520) {
  uint16_t value[kVectorMaxDims];
  EXPECT_EQ(parse_halfvec("[65519]", value).error, InputError::kNone);
  EXPECT_EQ(value[0], 0x7BFF);
  EXPECT_EQ(parse_halfvec("[-65520]", value).error, InputError::kOutOfRange);
  EXPECT_EQ(parse_halfvec("[1e39]", value).error, InputError::kOutOfRange);
  EXPECT_EQ(parse_halfvec("[inf]", value).error, InputError::kInfinite);
  EXPECT_EQ(parse_halfvec("[1e-50]", value).error, InputError::kNone);
}

TEST(SparsevecText, IsOrderedAndZerosAreLeftOut) {
  const Read read = sparse_of(" { 3 : 1.5 ,\t1 : 0, 9:-2} / 10 ");
  EXPECT_EQ(read.result.dims, 10);
  EXPECT_EQ(read.indices, (std::vector<int32_t>{2, 8}));
  EXPECT_EQ(read.values, (std::vector<float>{1.5, -2}));
  EXPECT_EQ(sparse_of("{}/1000000000").result.error, InputError::kNone);
  EXPECT_EQ(sparse_of("{0:0,99:0}/3").result.elements, 0);
}

TEST(SparsevecText, MistakesAreTold) {
  for (const char* text : {"{", "{,", "{1", "{1:", "{1:1", "{1:1,", "{1:1,}/3", "{:1}/3", "{1.5:1}/3", "{1:a}/3",
                           "{1 1:1}/3", "{}/", "{}/x"}) {
    EXPECT_EQ(error_of_sparse(text), InputError::kSyntax) << text;
  }
  for (const char* text : {"", "[1]", "1:1}/3"}) EXPECT_EQ(error_of_sparse(text), InputError::kNoOpening) << text;
  for (const char* text : {"{}", "{1:1}3", "{1:1}}/3"})
    EXPECT_EQ(error_of_sparse(text), InputError::kUnexpectedEnd) << text;
  for (const char* text : {"{}/3x", "{9:1}/3 4"}) EXPECT_EQ(error_of_sparse(text), InputError::kJunkAfter) << text;
  for (const char* text : {"{}/0", "{}/-1"}) EXPECT_EQ(error_of_sparse(text), InputError::kNoDims) << text;
  for (const char* text : {"{0:1}/3", "{4:1}/3", "{-1:1}/3", "{99999999999999999999:1}/3", "{4294967297:1}/3"}) {
    EXPECT_EQ(error_of_sparse(text), InputError::kIndexOutOfBounds) << text;
  }
  EXPECT_EQ(error_of_sparse("{}/1000000001"), InputError::kTooManyDims);
  EXPECT_EQ(error_of_sparse("{}/4294967297"), InputError::kTooManyDims);
  EXPECT_EQ(error_of_sparse("{2:1,1:1,2:1}/3"), InputError::kDuplicateIndex);
  EXPECT_EQ(error_of_sparse("{1:1e-50}/3"), InputError::kOutOfRange);
  EXPECT_EQ(error_of_sparse("{1:1e39}/3"), InputError::kOutOfRange);
  EXPECT_EQ(error_of_sparse("{1:nan"), InputError::kNaN);
  EXPECT_EQ(error_of_sparse(repeated(",", 15999)), InputError::kNoOpening);
  EXPECT_EQ(error_of_sparse(repeated(",", 16000)), InputError::kTooManyElements);
}

class Message {
 public:
  template <typename T>
  Message& operator<<(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    store_network(value, bytes_.data() + bytes_.size() - sizeof(T));
    return *this;
  }
  InputError vector_error(int expected_dims = -1) const {
    const InputResult header = read_vector_header(bytes_.data(), bytes_.size(), expected_dims);
    if (header.error != InputError::kNone) return header.error;
    std::vector<float> values(static_cast<size_t>(header.dims));
    return read_vector_elements(header, bytes_.data(), bytes_.size(), values.data()).error;
  }
  InputError sparse_error(int expected_dims = -1) const {
    const InputResult header = read_sparsevec_header(bytes_.data(), bytes_.size(), expected_dims);
    if (header.error != InputError::kNone) return header.error;
    std::vector<int32_t> indices(static_cast<size_t>(header.elements));
    std::vector<float> values(static_cast<size_t>(header.elements));
    return read_sparsevec_elements(header, bytes_.data(), bytes_.size(), indices.data(), values.data()).error;
  }

 private:
  std::vector<uint8_t> bytes_;
};
Message vector_message(int dims, int unused) {
  return Message() << static_cast<int16_t>(dims) << static_cast<int16_t>(unused);
}
Message sparse_message(int dims, int elements, int unused) { return Message() << dims << elements << unused; }

TEST(VectorBinary, MistakesAreTold) {
  EXPECT_EQ((vector_message(2, 0) << 1.0F << 2.0F).vector_error(2), InputError::kNone);
  EXPECT_EQ(Message().vector_error(), InputError::kCutOff);
  EXPECT_EQ((vector_message(2, 0) << 1.0F << int16_t{0}).vector_error(), InputError::kCutOff);
  EXPECT_EQ(vector_message(0, 1).vector_error(3), InputError::kNoDims);
  EXPECT_EQ(vector_message(-1, 1).vector_error(3), InputError::kNoDims);
  EXPECT_EQ(vector_message(16001, 1).vector_error(3), InputError::kTooManyDims);
  EXPECT_EQ(vector_message(2, 1).vector_error(3), InputError::kUnexpectedDims);
  EXPECT_EQ(vector_message(2, 1).vector_error(2), InputError::kUnusedNotZero);
  EXPECT_EQ((vector_message(2, 0) << NAN).vector_error(), InputError::kNaN);
  EXPECT_EQ((vector_message(2, 0) << -INFINITY).vector_error(), InputError::kInfinite);
}

TEST(SparsevecBinary, MistakesAreTold) {
  EXPECT_EQ((sparse_message(5, 2, 0) << 0 << 4 << 1.0F << 2.0F).sparse_error(5), InputError::kNone);
  EXPECT_EQ(Message().sparse_error(), InputError::kCutOff);
  EXPECT_EQ(sparse_message(0, -1, 1).sparse_error(3), InputError::kNoDims);
  EXPECT_EQ(sparse_message(1000000001, -1, 1).sparse_error(3), InputError::kTooManyDims);
  EXPECT_EQ(sparse_message(5, -1, 1).sparse_error(3), InputError::kNegativeElements);
  EXPECT_EQ(sparse_message(5, 16001, 1).sparse_error(3), InputError::kTooManyElements);
  EXPECT_EQ(sparse_message(5, 6, 1).sparse_error(3), InputError::kMoreElementsThanDims);
  EXPECT_EQ(sparse_message(5, 5, 1).sparse_error(3), InputError::kUnexpectedDims);
  EXPECT_EQ(sparse_message(5, 5, 1).sparse_error(5), InputError::kUnusedNotZero);
  EXPECT_EQ((sparse_message(5, 2, 0) << 5).sparse_error(), InputError::kIndexOutOfBounds);
  EXPECT_EQ((sparse_message(5, 2, 0) << -1).sparse_error(), InputError::kIndexOutOfBounds);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2 << 1).sparse_error(), InputError::kIndexOrder);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2 << 2).sparse_error(), InputError::kDuplicateIndex);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2).sparse_error(), InputError::kCutOff);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2 << 3 << 1.0F).sparse_error(), InputError::kCutOff);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2 << 3 << -0.0F).sparse_error(), InputError::kZeroValue);
  EXPECT_EQ((sparse_message(5, 2, 0) << 2 << 3 << NAN).sparse_error(), InputError::kNaN);
}

}  // namespace
}  // namespace cairn::core
