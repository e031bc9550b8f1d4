#include "base/text_cursor.h"

#include <algorithm>
#include <cctype>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"

namespace vmdkdm {
namespace {

constexpr std::string_view blanks = " \t\r";

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

bool continues_a_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// A line of a hostile descriptor may be megabytes long; a message shows what fits a screen round the place.
constexpr std::size_t shown_before = 60;
constexpr std::size_t shown_after = 100;

// Of the one that the byte at `at` is a part of, or `at` where a text ends or is no UTF-8.
std::size_t start_of_character(std::string_view text, std::size_t at) {
    std::size_t start = at;
    while (start > 0 && at - start < 3 && start < text.size() && continues_a_character(text[start])) --start;
    return start < text.size() && continues_a_character(text[start]) ? at : start;
}

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

std::string printable(std::string_view text) {
    constexpr std::size_t most = 100;
    return text.size() <= most ? escaped(text)
                               : escaped(text.substr(0, start_of_character(text, most))) + "...";
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
    const std::size_t from = offset_ > shown_before ? start_of_character(line_, offset_ - shown_before) : 0;
    const std::size_t to = start_of_character(line_, std::min(offset_ + shown_after, line_.size()));
    // A line has no line ends; its tabs stay, and are in the indent too.
    const std::string before = escaped_lines(line_.substr(from, offset_ - from));
    std::string indent;
    for (const char c : before)
        if (!continues_a_character(c)) indent += c == '\t' ? '\t' : ' ';
    const TextPosition at = position();
    throw TextError(concat(escaped(*file_name_), ":", at.line, ":", at.column, ": ", escaped(message), "\n",
                           before, escaped_lines(line_.substr(offset_, to - offset_)), "\n", indent, "^"));
}

}  // namespace vmdkdm
