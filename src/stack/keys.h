// Keys of encrypted volumes: where they come from, and how they are held.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "stack/volume.h"

namespace vmdkdm {

/// Bytes that are wiped when their owner goes.
class Secret {
  public:
    Secret() = default;
    explicit Secret(std::string bytes) : bytes_(std::move(bytes)) {}
    Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { other.wipe(); }
    Secret& operator=(Secret&& other) noexcept;
    ~Secret() { wipe(); }

    const std::string& bytes() const { return bytes_; }

  private:
    void wipe() noexcept;
    std::string bytes_;
};

/// A file with the key ("-": standard input), or a descriptor that it is read from, to its end.
struct KeyFile {
    std::string path;
};
struct KeyDescriptor {
    int fd = -1;
};
using KeySource = std::variant<KeyFile, KeyDescriptor>;

struct Keys {
    std::map<std::string, KeySource> by_volume;  ///< by what find_volume() takes: "2", "vg0/root", a path
    std::optional<KeySource> for_all;
    /// Asks a person; called when there is neither of those. None: such a volume has no key.
    std::function<Secret(const Volume&)> ask;
};

/// Everything in it, up to 8 MiB. Throws Error (not_found, system; refused when it is longer or empty).
Secret read_key(const KeySource& source);

}  // namespace vmdkdm
