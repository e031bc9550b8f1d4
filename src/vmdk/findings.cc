#include "vmdk/findings.h"

#include "base/concat.h"

namespace vmdkdm {

std::string_view to_string(FindingKind kind) {
    switch (kind) {
        case FindingKind::chain:
            return "chain";
        case FindingKind::descriptor:
            return "descriptor";
        case FindingKind::extent:
            return "extent";
        case FindingKind::header:
            return "header";
        case FindingKind::truncated:
            return "truncated";
        case FindingKind::directory:
            return "directory";
        case FindingKind::grain:
            return "grain";
        case FindingKind::overlap:
            return "overlap";
        case FindingKind::redundant:
            return "redundant";
        case FindingKind::stream:
            return "stream";
        case FindingKind::journal:
            return "journal";
        case FindingKind::unused:
            return "unused";
    }
    return "?";
}

std::string text_about(const File& file, const Error& error) {
    std::string text = error.what();
    const std::string path = concat("'", file.path(), "'");
    if (text.starts_with(path)) text.erase(0, path.size());
    if (text.starts_with(": ")) text.erase(0, 2);
    if (text.starts_with(" ")) text.insert(0, "the file");  // "'x' is too short"
    return text;
}

std::uint64_t FindingList::count() const {
    std::uint64_t sum = 0;
    for (const auto& [kind, count] : counts_) sum += count;
    return sum;
}

}  // namespace vmdkdm
