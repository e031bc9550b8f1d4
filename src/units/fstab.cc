#include "units/fstab.h"

#include <algorithm>
#include <array>

namespace vmdkdm {
namespace {

// systemd's fstype_is_network, without what nobody mounts any more.
constexpr std::array<std::string_view, 12> remote_types = {
    "afs", "ceph", "cifs", "smb3", "smbfs", "sshfs", "nfs", "nfs4", "9p", "glusterfs", "gfs2", "ocfs2"};

std::string unescaped(std::string_view field) {
    std::string text;
    for (std::size_t i = 0; i < field.size(); ++i) {
        const auto octal = [&](std::size_t at) {
            return at < field.size() && field[at] >= '0' && field[at] <= '7' ? field[at] - '0' : -1;
        };
        if (field[i] == '\\' && octal(i + 1) >= 0 && octal(i + 2) >= 0 && octal(i + 3) >= 0) {
            text += static_cast<char>(octal(i + 1) * 64 + octal(i + 2) * 8 + octal(i + 3));
            i += 3;
        } else {
            text += field[i];
        }
    }
    return text;
}

// Calls `use` with the fields of each line that has some.
template <class Use>
void for_each_line(std::string_view text, Use&& use) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        std::vector<std::string_view> fields;
        while (true) {
            const std::size_t start = line.find_first_not_of(" \t\r");
            if (start == std::string_view::npos || (fields.empty() && line[start] == '#')) break;
            line.remove_prefix(start);
            const std::size_t length = std::min(line.find_first_of(" \t\r"), line.size());
            fields.push_back(line.substr(0, length));
            line.remove_prefix(length);
        }
        if (!fields.empty()) use(fields);
    }
}

std::vector<std::string> split_options(std::string_view text) {
    std::vector<std::string> options;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        options.push_back(unescaped(text.substr(0, comma)));
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return options;
}

bool is_below(std::string_view path, std::string_view directory) {
    if (directory == "/") return true;
    return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

bool FstabLine::has(std::string_view option) const {
    return std::find(options.begin(), options.end(), option) != options.end();
}

bool FstabLine::is_remote() const {
    const std::string_view kernel_type =
        std::string_view(type).starts_with("fuse.") ? std::string_view(type).substr(5) : type;
    return has("_netdev") ||
           std::find(remote_types.begin(), remote_types.end(), kernel_type) != remote_types.end();
}

std::vector<FstabLine> parse_fstab(std::string_view text) {
    std::vector<FstabLine> lines;
    for_each_line(text, [&](const std::vector<std::string_view>& fields) {
        if (fields.size() < 3) return;
        FstabLine line{unescaped(fields[0]), unescaped(fields[1]), unescaped(fields[2]), {}};
        if (fields.size() > 3) line.options = split_options(fields[3]);
        while (line.directory.size() > 1 && line.directory.ends_with('/')) line.directory.pop_back();
        lines.push_back(std::move(line));
    });
    return lines;
}

std::vector<CrypttabLine> parse_crypttab(std::string_view text) {
    std::vector<CrypttabLine> lines;
    for_each_line(text, [&](const std::vector<std::string_view>& fields) {
        // No escapes here: systemd's own generator knows none in crypttab.
        if (fields.size() >= 2) lines.push_back({std::string(fields[0]), std::string(fields[1])});
    });
    return lines;
}

const FstabLine* file_system_of(std::string_view path, const std::vector<FstabLine>& fstab) {
    const FstabLine* best = nullptr;
    for (const FstabLine& line : fstab)
        if (line.directory.starts_with('/') && is_below(path, line.directory) &&
            (best == nullptr || line.directory.size() >= best->directory.size()))
            best = &line;
    return best;
}

}  // namespace vmdkdm
