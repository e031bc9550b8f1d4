#include "cli/few_notes.h"

#include <map>

#include "base/concat.h"

namespace vmdkdm {
namespace {

std::string kind_of(const std::string& note) {
    std::string kind;
    bool in_quotes = false;
    for (const char c : note) {
        if (c == '\'') in_quotes = !in_quotes;
        if (!in_quotes && (c < '0' || c > '9')) kind += c;
    }
    return kind;
}

}  // namespace

std::vector<std::string> few_of_each_kind(const std::vector<std::string>& notes) {
    struct Told {
        std::size_t count = 0;
        std::size_t last = 0;  // of `few`
    };
    std::map<std::string, Told> kinds;
    std::vector<std::string> few;
    for (const std::string& note : notes) {
        Told& told = kinds[kind_of(note)];
        if (++told.count > notes_of_a_kind) continue;
        told.last = few.size();
        few.push_back(note);
    }
    for (const auto& [kind, told] : kinds)
        if (told.count > notes_of_a_kind)
            few[told.last] += concat(" (and ", told.count - notes_of_a_kind, " more of this kind)");
    return few;
}

}  // namespace vmdkdm
