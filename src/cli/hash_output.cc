#include "cli/hash_output.h"

#include <algorithm>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

std::vector<HashAlgorithm> parse_algorithms(const std::string& list) {
    std::vector<HashAlgorithm> algorithms;
    std::istringstream names(list + ",");
    for (std::string name; std::getline(names, name, ',');) {
        const auto algorithm = parse_hash_algorithm(name);
        if (!algorithm)
            throw Error(ErrorKind::usage,
                        concat("'", name, "' is not a hash (expected md5, sha1 or sha256)"));
        if (std::find(algorithms.begin(), algorithms.end(), *algorithm) == algorithms.end())
            algorithms.push_back(*algorithm);
    }
    return algorithms;
}

Json hashes_as_json(const std::vector<Digest>& hashes) {
    Json json = Json::object();
    for (const Digest& digest : hashes) json[std::string(to_string(digest.algorithm))] = digest.hex;
    return json;
}

Json damage_as_json(const std::vector<DamagedRange>& damaged) {
    Json list = Json::array();
    for (const DamagedRange& range : damaged)
        list.push_back({{"start", to_bytes(range.start).count()},
                        {"length", to_bytes(range.length).count()},
                        {"file", range.file ? Json(range.file->path()) : Json(nullptr)},
                        {"offset", range.file ? Json(range.offset.count()) : Json(nullptr)},
                        {"why", range.reason}});
    return list;
}

void print_damage(const std::vector<DamagedRange>& damaged) {
    std::vector<std::string> notes;
    for (const DamagedRange& range : damaged)
        notes.push_back(concat("bytes ", to_bytes(range.start).count(), " to ",
                               to_bytes(range.start + range.length).count() - 1,
                               " are taken for zeros: ", range.reason));
    print_notes(notes);
}

}  // namespace vmdkdm
