#include "tab/tab.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/concat.h"
#include "base/escaped.h"
#include "base/text_cursor.h"
#include "base/unique_fd.h"
#include "dm/device_name.h"
#include "tab/options.h"

namespace vmdkdm {
namespace {

constexpr std::array<std::string_view, 4> tags = {"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="};

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_device(std::string_view text) {
    return text.starts_with("/dev/") ||
           std::any_of(tags.begin(), tags.end(), [&](std::string_view tag) { return text.starts_with(tag); });
}

// Reading
// -----------------------------------------------------------------------------------------------------

// A part of the line as it is written, and where it is.
struct Part {
    TextCursor at;
    std::string_view raw;
    Part from(std::size_t offset) const { return {at.advanced(offset), raw.substr(offset)}; }
    Part first(std::size_t count) const { return {at, raw.substr(0, count)}; }
};

// The byte of a `\NNN`; nothing when it is none.
std::optional<char> octal_byte(std::string_view text) {
    if (text.size() < 4) return std::nullopt;
    unsigned value = 0;
    for (const char c : text.substr(1, 3)) {
        if (c < '0' || c > '7') return std::nullopt;
        value = value * 8 + static_cast<unsigned>(c - '0');
    }
    return value > 0xff ? std::nullopt : std::optional(static_cast<char>(value));
}

// Control characters have no good use in a path, and would reach units and terminals.
std::string unescaped(const Part& part) {
    std::string text;
    for (std::size_t i = 0; i < part.raw.size(); ++i) {
        char c = part.raw[i];
        const std::size_t start = i;
        if (c == '\\') {
            const std::optional<char> byte = octal_byte(part.raw.substr(i));
            if (!byte)
                part.at.advanced(i).fail(
                    "'\\' is not followed by the three octal digits of a byte (a '\\' itself is written "
                    "'\\134')");
            c = *byte;
            i += 3;
        }
        if (is_control(c)) part.at.advanced(start).fail("a control character");
        text += c;
    }
    return text;
}

std::vector<Part> split(const Part& part, char separator) {
    std::vector<Part> parts;
    for (std::size_t start = 0;;) {
        const std::size_t end = std::min(part.raw.find(separator, start), part.raw.size());
        parts.push_back(part.from(start).first(end - start));
        if (end == part.raw.size()) return parts;
        start = end + 1;
    }
}

std::string absolute_path(const Part& part) {
    std::string path = unescaped(part);
    if (const auto why = why_no_path(path)) part.at.fail(printable(*why));
    if (path.ends_with('/'))
        part.at.fail(concat("'", printable(path), "' is a directory (expected an image)"));
    return path;
}

std::string device(const Part& part) {
    std::string text = unescaped(part);
    if (text == "/dev/" || text.ends_with('='))
        part.at.fail(concat("'", printable(text), "' names no device"));
    if (text.starts_with('/'))
        if (const auto why = why_no_path(text)) part.at.fail(printable(*why));
    if (text.starts_with('/') && text.find(' ') != std::string::npos)
        part.at.fail(
            concat("'", printable(text), "' holds a blank, which no device has (udev writes it '\\x20')"));
    return text;
}

// The device ends at the first ':' before a '/': paths below /dev/disk/by-path hold colons too.
TabImage image_of(const Part& part) {
    const std::size_t colon = part.raw.find(":/");
    if (is_device(part.raw) && colon != std::string_view::npos)
        return {device(part.first(colon)), absolute_path(part.from(colon + 1))};
    if (part.raw.starts_with('/')) return {"", absolute_path(part)};
    if (is_device(part.raw))
        part.at.fail(concat("'", printable(part.raw), "' names no image (expected DEV:/PATH)"));
    part.at.fail(concat("'", printable(part.raw),
                        "' is neither an absolute path nor DEV:/PATH, where DEV is UUID=, LABEL=, PARTUUID=, "
                        "PARTLABEL= or /dev/..."));
}

bool is_option_name(std::string_view text) {
    return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.';
    });
}

TabOption option_of(const Part& part, std::size_t offset) {
    const std::size_t equals = std::min(part.raw.find('='), part.raw.size());
    TabOption option;
    option.name = unescaped(part.first(equals));
    option.offset = offset;
    if (!is_option_name(option.name))
        part.at.fail(concat("'", printable(option.name), "' is not an option",
                            option.name.starts_with("-") ? " (options are written without '--')" : ""));
    if (equals < part.raw.size()) option.value = unescaped(part.from(equals + 1));
    if (const auto why = why_refused(option)) part.at.fail(printable(*why));
    return option;
}

// Nothing between two commas is no option, as in fstab.
std::vector<TabOption> options_of(const Part& part, std::size_t offset) {
    std::vector<TabOption> options;
    if (part.raw == "-" || part.raw == "none") return options;
    for (const Part& each : split(part, ','))
        if (!each.raw.empty())
            options.push_back(
                option_of(each, offset + static_cast<std::size_t>(each.raw.data() - part.raw.data())));
    return options;
}

