// A new snapshot delta as VMware's hosted products write it: one hosted sparse extent (KDMV) with its
// descriptor inside, over a parent. Here are its descriptor, header, directories and tables; the grains are
// copied by others to the places that it gives them. Pure. Format reference, sections 2, 6 and 11.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/units.h"
#include "vmdk/descriptor.h"

namespace vmdkdm {

/// Of every delta that VMware and qemu write.
inline constexpr Sectors delta_grain{128};

struct DeltaDescriptor {
    ContentId cid;
    ContentId parent_cid;
    std::string parent_hint;    ///< path of the parent, seen from the delta's directory or absolute
    std::string file_name;      ///< of the delta itself, without a directory
    Sectors capacity;           ///< the parent's
    std::vector<KeyValue> ddb;  ///< without "ddb."; what would not read back the same is left out
};

/// The text of the descriptor. Throws Error (refused) for a name with a quotation mark or a line end, which
/// the format cannot say, and for a parent whose CID means "no parent".
std::string print_delta_descriptor(const DeltaDescriptor& descriptor);

/// The parent's path as a hint: relative where delta and parent have a directory in common. Both are
/// absolute.
std::string parent_hint(const std::string& parent, const std::string& delta);

struct GrainRange {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    friend bool operator==(const GrainRange&, const GrainRange&) = default;
};

/// Where everything is in the file: header, descriptor, redundant directory and its tables, directory and its
/// tables, then the grains in the order of the disk.
class DeltaExtent {
  public:
    /// `grains`: those that the delta holds, in order and disjoint. Throws Error (refused) when they do not
    /// fit into the 2 TiB of a sparse file.
    DeltaExtent(Sectors capacity, const std::vector<GrainRange>& grains);

    /// Of the whole file.
    Bytes size() const;
    std::uint64_t grain_count() const { return grain_count_; }

    /// Where in the file a sector of the disk is, which lies in one of the grains.
    Sectors place_of(Sectors sector) const;

    /// Calls `put` with every piece of what comes before the grains and is no hole. Throws Error (refused)
    /// when the descriptor is longer than its place.
    void write(const std::string& descriptor,
               const std::function<void(Bytes offset, std::span<const std::byte> bytes)>& put) const;

  private:
    struct Placed {
        GrainRange grains;
        std::uint64_t before = 0;  // grains of the file
    };

    std::uint64_t table_count() const;
    Sectors directory_size() const;
    Sectors redundant_directory() const;
    Sectors directory() const;
    Sectors overhead() const;
    Sectors tables_size() const;

    std::vector<std::byte> header() const;
    std::vector<std::byte> directory_bytes(Sectors first_table) const;
    void write_tables(const std::function<void(Bytes, std::span<const std::byte>)>& put) const;

    Sectors capacity_;
    std::vector<Placed> placed_;
    std::uint64_t grain_count_ = 0;
};

}  // namespace vmdkdm
