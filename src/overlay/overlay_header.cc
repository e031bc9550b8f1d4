// The header's text: what is printed here is what is parsed, and nothing else is.
#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "overlay/overlay_file.h"

namespace vmdkdm {
namespace {

constexpr std::string_view first_line = "vmdk-dm overlay 1";
constexpr std::string_view last_line = "end";

// So that the limit stands in the file's first sector whatever it is, and changes with one write of that.
constexpr std::size_t limit_digits = 20;

constexpr Sectors least_chunk{8};
constexpr Sectors most_chunk{2048};

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
}

std::string escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\\')
            out += "\\\\";
        else if (is_control(c))
            out += concat("\\x", digits[byte >> 4], digits[byte & 15]);
        else
            out += c;
    }
    return out;
}

std::string hex8(std::uint32_t value) { return to_string(ContentId{value}); }

class HeaderParser {
  public:
    explicit HeaderParser(std::string_view text) : rest_(text) {}

    OverlayHeader parse() {
        OverlayHeader header;
        if (!rest_.starts_with(first_line)) fail("it does not begin with '", first_line, "'");
        expect(first_line);
        header.limit = Bytes(number(value("limit")));
        header.capacity = Sectors(number(value("capacity")));
        header.chunk = Sectors(number(value("chunk")));
        header.created = unescaped(value("created"));
        header.image = unescaped(value("image"));
        while (const auto text = next("link")) header.links.push_back(link(*text));
        while (const auto text = next("file")) header.files.push_back(file(*text));
        expect(last_line);
        if (rest_.find_first_not_of('\0') != std::string_view::npos)
            fail("there is something behind its end");
        check(header);
        return header;
    }

  private:
    template <class... Parts>
    [[noreturn]] void fail(const Parts&... parts) const {
        throw Error(ErrorKind::format,
                    concat("the header of the overlay is damaged: line ", line_, ": ", parts...));
    }

    // The line to be taken next, and messages are about it from here on.
    std::string_view line() {
        line_ = taken_ + 1;
        return rest_.substr(0, rest_.find('\n'));
    }

    void take_line() {
        const std::size_t end = rest_.find('\n');
        if (end == std::string_view::npos) fail("it has no end");
        rest_.remove_prefix(end + 1);
        ++taken_;
    }

    void expect(std::string_view whole_line) {
        if (line() != whole_line) fail("'", escaped(line().substr(0, 60)), "', expected '", whole_line, "'");
        take_line();
    }

    std::optional<std::string_view> next(std::string_view key) {
        const std::string_view text = line();
        if (!text.starts_with(key) || text.size() == key.size() || text[key.size()] != '=')
            return std::nullopt;
        take_line();
        return text.substr(key.size() + 1);
    }

    std::string_view value(std::string_view key) {
        const auto text = next(key);
        if (!text) fail("'", escaped(line().substr(0, 60)), "', expected '", key, "=...'");
        return *text;
    }

    template <class Number = std::uint64_t>
    Number number(std::string_view text, int base = 10) const {
        Number number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
        if (error != std::errc() || end != text.data() + text.size())
            fail("'", escaped(text), "' is not a number");
        return number;
    }

    // The text up to the next blank, which is taken too.
    std::string_view word(std::string_view& text) const {
        const std::size_t blank = text.find(' ');
        if (blank == std::string_view::npos) fail("something is missing at its end");
        const std::string_view word = text.substr(0, blank);
        text.remove_prefix(blank + 1);
        return word;
    }

    std::string unescaped(std::string_view text) const {
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (is_control(text[i])) fail("it holds a control character");
            if (text[i] != '\\') {
                out += text[i];
            } else if (text.substr(i + 1).starts_with('\\')) {
                out += '\\';
                ++i;
            } else {
                if (!text.substr(i + 1).starts_with('x') || text.size() < i + 4)
                    fail("a '\\' that begins no escape");
                out += static_cast<char>(number<unsigned char>(text.substr(i + 2, 2), 16));
                i += 3;
            }
        }
        return out;
    }

    OverlaidLink link(std::string_view text) const {
        OverlaidLink link;
        link.cid.value = number<std::uint32_t>(word(text), 16);
        link.parent_cid.value = number<std::uint32_t>(word(text), 16);
        link.uuid = unescaped(text);
        return link;
    }

    OverlaidFile file(std::string_view text) const {
        OverlaidFile file;
        file.size = Bytes(number(word(text)));
        file.modified_ns = number<std::int64_t>(word(text));
        file.name = unescaped(text);
        return file;
    }

    void check(const OverlayHeader& header) const {
        if (header.capacity == Sectors(0) || header.capacity > max_capacity)
            fail("no disk has that capacity");
        if (!std::has_single_bit(header.chunk.count()) || header.chunk < least_chunk ||
            header.chunk > most_chunk)
            fail("no overlay has chunks of ", header.chunk.count(), " sectors");
        if (header.limit.count() == 0 || header.limit.count() % to_bytes(header.chunk).count() != 0 ||
            header.limit > to_bytes(max_capacity))
            fail("the limit is ", header.limit.count(), " bytes, expected a number of whole chunks");
        if (header.links.empty() || header.files.empty()) fail("it names no link or no file of an image");
    }

    std::string_view rest_;
    std::size_t taken_ = 0;
    std::size_t line_ = 1;
};

std::string print(const OverlayHeader& header) {
    std::string limit = concat(header.limit.count());
    limit.insert(0, limit_digits - limit.size(), '0');
    std::string text = concat(first_line, "\nlimit=", limit, "\ncapacity=", header.capacity.count(),
                              "\nchunk=", header.chunk.count(), "\ncreated=", escaped(header.created),
                              "\nimage=", escaped(header.image), "\n");
    for (const OverlaidLink& link : header.links)
        append_parts(text, "link=", hex8(link.cid.value), " ", hex8(link.parent_cid.value), " ",
                     escaped(link.uuid), "\n");
    for (const OverlaidFile& file : header.files)
        append_parts(text, "file=", file.size.count(), " ", file.modified_ns, " ", escaped(file.name), "\n");
    append_parts(text, last_line, "\n");
    return text;
}

}  // namespace

std::string print_overlay_header(const OverlayHeader& header) {
    std::string text = print(header);
    if (Bytes(text.size()) >= overlay_cow_offset)
        throw Error(ErrorKind::refused, concat("the image has ", header.files.size(),
                                               " files, too many for the header of an overlay"));
    return text;
}

OverlayHeader parse_overlay_header(std::string_view text) {
    OverlayHeader header = HeaderParser(text).parse();
    // One spelling of each header: then nothing in it can be read in two ways.
    if (!text.starts_with(print(header)))
        throw Error(ErrorKind::format,
                    "the header of the overlay is damaged: it is not spelled as it was written");
    return header;
}

}  // namespace vmdkdm