std::string name_of(const Part& part) {
    std::string name = unescaped(part);
    try {
        check_name(name, "");
    } catch (const Error& error) {
        part.at.fail(printable(error.what()));
    }
    return name;
}

void check_together(const TabEntry& entry) {
    if (const TabOption* option = entry.find("host-options"); option != nullptr && entry.image.device.empty())
        entry.fail(option->offset, "'host-options' is for images given as DEV:/PATH");
    if (const TabOption* option = entry.find("x-initrd.attach");
        option != nullptr && entry.image.device.empty())
        entry.fail(
            option->offset,
            "'x-initrd.attach' is for images given as DEV:/PATH: an initramfs has nothing else mounted");
}

// The next field; none where the line ends or a comment begins.
std::optional<Part> take_field(TextCursor& cursor) {
    cursor.skip_blanks();
    if (cursor.at_end() || cursor.peek() == '#') return std::nullopt;
    const TextCursor at = cursor;
    return Part{at, cursor.take_word()};
}

class TabParser {
  public:
    TabParser(std::string_view text, const std::string& file_name) : text_(text), file_name_(file_name) {}

    Tab parse() {
        for (std::size_t start = 0, number = 1; start < text_.size(); ++number) {
            const std::size_t end = std::min(text_.find('\n', start), text_.size());
            name_.clear();
            try {
                parse_line(text_.substr(start, end - start), number);
            } catch (const TextError& error) {
                tab_.faults.push_back({number, name_, error});
            }
            start = end + 1;
        }
        return std::move(tab_);
    }

  private:
    void parse_line(std::string_view line, std::size_t number) {
        TextCursor cursor(file_name_, number, line);
        const std::optional<Part> name = take_field(cursor);
        if (!name) return;
        TabEntry entry;
        entry.file_name = file_name_;
        entry.line = number;
        entry.text = line;
        entry.name_offset = offset_of(*name, line);
        entry.name = name_ = name_of(*name);
        const std::optional<Part> image = take_field(cursor);
        if (!image) cursor.fail("the line ends here (expected the image)");
        entry.image_offset = offset_of(*image, line);
        entry.image = image_of(*image);
        if (const std::optional<Part> options = take_field(cursor))
            entry.options = options_of(*options, offset_of(*options, line));
        if (const std::optional<Part> more = take_field(cursor))
            more->at.fail(
                "a fourth field (a blank within a field is written '\\040', a comment begins with '#')");
        check_together(entry);
        if (const TabEntry* other = tab_.find(entry.name))
            name->at.fail(concat("the name '", entry.name, "' is that of line ", other->line, " too"));
        tab_.entries.push_back(std::move(entry));
    }

    static std::size_t offset_of(const Part& part, std::string_view line) {
        return static_cast<std::size_t>(part.raw.data() - line.data());
    }

    std::string_view text_;
    const std::string& file_name_;
    std::string name_;  // of the line that is being read
    Tab tab_;
};

// Writing
// -----------------------------------------------------------------------------------------------------

// What `special` has, and what would not be printed as it is: a line is what it was when it comes back out of
// a pipe.
std::string escaped(std::string_view text, std::string_view special) {
    std::string written;
    while (!text.empty()) {
        const std::size_t shown = shown_size(text);
        const std::size_t size = std::max<std::size_t>(shown, 1);
        if (shown > 0 && special.find(text.front()) == std::string_view::npos) {
            written += text.substr(0, size);
        } else {
            const auto byte = static_cast<unsigned char>(text.front());
            written += '\\';
            for (const int shift : {6, 3, 0}) written += static_cast<char>('0' + ((byte >> shift) & 7));
        }
        text.remove_prefix(size);
    }
    return written;
}

constexpr std::string_view special_in_fields = " \t\\";
constexpr std::string_view special_in_options = " \t\\,";
// What the kernel, a boot loader's script or a shell might take for its own.
constexpr std::string_view special_on_command_line = " \t\\,:\"'$`;&|<>()*?[]{}!~#";

// A field that begins with '#' would be a comment, one that is "-" or "none" no options.
std::string escaped_field(std::string_view text) {
    std::string written = escaped(text, special_in_fields);
    if (written.starts_with('#')) written.replace(0, 1, "\\043");
    return written;
}

std::string escaped_options(const std::vector<TabOption>& options, std::string_view special) {
    std::string written;
    for (const TabOption& option : options) {
        if (!written.empty()) written += ',';
        written += option.name;
        if (option.value) written += concat("=", escaped(*option.value, special));
    }
    if (written == "none") written = "\\156one";
    return written;
}

