#include "vmdk/descriptor.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <map>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"

namespace vmdkdm {
namespace {

template <class Value>
struct Word {
    std::string_view text;
    Value value;
};

constexpr std::array<Word<Access>, 3> access_words = {{
    {"RW", Access::read_write},
    {"RDONLY", Access::read_only},
    {"NOACCESS", Access::no_access},
}};

constexpr std::array<Word<ExtentType>, 10> type_words = {{
    {"FLAT", ExtentType::flat},
    {"SPARSE", ExtentType::sparse},
    {"ZERO", ExtentType::zero},
    {"VMFS", ExtentType::vmfs},
    {"VMFSSPARSE", ExtentType::vmfs_sparse},
    {"SESPARSE", ExtentType::se_sparse},
    {"VMFSRAW", ExtentType::vmfs_raw},
    {"VMFSRDM", ExtentType::vmfs_rdm},
    {"VSANSPARSE", ExtentType::vsan_sparse},
    {"VMFSPASSTHROUGHRAWDEVICEMAP", ExtentType::vmfs_rdm},
}};

template <class Words>
std::string listed(const Words& words) {
    std::string list;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) list += i + 1 == words.size() ? " or " : ", ";
        list += words[i].text;
    }
    return list;
}

template <class Words>
auto parse_word(TextCursor& cursor, const Words& words, std::string_view what) {
    const TextCursor at = cursor;
    const std::string_view found = cursor.take_word();
    for (const auto& word : words)
        if (equal_ignoring_case(found, word.text)) return word.value;
    if (found.empty()) at.fail(concat("the line ends here (expected ", what, ": ", listed(words), ")"));
    at.fail(concat("unknown ", what, " '", printable(found), "' (expected ", listed(words), ")"));
}

std::uint64_t parse_number(TextCursor& cursor, std::string_view what) {
    const TextCursor at = cursor;
    const std::string_view found = cursor.take_word();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(found.data(), found.data() + found.size(), value);
    if (error == std::errc::result_out_of_range || (error == std::errc() && value > max_capacity.count()))
        at.fail(concat(what, " ", printable(found), " is too large (expected at most ", max_capacity.count(),
                       " sectors)"));
    if (error != std::errc() || end != found.data() + found.size())
        at.fail(found.empty() ? concat("the line ends here (expected ", what, ", a number of sectors)")
                              : concat("'", printable(found), "' is not a number (expected ", what,
                                       ", a decimal number of sectors)"));
    return value;
}

// A name in double quotes. There is no escape for a quote, and a control character in a path has no good use.
std::string parse_file_name(TextCursor& cursor, bool may_be_empty) {
    const TextCursor at = cursor;
    if (cursor.at_end()) at.fail("the line ends here (expected the file name in double quotes)");
    if (cursor.peek() != '"') at.fail("expected the file name in double quotes");
    const std::optional<std::string_view> name = cursor.take_quoted();
    if (!name) at.fail("the file name has no closing quote");
    if (name->empty() && !may_be_empty) at.fail("the file name is empty");
    for (const char c : *name)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            at.fail("the file name holds a control character");
    return std::string(*name);
}

ExtentDescriptor parse_extent(TextCursor cursor, bool is_embedding) {
    ExtentDescriptor extent;
    extent.position = cursor.position();
    extent.access = parse_word(cursor, access_words, "access");
    TextCursor at = cursor;
    extent.size = Sectors(parse_number(cursor, "the extent's size"));
    if (extent.size == Sectors(0)) at.fail("the extent's size is 0 (expected at least 1 sector)");
    extent.type = parse_word(cursor, type_words, "extent type");

    // Only ZERO and hidden space need no file; `ZERO "/dev/x" 0` is written too and names nothing that is
    // read.
    const bool needs_file = extent.type != ExtentType::zero && extent.access != Access::no_access;
    if (needs_file || !cursor.at_end())
        extent.file_name = parse_file_name(cursor, is_embedding && extent.type == ExtentType::sparse);
    if (!cursor.at_end()) {
        at = cursor;
        extent.offset = Sectors(parse_number(cursor, "the offset"));
        if (extent.offset + extent.size > max_capacity)
            at.fail("the offset plus the extent's size is too large");
    }
    // Players on Windows add a partition UUID and a device id.
    for (int extra = 0; extra < 2 && !cursor.at_end(); ++extra) cursor.take_word();
    if (!cursor.at_end()) cursor.fail("unexpected text after the extent");
    if (extent.type == ExtentType::zero) extent.file_name.clear();
    return extent;
}

