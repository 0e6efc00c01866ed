#include "search/lsa.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace cairn::search {
namespace {

using Words = std::vector<std::string>;

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0;
  for (size_t i = 0; i < a.size(); ++i) product += double{a[i]} * b[i];
  return product;
}

// Texts of two subjects whose words occur together, and never with the other's.
std::vector<std::string> texts_of_two_subjects(int count) {
  const std::vector<Words> subjects = {{"engine", "wheel", "driver", "road", "car", "automobile", "fuel", "brake"},
                                       {"flour", "oven", "dough", "bread", "yeast", "crust", "loaf", "baker"}};
  std::mt19937 random(7);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (int word = 0; word < 6; ++word) text += subjects[size_t(i % 2)][random() % 8] + " the ";
    texts.push_back(text);
  }
  return texts;
}

TEST(WordsTest, are_lower_case_letters_and_digits_of_any_script) {
  EXPECT_EQ(words_of("Hello, WORLD_42! naïve ÉTÉ Привет"), (Words{"hello", "world", "42", "naïve", "été", "привет"}));
  EXPECT_EQ(words_of(""), Words{});
  EXPECT_EQ(words_of(" \n--- "), Words{});
}

TEST(WordsTest, of_ideographs_are_pairs) { EXPECT_EQ(words_of("数据库 db 我"), (Words{"数据", "据库", "db", "我"})); }

TEST(WordsTest, are_divided_by_what_is_no_utf8) {
  EXPECT_EQ(words_of("ab\xff"
                     "cd\xc3"
                     "ef\xe4\xb8"),
            (Words{"ab", "cd", "ef"}));
  EXPECT_EQ(words_of("\xc0\xaf\xed"
                     "x\xf4\x9f\xbf\xbf"
                     "y"),
            (Words{"x", "y"}));
}

TEST(WordsTest, leave_out_what_is_too_long_for_one) { EXPECT_EQ(words_of(std::string(1000, 'a') + " b"), Words{"b"}); }

TEST(LsaTest, is_the_same_for_the_same_texts) {
  const auto texts = texts_of_two_subjects(60);
  EXPECT_EQ(train_lsa(texts, "english"), train_lsa(texts, "english"));
}

TEST(LsaTest, puts_texts_of_a_subject_near_although_they_share_no_word) {
  const LsaModel model(train_lsa(texts_of_two_subjects(200), "english"));
  const auto car = model.embed("car engine");
  EXPECT_GT(cosine(car, model.embed("an automobile and its driver")), 0.4);
  EXPECT_LT(cosine(car, model.embed("a loaf and its crust")), 0.2);
  EXPECT_GT(cosine(car, model.embed("engines of cars")), 0.9) << "words are stemmed";
}

TEST(LsaTest, has_a_place_for_words_that_it_never_saw) {
  const LsaModel model(train_lsa(texts_of_two_subjects(60), "english"));
  EXPECT_NEAR(cosine(model.embed("quux zork"), model.embed("zork quux")), 1, 1e-5);
  EXPECT_GT(cosine(model.embed("quux zork"), model.embed("zork")), 0.5);
  EXPECT_LT(std::abs(cosine(model.embed("quux"), model.embed("zork"))), 0.5);
}

TEST(LsaTest, trained_on_nothing_knows_equal_words_all_the_same) {
  const LsaModel model(train_lsa({}, "simple"));
  EXPECT_GT(cosine(model.embed("how to bake bread"), model.embed("bread: how we bake it")),
            cosine(model.embed("how to bake bread"), model.embed("a car on the road")));
}

TEST(LsaTest, gives_every_text_a_vector_of_length_one) {
  std::mt19937 random(3);
  std::vector<std::string> texts = texts_of_two_subjects(40);
  std::vector<std::string> hostile = {
      "", " ", std::string(1, '\0'), "\xff\xfe", std::string(30'000, 'a'), std::string(100'000, ' '), "a\xe4\xb8"};
  for (int i = 0; i < 300; ++i) {
    std::string& text = hostile.emplace_back();
    for (size_t length = random() % 200; length > 0; --length) text += static_cast<char>(random());
  }
  std::string huge;
  while (huge.size() < 200'000) huge += "word" + std::to_string(random() % 50'000) + " ";
  hostile.push_back(huge);
  texts.insert(texts.end(), hostile.begin(), hostile.end());
  for (const std::string& bytes :
       {train_lsa(texts, "english"), train_lsa({}, "english"), train_lsa(hostile, "no such")}) {
    const LsaModel model(bytes);
    for (const std::string& text : texts) {
      const auto vector = model.embed(text);
      ASSERT_EQ(vector.size(), size_t(kLsaDimension));
      ASSERT_NEAR(cosine(vector, vector), 1, 1e-4) << text.substr(0, 40);
      ASSERT_EQ(vector, model.embed(text));
    }
  }
}

// A model of few texts has fewer directions than dimensions.
TEST(LsaTest, is_trained_on_any_number_of_texts) {
  for (int count = 0; count < 8; ++count) {
    const LsaModel model(train_lsa(texts_of_two_subjects(count), "english"));
    EXPECT_NEAR(cosine(model.embed("bread"), model.embed("bread")), 1, 1e-4) << count;
  }
}

TEST(LsaTest, tells_of_a_model_that_is_damaged) {
  const std::string bytes = train_lsa(texts_of_two_subjects(20), "english");
  EXPECT_THROW(LsaModel{""}, Error);
  EXPECT_THROW(LsaModel{"cairn-lsa-2\n" + bytes.substr(12)}, Error);
  EXPECT_THROW(LsaModel{bytes + "x"}, Error);
  for (size_t length = 0; length < bytes.size(); length += 7) EXPECT_THROW(LsaModel{bytes.substr(0, length)}, Error);
}

}  // namespace
}  // namespace cairn::search
