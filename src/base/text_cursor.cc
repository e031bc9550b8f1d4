#include "base/text_cursor.h"

#include <algorithm>
#include <cctype>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::string_view blanks = " \t\r";

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

bool continues_a_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// A line of a hostile descriptor may be megabytes long; a message shows what fits a screen round the place.
constexpr std::size_t shown_before = 60;
constexpr std::size_t shown_after = 100;

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && starts_with_ignoring_case(a, b);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(),
                                                      [](char a, char b) { return lower(a) == lower(b); });
}

bool LessIgnoringCase::operator()(std::string_view a, std::string_view b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](char x, char y) { return lower(x) < lower(y); });
}

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string masked(std::string_view text) {
    std::string masked_text(text);
    for (std::size_t i = 0; i < masked_text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(masked_text[i]);
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) masked_text[i] = '?';
        // U+0080 to U+009F are control characters too: 0xc2 and one of 0x80 to 0x9f.
        const bool is_c1 = byte >= 0x80 && byte < 0xa0 && i > 0 && masked_text[i - 1] == '\xc2';
        if (is_c1) masked_text.replace(i - 1, 2, "??");
    }
    return masked_text;
}

std::string printable(std::string_view text) {
    return text.size() <= 100 ? masked(text) : masked(text.substr(0, 100)) + "...";
}

TextPosition TextCursor::position() const {
    const std::string_view before = line_.substr(0, offset_);
    const auto inner = std::count_if(before.begin(), before.end(), continues_a_character);
    return {line_number_, before.size() - static_cast<std::size_t>(inner) + 1};
}

TextCursor& TextCursor::skip_blanks() {
    offset_ = std::min(line_.find_first_not_of(blanks, offset_), line_.size());
    return *this;
}

TextCursor TextCursor::advanced(std::size_t count) const {
    TextCursor further = *this;
    further.offset_ = std::min(offset_ + count, line_.size());
    return further;
}

std::string_view TextCursor::take_word() {
    const std::size_t end = std::min(line_.find_first_of(blanks, offset_), line_.size());
    const std::string_view word = line_.substr(offset_, end - offset_);
    offset_ = end;
    skip_blanks();
    return word;
}

std::optional<std::string_view> TextCursor::take_quoted() {
    const std::size_t close = line_.find('"', offset_ + 1);
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view quoted = line_.substr(offset_ + 1, close - offset_ - 1);
    offset_ = close + 1;
    skip_blanks();
    return quoted;
}

void TextCursor::fail(const std::string& message) const {
    const std::size_t from = offset_ > shown_before ? offset_ - shown_before : 0;
    const std::string_view before = line_.substr(from, offset_ - from);
    std::string indent;
    for (const char c : before)
        if (!continues_a_character(c)) indent += c == '\t' ? '\t' : ' ';
    const TextPosition at = position();
    throw TextError(concat(*file_name_, ":", at.line, ":", at.column, ": ", message, "\n", masked(before),
                           masked(line_.substr(offset_, shown_after)), "\n", indent, "^"));
}

}  // namespace vmdkdm