// `key = value`, or nothing when the line is not of that form. The value may be quoted.
std::optional<KeyValue> parse_key_value(const TextCursor& line) {
    const std::string_view text = line.rest();
    const std::size_t equals = text.find_first_of("=\"");
    if (equals == std::string_view::npos || text[equals] == '"') return std::nullopt;
    const std::string_view key = trim(text.substr(0, equals));
    if (key.empty() || key.find_first_of(" \t") != std::string_view::npos) return std::nullopt;
    std::string_view value = trim(text.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
    } else if (value.starts_with('"')) {
        line.advanced(text.find('"', equals)).fail("the value has no closing quote");
    }
    return KeyValue(key, value);
}

std::uint32_t parse_hex_id(const TextCursor& line, const KeyValue& entry) {
    std::uint32_t value = 0;
    const char* first = entry.second.data();
    const char* last = first + entry.second.size();
    const auto [end, error] = std::from_chars(first, last, value, 16);
    if (error != std::errc() || end != last)
        line.advanced(line.rest().find('=') + 1)
            .skip_blanks()
            .fail(concat("'", printable(entry.second),
                         "' is not a content id (expected up to 8 hexadecimal digits)"));
    return value;
}

// DOS programs end a text with a ^Z.
std::string_view without_end_mark(std::string_view text) {
    const std::size_t last = text.find_last_not_of("\x1a\r\n");
    const std::size_t mark = text.find('\x1a', last == std::string_view::npos ? 0 : last);
    return text.substr(0, mark);
}

class DescriptorParser {
  public:
    DescriptorParser(const std::string& file_name, Place place) : file_name_(file_name), place_(place) {}

    Descriptor parse(std::string_view text) {
        if (text.size() > max_descriptor_bytes)
            throw Error(ErrorKind::format, concat("the descriptor is ", text.size(), " bytes long (at most ",
                                                  max_descriptor_bytes, " are read)"));
        text = without_end_mark(text.substr(0, text.find('\0')));
        if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
        for (std::size_t number = 1; !text.empty(); ++number) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            std::string_view line = text.substr(0, end);
            if (line.ends_with('\r')) line.remove_suffix(1);
            parse_line(TextCursor(file_name_, number, line));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        finish();
        return std::move(result_);
    }

  private:
    void parse_line(TextCursor line) {
        line.skip_blanks();
        if (line.at_end() || line.peek() == '#') return;
        if (std::optional<KeyValue> entry = parse_key_value(line)) {
            if (ddb_.size() + result_.header.size() == max_key_lines)
                line.fail(concat("more than ", max_key_lines, " header and ddb lines"));
            if (starts_with_ignoring_case(entry->first, "ddb."))
                ddb_.emplace_back(entry->first.substr(4), std::move(entry->second));
            else
                take_header(line, std::move(*entry));
            return;
        }
        if (std::isalpha(static_cast<unsigned char>(line.peek())) == 0)
            line.fail("expected an extent line, 'key = value' or a comment");
        take_extent(line);
    }

    void take_extent(const TextCursor& line) {
        if (result_.extents.size() == max_extents) line.fail(concat("more than ", max_extents, " extents"));
        ExtentDescriptor extent = parse_extent(line, place_ == Place::embedded && result_.extents.empty());
        capacity_ += extent.size;
        if (capacity_ > max_capacity)
            line.fail(concat("the extents add up to more than ", max_capacity.count(), " sectors"));
        result_.extents.push_back(std::move(extent));
    }

