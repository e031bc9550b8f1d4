#include "vmdk/file_name.h"

#include <iconv.h>

#include <algorithm>
#include <optional>

namespace vmdkdm {
namespace {

// Nothing when the C library does not know the encoding (an initramfs may carry no tables) or the bytes are
// not valid in it; then the raw bytes are all there is to try.
std::optional<std::string> to_utf8(const std::string& text, const std::string& encoding) {
    const iconv_t converter = ::iconv_open("UTF-8", encoding.c_str());
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
void load_encoding(const std::string& encoding) {
    static_cast<void>(::iconv_open("UTF-8", encoding.c_str()));
}

bool is_windows_device(const std::string& name) { return name.starts_with("\\\\.\\"); }

}  // namespace vmdkdm
