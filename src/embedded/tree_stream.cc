#include "embedded/tree_stream.h"

#include <type_traits>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_target = 4095;

class Writer {
  public:
    template <class Number>
    Writer& number(Number value) {
        auto left = static_cast<std::make_unsigned_t<Number>>(value);
        for (std::size_t i = 0; i < sizeof(Number); ++i, left = static_cast<decltype(left)>(left >> 7 >> 1))
            bytes_ += static_cast<char>(left & 0xff);
        return *this;
    }
    Writer& text(std::string_view text) {
        number(static_cast<std::uint32_t>(text.size()));
        bytes_ += text;
        return *this;
    }
    Writer& times(const Times& times) { return number(times.seconds).number(times.nanoseconds); }
    std::string take() { return std::move(bytes_); }

  private:
    std::string bytes_;
};

class Reader {
  public:
    explicit Reader(const FillFrom& stream) : stream_(stream) {}

    template <class Number>
    Number number() {
        char bytes[sizeof(Number)];
        fill(bytes, sizeof bytes);
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof bytes; ++i)
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        return static_cast<Number>(value);
    }
    std::string text(std::size_t longest) {
        const auto size = number<std::uint32_t>();
        if (size > longest) throw Error(ErrorKind::format, concat("a text of ", size, " bytes"));
        std::string text(size, '\0');
        fill(text.data(), size);
        return text;
    }
    std::string name() {
        std::string name = text(longest_name);
        if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
            name.find('\0') != std::string::npos)
            throw Error(ErrorKind::format, "a name that is none");
        return name;
    }
    std::string target() {
        std::string target = text(longest_target);
        if (target.empty() || target.find('\0') != std::string::npos)
            throw Error(ErrorKind::format, "a symbolic link to nothing");
        return target;
    }
    Times times() {
        Times times;
        times.seconds = number<std::int64_t>();
        times.nanoseconds = number<std::uint32_t>();
        if (times.nanoseconds >= 1'000'000'000) throw Error(ErrorKind::format, "a time that is none");
        return times;
    }

  private:
    void fill(char* buffer, std::size_t size) {
        if (stream_(buffer, size) < size)
            throw Error(ErrorKind::system, "what comes out of the embedded kernel ends too early");
    }

    const FillFrom& stream_;
};

struct ToBytes {
    std::string operator()(const EnterDirectory& r) const {
        return Writer().number('D').text(r.name).number(r.mode).times(r.modified).take();
    }
    std::string operator()(const LeaveDirectory&) const { return "U"; }
    std::string operator()(const FileBegin& r) const {
        return Writer().number('F').text(r.name).number(r.mode).times(r.modified).take();
    }
    std::string operator()(const FileBytes& r) const {
        return block_header(r.offset, r.bytes.size()) + r.bytes;
    }
    std::string operator()(const FileEnd& r) const { return Writer().number('E').number(r.size).take(); }
    std::string operator()(const FileFailed& r) const { return Writer().number('X').number(r.error).take(); }
    std::string operator()(const SymbolicLink& r) const {
        return Writer().number('L').text(r.name).text(r.target).times(r.modified).take();
    }
    std::string operator()(const Special& r) const {
        return Writer().number('S').text(r.name).number(r.type).take();
    }
    std::string operator()(const UnreadableEntry& r) const {
        return Writer().number('N').text(r.name).number(r.error).take();
    }
    std::string operator()(const TreeEnd&) const { return "Z"; }
};

template <class Entry>
Entry entry(Reader& reader) {
    Entry entry;
    entry.name = reader.name();
    entry.mode = reader.number<std::uint32_t>();
    entry.modified = reader.times();
    return entry;
}

}  // namespace

std::string block_header(std::uint64_t offset, std::size_t size) {
    return Writer().number('B').number(offset).number(static_cast<std::uint32_t>(size)).take();
}

std::string to_bytes(const TreeRecord& record) { return std::visit(ToBytes(), record); }

TreeRecord read_record(const FillFrom& stream) {
    Reader reader(stream);
    switch (reader.number<char>()) {
        case 'D':
            return entry<EnterDirectory>(reader);
        case 'U':
            return LeaveDirectory{};
        case 'F':
            return entry<FileBegin>(reader);
        case 'B': {
            const auto offset = reader.number<std::uint64_t>();
            return FileBytes{offset, reader.text(largest_block)};
        }
        case 'E':
            return FileEnd{reader.number<std::uint64_t>()};
        case 'X':
            return FileFailed{reader.number<std::uint32_t>()};
        case 'L': {
            SymbolicLink link;
            link.name = reader.name();
            link.target = reader.target();
            link.modified = reader.times();
            return link;
        }
        case 'S': {
            Special special;
            special.name = reader.name();
            special.type = reader.number<char>();
            return special;
        }
        case 'N': {
            UnreadableEntry unreadable;
            unreadable.name = reader.name();
            unreadable.error = reader.number<std::uint32_t>();
            return unreadable;
        }
        case 'Z':
            return TreeEnd{};
        default:
            throw Error(ErrorKind::format, "a record of no known kind");
    }
}

}  // namespace vmdkdm
