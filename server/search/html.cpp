// The text of HTML, in one pass over its bytes: tags are told from text as browsers do, but no tree is built, so that
// neither depth nor the number of attributes costs anything.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string>
#include <string_view>

namespace cairn::search {

std::string html_text(std::string_view html, std::string& title);

namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
bool is_letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }

const std::map<std::string_view, char32_t> kNamed = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},       {"quot", '"'},     {"apos", '\''},     {"nbsp", ' '},
    {"copy", 0xa9},    {"reg", 0xae},     {"trade", 0x2122}, {"deg", 0xb0},     {"plusmn", 0xb1},   {"micro", 0xb5},
    {"middot", 0xb7},  {"times", 0xd7},   {"divide", 0xf7},  {"frac12", 0xbd},  {"sect", 0xa7},     {"para", 0xb6},
    {"laquo", 0xab},   {"raquo", 0xbb},   {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"ldquo", 0x201c},  {"rdquo", 0x201d},
    {"sbquo", 0x201a}, {"bdquo", 0x201e}, {"ndash", 0x2013}, {"mdash", 0x2014}, {"hellip", 0x2026}, {"bull", 0x2022},
    {"euro", 0x20ac},  {"pound", 0xa3},   {"yen", 0xa5},     {"cent", 0xa2},    {"larr", 0x2190},   {"rarr", 0x2192},
    {"le", 0x2264},    {"ge", 0x2265},    {"ne", 0x2260},    {"minus", 0x2212}, {"infin", 0x221e},  {"sum", 0x2211},
    {"alpha", 0x3b1},  {"beta", 0x3b2},   {"gamma", 0x3b3},  {"delta", 0x3b4},  {"lambda", 0x3bb},  {"mu", 0x3bc},
    {"pi", 0x3c0},     {"sigma", 0x3c3},  {"omega", 0x3c9},  {"Auml", 0xc4},    {"Ouml", 0xd6},     {"Uuml", 0xdc},
    {"auml", 0xe4},    {"ouml", 0xf6},    {"uuml", 0xfc},    {"szlig", 0xdf},   {"agrave", 0xe0},   {"aacute", 0xe1},
    {"acirc", 0xe2},   {"atilde", 0xe3},  {"aring", 0xe5},   {"aelig", 0xe6},   {"ccedil", 0xe7},   {"egrave", 0xe8},
    {"eacute", 0xe9},  {"ecirc", 0xea},   {"euml", 0xeb},    {"igrave", 0xec},  {"iacute", 0xed},   {"icirc", 0xee},
    {"iuml", 0xef},    {"ntilde", 0xf1},  {"ograve", 0xf2},  {"oacute", 0xf3},  {"ocirc", 0xf4},    {"otilde", 0xf5},
    {"oslash", 0xf8},  {"ugrave", 0xf9},  {"uacute", 0xfa},  {"ucirc", 0xfb},   {"yacute", 0xfd},   {"yuml", 0xff},
    {"Agrave", 0xc0},  {"Aacute", 0xc1},  {"Acirc", 0xc2},   {"Aring", 0xc5},   {"AElig", 0xc6},    {"Ccedil", 0xc7},
    {"Egrave", 0xc8},  {"Eacute", 0xc9},  {"Ecirc", 0xca},   {"Ntilde", 0xd1},  {"Oslash", 0xd8},   {"shy", 0}};

constexpr std::array kInline = {"a",    "abbr", "b",  "bdi",  "bdo",   "big",  "cite",   "code",   "data",
                                "del",  "dfn",  "em", "font", "i",     "img",  "ins",    "kbd",    "label",
                                "mark", "q",    "s",  "samp", "small", "span", "strong", "strike", "sub",
                                "sup",  "time", "tt", "u",    "var",   "wbr"};
constexpr std::array kHidden = {"script", "style", "template", "iframe", "noembed", "noframes", "xmp"};

void put(char32_t c, std::string& out) {
  if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return;
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += {char(0xc0 | c >> 6), char(0x80 | (c & 0x3f))};
  } else if (c < 0x10000) {
    out += {char(0xe0 | c >> 12), char(0x80 | (c >> 6 & 0x3f)), char(0x80 | (c & 0x3f))};
  } else {
    out += {char(0xf0 | c >> 18), char(0x80 | (c >> 12 & 0x3f)), char(0x80 | (c >> 6 & 0x3f)), char(0x80 | (c & 0x3f))};
  }
}

class Reader {
 public:
  explicit Reader(std::string_view html) : html_(html) {}

