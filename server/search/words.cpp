#include <locale.h>
#include <wctype.h>

#include <algorithm>

#include "search/lsa.h"

namespace cairn::search {
namespace {

// Longer ones are no words, but a key or a picture in base64.
constexpr size_t kMaxWord = 64;

// The code point at the text's beginning, which it removes; 0 for a byte that begins none.
char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                        : (lead & 0xF0) == 0xE0       ? 3
                        : lead < 0xF5                 ? 4
                                                      : 0;
  if (lead >= 0x80 && (lead < 0xC2 || length == 0 || text.size() < length)) {
    text.remove_prefix(1);
    return 0;
  }
  char32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      text.remove_prefix(i);
      return 0;
    }
    point = point << 6 | (byte(i) & 0x3Fu);
  }
  text.remove_prefix(length);
  return point;
}

void append_utf8(std::string& out, char32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    out += static_cast<char>(0x80 | (point >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

// Scripts that put no spaces between words.
bool is_ideograph(char32_t point) {
  return (point >= 0x3040 && point < 0x3100) || (point >= 0x3400 && point < 0xA000) ||
         (point >= 0xAC00 && point < 0xD7B0) || (point >= 0xF900 && point < 0xFB00) ||
         (point >= 0x20000 && point < 0x32000);
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  static const locale_t kUnicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::vector<std::string> words;
  std::string word;
  char32_t before = 0;  // an ideograph that has had no pair yet, or has had one with what stood before it
  bool alone = false;
  const auto end_word = [&] {
    if (!word.empty() && word.size() <= kMaxWord) words.push_back(word);
    word.clear();
  };
  const auto end_pair = [&] {
    if (alone) append_utf8(words.emplace_back(), before);
    before = 0;
    alone = false;
  };
  while (!text.empty()) {
    const char32_t point = take_code_point(text);
    if (is_ideograph(point)) {
      end_word();
      if (before != 0) {
        append_utf8(words.emplace_back(), before);
        append_utf8(words.back(), point);
      }
      alone = before == 0;
      before = point;
      continue;
    }
    end_pair();
    const bool ascii = point < 0x80;
    const bool letter = ascii ? (point >= '0' && point <= '9') || ((point | 0x20) >= 'a' && (point | 0x20) <= 'z')
                              : iswalnum_l(static_cast<wint_t>(point), kUnicode) != 0;
    if (!letter) {
      end_word();
    } else if (word.size() <= kMaxWord) {
      append_utf8(word, ascii ? (point >= 'A' && point <= 'Z' ? point | 0x20 : point)
                              : static_cast<char32_t>(towlower_l(static_cast<wint_t>(point), kUnicode)));
    }
  }
  end_word();
  end_pair();
  return words;
}

}  // namespace cairn::search