// A plain path must not look like DEV:/PATH, nor a device end early.
std::string escaped_image(const TabImage& image) {
    if (!image.device.empty()) {
        std::string device = escaped_field(image.device);
        for (std::size_t at = 0; (at = device.find(":/", at)) != std::string::npos;)
            device.replace(at, 1, "\\072");
        return concat(device, ":", escaped_field(image.path));
    }
    std::string path = escaped_field(image.path);
    if (is_device(path))
        for (std::size_t at = 0; (at = path.find(":/", at)) != std::string::npos;)
            path.replace(at, 1, "\\072");
    return path;
}

}  // namespace

const TabOption* TabEntry::find(std::string_view option) const {
    const auto found = std::find_if(options.rbegin(), options.rend(),
                                    [&](const TabOption& each) { return each.name == option; });
    return found == options.rend() ? nullptr : &*found;
}

std::vector<std::string> TabEntry::values(std::string_view option) const {
    std::vector<std::string> values;
    for (const TabOption& each : options)
        if (each.name == option && each.value) values.push_back(*each.value);
    return values;
}

bool TabEntry::noauto() const {
    const auto last = std::find_if(options.rbegin(), options.rend(), [](const TabOption& each) {
        return each.name == "auto" || each.name == "noauto";
    });
    return last != options.rend() && last->name == "noauto";
}

std::vector<std::string> TabEntry::option_paths() const {
    std::vector<std::string> paths;
    for (const TabOption& option : options)
        if (is_path_option(option.name) && option.value) paths.push_back(*option.value);
    return paths;
}

std::string TabEntry::place() const { return concat(file_name, ":", line); }

void TabEntry::fail(std::size_t offset, const std::string& message) const {
    TextCursor(file_name, line, text).advanced(offset).fail(message);
}

const TabEntry* Tab::find(std::string_view name) const& {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const TabEntry& entry) { return entry.name == name; });
    return found == entries.end() ? nullptr : &*found;
}

Tab parse_tab(std::string_view text, const std::string& file_name) {
    return TabParser(text, file_name).parse();
}

Tab read_tab(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw system_error(concat("cannot open '", path, "'"), errno);
    std::string text;
    std::array<char, 64 << 10> buffer;
    for (ssize_t count = 1; count > 0;) {
        count = ::read(fd.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR)
            count = 1;
        else if (count < 0)
            throw system_error(concat("cannot read '", path, "'"), errno);
        else
            text.append(buffer.data(), static_cast<std::size_t>(count));
        if (text.size() > max_tab_bytes)
            throw Error(ErrorKind::format,
                        concat("'", path, "' is larger than ", max_tab_bytes, " bytes (expected a vmdktab)"));
    }
    return parse_tab(text, path);
}

TabEntry parse_rd_vmdk(std::string_view value) {
    const Part whole{TextCursor(command_line_name, 1, value), value};
    const std::size_t colon = value.find(":/");
    if (!is_device(value) || colon == std::string_view::npos)
        whole.at.fail(
            "expected DEV:/PATH:NAME[:OPTIONS], where DEV is UUID=, LABEL=, PARTUUID=, PARTLABEL= or "
            "/dev/...");
    const std::vector<Part> fields = split(whole.from(colon + 1), ':');
    const auto offset_of = [&](const Part& part) {
        return static_cast<std::size_t>(part.raw.data() - value.data());
    };
    if (fields.size() < 2) whole.from(value.size()).at.fail("the value ends here (expected :NAME)");
    if (fields.size() > 3) fields[3].at.fail("another field (a ':' within a field is written '\\072')");
    TabEntry entry;
    entry.file_name = command_line_name;
    entry.line = 1;
    entry.text = value;
    entry.image = {device(whole.first(colon)), absolute_path(fields[0])};
    entry.name_offset = offset_of(fields[1]);
    entry.name = name_of(fields[1]);
    if (fields.size() > 2) entry.options = options_of(fields[2], offset_of(fields[2]));
    return entry;
}

std::string print_tab_line(const TabEntry& entry) {
    const std::string options = escaped_options(entry.options, special_in_options);
    return concat(escaped_field(entry.name), " ", escaped_image(entry.image), options.empty() ? "" : " ",
                  options);
}

std::string print_rd_vmdk(const TabEntry& entry) {
    const std::string options = escaped_options(entry.options, special_on_command_line);
    // A device's own colons may stay, as far as no '/' follows them.
    std::string special(special_on_command_line);
    std::erase(special, ':');
    std::string device = escaped(entry.image.device, special);
    for (std::size_t at = 0; (at = device.find(":/", at)) != std::string::npos;)
        device.replace(at, 1, "\\072");
    return concat(device, ":", escaped(entry.image.path, special_on_command_line), ":",
                  escaped(entry.name, special_on_command_line), options.empty() ? "" : ":", options);
}

std::vector<TabOption> parse_tab_options(std::string_view text, const std::string& what) {
    return options_of({TextCursor(what, 1, text), text}, 0);
}

}  // namespace vmdkdm