  std::string read(std::string& title) {
    while (at_ < html_.size()) {
      if (html_[at_] == '<')
        markup(title);
      else
        character(out_);
    }
    while (!out_.empty() && is_space(out_.back())) out_.pop_back();
    return std::move(out_);
  }

 private:
  char peek(size_t ahead) const { return at_ + ahead < html_.size() ? html_[at_ + ahead] : '\0'; }

  void skip_behind(std::string_view mark) {
    const size_t found = html_.find(mark, at_);
    at_ = found == html_.npos ? html_.size() : found + mark.size();
  }

  // A text's character; white space becomes one space, outside of <pre>.
  void character(std::string& out) {
    const char c = html_[at_];
    if (c == '&') return reference(out);
    ++at_;
    if (!is_space(c) || preformatted_ > 0)
      out += c;
    else if (!out.empty() && !is_space(out.back()))
      out += ' ';
  }

  void reference(std::string& out) {
    const size_t length = html_.substr(at_, 12).find(';');
    const size_t end = at_ + length;
    const std::string_view name = length == html_.npos ? "" : html_.substr(at_ + 1, length - 1);
    if (name.starts_with('#')) {
      const bool hex = name.size() > 1 && lower(name[1]) == 'x';
      uint32_t number = 0;
      const auto digits = name.substr(hex ? 2 : 1);
      const auto [read, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, hex ? 16 : 10);
      if (error == std::errc() && read == digits.data() + digits.size()) {
        put(number, out);
        at_ = end + 1;
        return;
      }
    } else if (const auto known = kNamed.find(name); known != kNamed.end()) {
      put(known->second, out);
      at_ = end + 1;
      return;
    }
    out += html_[at_++];
  }

  void markup(std::string& title) {
    if (html_.substr(at_, 4) == "<!--") return at_ += 4, skip_behind("-->");
    if (peek(1) == '!' || peek(1) == '?') return skip_behind(">");
    const bool closing = peek(1) == '/';
    if (!is_letter(peek(closing ? 2 : 1))) {
      out_ += html_[at_++];
      return;
    }
    at_ += closing ? 2 : 1;
    std::string name;
    while (at_ < html_.size() && !is_space(html_[at_]) && html_[at_] != '>' && html_[at_] != '/') {
      if (name.size() < 16) name += lower(html_[at_]);
      ++at_;
    }
    skip_attributes();
    tag(name, closing, title);
  }

  // A > in a quoted value does not end the tag.
  void skip_attributes() {
    while (at_ < html_.size() && html_[at_] != '>') {
      if (html_[at_++] != '=') continue;
      while (at_ < html_.size() && is_space(html_[at_])) ++at_;
      if (const char quote = peek(0); quote == '"' || quote == '\'') {
        ++at_;
        skip_behind(std::string_view(&quote, 1));
      }
    }
    at_ = std::min(at_ + 1, html_.size());
  }

  void tag(const std::string& name, bool closing, std::string& title) {
    if (!closing && std::ranges::find(kHidden, name) != kHidden.end()) return skip_to_end_of(name, nullptr);
    if (!closing && name == "title") {
      std::string text;
      skip_to_end_of(name, &text);
      while (!text.empty() && is_space(text.back())) text.pop_back();
      if (title.empty()) title = text;
      return;
    }
    if (name == "pre") preformatted_ = std::max(0, preformatted_ + (closing ? -1 : 1));
    if (std::ranges::find(kInline, name) != kInline.end()) return;
    if (name == "td" || name == "th") {
      if (!out_.empty() && !is_space(out_.back())) out_ += ' ';
      return;
    }
    while (!out_.empty() && out_.back() == ' ') out_.pop_back();
    if (!out_.empty() && out_.back() != '\n') out_ += '\n';
  }

  // Behind </name>; what is before it goes to `text`.
  void skip_to_end_of(const std::string& name, std::string* text) {
    while (at_ < html_.size()) {
      if (html_[at_] == '<' && peek(1) == '/' && html_.size() - at_ >= name.size() + 2 &&
          std::ranges::equal(html_.substr(at_ + 2, name.size()), name, {}, lower)) {
        skip_behind(">");
        return;
      }
      if (text != nullptr)
        character(*text);
      else
        ++at_;
    }
  }

  std::string_view html_;
  size_t at_ = 0;
  int preformatted_ = 0;
  std::string out_;
};

}  // namespace

std::string html_text(std::string_view html, std::string& title) { return Reader(html).read(title); }

}  // namespace cairn::search
