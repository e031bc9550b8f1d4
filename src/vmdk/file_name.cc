#include "vmdk/file_name.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"

namespace vmdkdm {
namespace {

// The code pages of Windows whose names ICU, and so VMware, knows, and the C library does not.
constexpr std::array<std::pair<std::string_view, const char*>, 9> code_pages = {{
    {"windows-932", "CP932"},
    {"x-windows-932", "CP932"},
    {"x-ms-cp932", "CP932"},
    {"ibm-943_P15A-2003", "CP932"},
    {"ibm-943", "CP932"},
    {"windows-949", "CP949"},
    {"x-windows-949", "CP949"},
    {"windows-950", "CP950"},
    {"x-windows-950", "CP950"},
}};

iconv_t open_converter(const std::string& encoding) {
    const auto page = std::find_if(code_pages.begin(), code_pages.end(), [&](const auto& each) {
        return equal_ignoring_case(each.first, encoding);
    });
    return ::iconv_open("UTF-8", page == code_pages.end() ? encoding.c_str() : page->second);
}

// Nothing when the C library does not know the encoding (an initramfs may carry no tables) or the bytes are
// not valid in it; then the raw bytes are all there is to try.
std::optional<std::string> to_utf8(const std::string& text, const std::string& encoding) {
    const iconv_t converter = open_converter(encoding);
    if (converter == reinterpret_cast<iconv_t>(-1)) return std::nullopt;
    std::string in = text;
    std::string out(4 * text.size() + 16, '\0');
    char* from = in.data();
    std::size_t from_left = in.size();
    char* to = out.data();
    std::size_t to_left = out.size();
    const std::size_t result = ::iconv(converter, &from, &from_left, &to, &to_left);
    ::iconv_close(converter);
    if (result == static_cast<std::size_t>(-1)) return std::nullopt;
    out.resize(out.size() - to_left);
    // An encoding such as EBCDIC makes control characters of innocent ones. The descriptor may have none in a
    // name and neither may we: a terminal that prints our message would obey them.
    if (std::any_of(out.begin(), out.end(),
                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
        return std::nullopt;
    return out;
}

bool is_ascii(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

std::vector<std::string> file_name_candidates(const std::string& name, const std::string& encoding) {
    std::vector<std::string> candidates;
    const auto add = [&candidates](std::string candidate) {
        if (std::find(candidates.begin(), candidates.end(), candidate) == candidates.end())
            candidates.push_back(std::move(candidate));
    };
    if (!encoding.empty() && !is_ascii(name))
        if (std::optional<std::string> converted = to_utf8(name, encoding)) add(std::move(*converted));
    add(name);
    const std::vector<std::string> as_given = candidates;
    for (std::string candidate : as_given) {
        std::replace(candidate.begin(), candidate.end(), '\\', '/');
        add(std::move(candidate));
    }
    return candidates;
}

std::vector<std::string> file_name_candidates(const std::string& name, const std::string& encoding,
                                              FileOpener& opener) {
    if (!encoding.empty() && !is_ascii(name)) opener.need_encoding(encoding);
    return file_name_candidates(name, encoding);
}

// A converter that stays open keeps the C library's module for it.
void load_encoding(const std::string& encoding) { static_cast<void>(open_converter(encoding)); }

std::optional<std::string> base_name_of_absolute(const std::string& name) {
    std::string path = name;
    std::replace(path.begin(), path.end(), '\\', '/');
    const bool has_drive = path.size() > 2 && path[1] == ':' && path[2] == '/' &&
                           ((path[0] >= 'a' && path[0] <= 'z') || (path[0] >= 'A' && path[0] <= 'Z'));
    const bool has_datastore = path.starts_with('[') && path.find(']') != std::string::npos;
    if ((!path.starts_with('/') && !has_drive && !has_datastore) || path.starts_with("/dev/"))
        return std::nullopt;
    const std::size_t before = path.find_last_of(has_datastore ? "/]" : "/");
    const std::string base_name(trim(std::string_view(path).substr(before + 1)));
    if (base_name.empty() || base_name == "." || base_name == "..") return std::nullopt;
    return base_name;
}

void refuse_unreachable_name(const std::string& name) {
    if (name.starts_with("\\\\.\\"))
        throw Error(ErrorKind::format, concat("'", printable(name), "' is a device of a Windows host"));
    if (starts_with_ignoring_case(name, "vsan://"))
        throw Error(
            ErrorKind::format,
            concat("'", printable(name),
                   "' is an object on a vSAN datastore, which only its ESXi hosts can read (copy the disk "
                   "off it there, with vmkfstools -i)"));
}

}  // namespace vmdkdm