    void take_header(const TextCursor& line, KeyValue entry) {
        const auto [earlier, is_first] = values_.try_emplace(entry.first, entry.second);
        if (!is_first && earlier->second != entry.second)
            line.fail(concat("'", printable(entry.first), "' is given twice, first as '",
                             printable(earlier->second), "' (expected once)"));
        const auto is = [&entry](std::string_view key) { return equal_ignoring_case(entry.first, key); };
        if (is("version")) {
            const bool known = entry.second == "1" || entry.second == "2" || entry.second == "3";
            if (!known)
                line.fail(concat("unknown descriptor version '", printable(entry.second),
                                 "' (expected 1, 2 or 3)"));
            result_.version = static_cast<std::uint32_t>(entry.second[0] - '0');
        } else if (is("encoding")) {
            result_.encoding = entry.second;
        } else if (is("CID")) {
            result_.cid = ContentId{parse_hex_id(line, entry)};
        } else if (is("parentCID")) {
            result_.parent_cid = ContentId{parse_hex_id(line, entry)};
        } else if (is("createType")) {
            result_.create_type = entry.second;
        } else if (is("parentFileNameHint")) {
            result_.parent_file_name_hint = entry.second;
        } else if (is("keyID") || starts_with_ignoring_case(entry.first, "encryption")) {
            line.fail("the disk is encrypted, and vmdk-dm cannot decrypt it");
        }
        result_.header.push_back(std::move(entry));
    }

    void finish() {
        if (result_.version == 0)
            throw Error(ErrorKind::format, "no 'version' line (expected version=1, 2 or 3)");
        if (result_.extents.empty())
            throw Error(ErrorKind::format,
                        "no extent lines (expected such as: RW 4192256 FLAT \"disk-f001.vmdk\" 0)");
        result_.ddb = DiskDatabase(std::move(ddb_));
        for (const auto& [key, filters] : result_.ddb.entries())
            if (equal_ignoring_case(key, "iofilters") && filters.find("vmcrypt") != std::string::npos)
                throw Error(ErrorKind::format,
                            concat("the disk is encrypted (ddb.iofilters = \"", printable(filters),
                                   "\"), and vmdk-dm cannot decrypt it"));
        if (result_.encoding.empty()) result_.encoding = result_.ddb.get("encoding").value_or("");
    }

    const std::string& file_name_;
    Place place_;
    Descriptor result_;
    std::vector<KeyValue> ddb_;
    // Of the header: looking through all of its lines for each would take minutes.
    std::map<std::string, std::string, LessIgnoringCase> values_;
    Sectors capacity_;
};

}  // namespace

std::string to_string(ContentId cid) {
    std::array<char, 9> text{};
    std::snprintf(text.data(), text.size(), "%08x", static_cast<unsigned>(cid.value));
    return text.data();
}

std::string_view to_string(Access access) {
    for (const auto& word : access_words)
        if (word.value == access) return word.text;
    return "?";
}

std::string_view to_string(ExtentType type) {
    for (const auto& word : type_words)
        if (word.value == type) return word.text;
    return "?";
}

std::optional<std::string> DiskDatabase::get(std::string_view key) const {
    for (const auto& [name, value] : entries_)
        if (equal_ignoring_case(name, key)) return value;
    return std::nullopt;
}

Sectors Descriptor::capacity() const {
    Sectors sum;
    for (const ExtentDescriptor& extent : extents) sum += extent.size;
    return sum;
}

Descriptor parse_descriptor(std::string_view text, const std::string& file_name, Place place) {
    return DescriptorParser(file_name, place).parse(text);
}

bool looks_like_descriptor(std::string_view text) {
    text = text.substr(0, text.find('\0'));
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trim(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.starts_with('#')) continue;
        for (const std::string_view key : {"version", "encoding", "CID", "parentCID", "createType"})
            if (starts_with_ignoring_case(line, key) && trim(line.substr(key.size())).starts_with('='))
                return true;
        return false;
    }
    return false;
}

}  // namespace vmdkdm
