// The options that say where keys of encrypted volumes come from.
#pragma once

#include <optional>
#include <string>
#include <vector>
#include "cli/command.h"

#include "stack/keys.h"

namespace vmdkdm {

struct KeyOptions {
    std::optional<std::string> file;
    std::optional<int> descriptor;
    std::vector<std::string> of_volumes;  ///< VOLUME=FILE
    bool given() const { return file || descriptor || !of_volumes.empty(); }
};
void add_key_options(Command& command, KeyOptions& options);

/// Throws Error (usage). With `may_ask` and a terminal, a person is asked for what the options do not say.
Keys keys_of(const KeyOptions& options, bool may_ask);

}  // namespace vmdkdm
