// What compact and hash print alike: hashes and damaged ranges.
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"
#include "compact/copy.h"

namespace vmdkdm {

/// "md5,sha256" in that order, each once. Throws Error (usage).
std::vector<HashAlgorithm> parse_algorithms(const std::string& list);

/// {"sha256": "..."}
Json hashes_as_json(const std::vector<Digest>& hashes);

Json damage_as_json(const std::vector<DamagedRange>& damaged);

/// One note a range.
void print_damage(const std::vector<DamagedRange>& damaged);

}  // namespace vmdkdm
