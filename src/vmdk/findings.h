// What `check` finds: faults, which make an image unsound, and notes, which do not. A hostile file can have
// millions of them, so of each kind only the first are kept; the rest are counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/units.h"
#include "files/file.h"

namespace vmdkdm {

enum class FindingKind {
    chain,       ///< parents: missing, another CID, another size
    descriptor,  ///< what the text says
    extent,      ///< an extent's file: missing, refused, another size than its line says
    header,      ///< of a sparse extent
    truncated,   ///< a file that ends too early
    directory,   ///< entries of a grain directory
    grain,       ///< entries of a grain table, and headers of compressed grains
    overlap,     ///< parts of a file that share bytes
    redundant,   ///< the grain directory against its copy
    stream,      ///< markers and footer of a streamOptimized file
    journal,     ///< what a writer left unfinished
    unused,      ///< space that nothing refers to
};

/// The word for it in JSON.
std::string_view to_string(FindingKind kind);

struct Finding {
    FindingKind kind = FindingKind::descriptor;
    std::string file;  ///< path
    Bytes offset;      ///< in the file: of the entry or field that is wrong, not of what it points to
    std::string text;
    friend bool operator==(const Finding&, const Finding&) = default;
};

/// What the error says, without the "'<file>': " in front: a finding names its file.
std::string text_about(const File& file, const Error& error);

/// How many findings of a kind are kept.
inline constexpr std::uint64_t max_findings_of_a_kind = 50;

class FindingList {
  public:
    /// `text()` is called only when the finding is kept.
    template <class Text>
    void add(FindingKind kind, const std::string& file, Bytes offset, Text&& text) {
        if (++counts_[kind] <= max_findings_of_a_kind) kept_.push_back({kind, file, offset, text()});
    }

    /// So many more that are not kept.
    void count_more(FindingKind kind, std::uint64_t count) { counts_[kind] += count; }

    const std::vector<Finding>& kept() const { return kept_; }
    /// Of every kind that was found, how many.
    const std::map<FindingKind, std::uint64_t>& counts() const { return counts_; }
    bool is_full(FindingKind kind) const {
        const auto count = counts_.find(kind);
        return count != counts_.end() && count->second >= max_findings_of_a_kind;
    }
    std::uint64_t count() const;

  private:
    std::vector<Finding> kept_;
    std::map<FindingKind, std::uint64_t> counts_;
};

struct Findings {
    FindingList faults;
    FindingList notes;
    bool sound() const { return faults.count() == 0; }
};

/// For a class that looks at one file: what it says goes to the findings, with the file's name.
class FileChecker {
  protected:
    FileChecker(const File& file, Findings& findings) : file_(file), findings_(findings) {}

    template <class... Parts>
    void fault(FindingKind kind, Bytes offset, const Parts&... parts) {
        findings_.faults.add(kind, file_.path(), offset, [&] { return concat(parts...); });
    }
    template <class... Parts>
    void note(FindingKind kind, Bytes offset, const Parts&... parts) {
        findings_.notes.add(kind, file_.path(), offset, [&] { return concat(parts...); });
    }

    const File& file_;
    Findings& findings_;
};

}  // namespace vmdkdm
