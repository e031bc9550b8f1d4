// Device-mapper targets and tables as values: printed AND parsed, so that a table can be compared with the
// kernel's own. Source: Linux, Documentation/admin-guide/device-mapper/{linear,striped,zero,snapshot}.rst.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/units.h"

namespace vmdkdm {

/// A block device by number, as the kernel prints it: "7:0".
struct DeviceNumber {
    unsigned major = 0;
    unsigned minor = 0;
    friend auto operator<=>(const DeviceNumber&, const DeviceNumber&) = default;
};
std::string to_string(DeviceNumber device);

/// A device that does not exist yet: index into a plan's list of lower devices.
struct PlannedDevice {
    std::uint32_t index = 0;
    friend bool operator==(const PlannedDevice&, const PlannedDevice&) = default;
};

/// Where something begins: in the device with that number, so many sectors from its start.
struct DevicePlace {
    DeviceNumber device;
    Sectors start;
    friend bool operator==(const DevicePlace&, const DevicePlace&) = default;
};

/// What lies below a target. A table goes to the kernel only when all of them are numbers.
using LowerDevice = std::variant<DeviceNumber, PlannedDevice>;

struct LinearTarget {
    LowerDevice device;
    Sectors offset;
    friend bool operator==(const LinearTarget&, const LinearTarget&) = default;
};
/// The target's chunks by turns on its stripes.
struct StripedTarget {
    Sectors chunk;
    std::vector<LinearTarget> stripes;
    friend bool operator==(const StripedTarget&, const StripedTarget&) = default;
};
struct ZeroTarget {
    friend bool operator==(const ZeroTarget&, const ZeroTarget&) = default;
};
struct ErrorTarget {
    friend bool operator==(const ErrorTarget&, const ErrorTarget&) = default;
};
/// What becomes of a snapshot's exceptions: the third word of its table.
enum class Persistence {
    none,        ///< N: they are in memory only
    persistent,  ///< P: kept on the COW device; when that is full the snapshot is invalid
    overflow,    ///< PO: the same, but a full snapshot can still be read; only writes fail
};
struct SnapshotTarget {
    LowerDevice origin;
    LowerDevice cow;
    Persistence persistence = Persistence::persistent;
    Sectors chunk;
    friend bool operator==(const SnapshotTarget&, const SnapshotTarget&) = default;
};
struct SnapshotOriginTarget {
    LowerDevice origin;
    friend bool operator==(const SnapshotOriginTarget&, const SnapshotOriginTarget&) = default;
};

using Target =
    std::variant<LinearTarget, StripedTarget, ZeroTarget, ErrorTarget, SnapshotTarget, SnapshotOriginTarget>;

struct TableLine {
    Sectors start;
    Sectors length;
    Target target;
    friend bool operator==(const TableLine&, const TableLine&) = default;
};

/// Lines of a table, in order. A disk of millions of runs may have a line for each: those that show one
/// device, zeros or errors take 32 bytes.
class TableLines {
  public:
    TableLines() = default;
    TableLines(std::initializer_list<TableLine> lines) {
        for (const TableLine& line : lines) add(line);
    }

    void add(const TableLine& line);
    void reserve(std::size_t lines) { lines_.reserve(lines); }

    std::size_t size() const { return lines_.size(); }
    bool empty() const { return lines_.empty(); }
    TableLine operator[](std::size_t index) const;
    TableLine front() const { return (*this)[0]; }
    TableLine back() const { return (*this)[size() - 1]; }
    /// Where the last one ends.
    Sectors end_of_last() const;

    class Iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = TableLine;
        using difference_type = std::ptrdiff_t;
        using pointer = const value_type*;
        using reference = value_type;
        Iterator(const TableLines& lines, std::size_t index) : lines_(&lines), index_(index) {}
        value_type operator*() const { return (*lines_)[index_]; }
        Iterator& operator++() {
            ++index_;
            return *this;
        }
        friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

      private:
        const TableLines* lines_;
        std::size_t index_;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size()}; }

    friend bool operator==(const TableLines& a, const TableLines& b) {
        return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
    }

  private:
    enum class Kind : std::uint32_t { planned, numbered, zero, error, other };
    struct Packed {
        Sectors start;
        Sectors length;
        Sectors offset;       // of a linear line
        std::uint32_t minor;  // or the planned device's index, or that of the target in others_
        std::uint32_t kind_and_major;
    };
    static_assert(sizeof(Packed) == 32);
    static constexpr unsigned kind_shift = 24;

    std::vector<Packed> lines_;
    std::vector<Target> others_;
};

/// More lines are too long for one table: the ioctl that libdevmapper would make of them is one that it
/// refuses. 500,000 linear targets loaded, a million did not.
inline constexpr std::size_t max_table_lines = 500000;

/// Lines of one disk, cut into pieces that a table can hold; each begins at 0.
class LongTable {
  public:
    void add(TableLine line) {
        if (pieces_.empty() || pieces_.back().size() == max_table_lines) {
            start_ = line.start;
            pieces_.emplace_back();
        }
        line.start = line.start - start_;
        pieces_.back().add(line);
        ++size_;
    }

    std::size_t size() const { return size_; }
    /// Where the last line ends on the disk.
    Sectors end_of_last() const {
        return pieces_.empty() ? Sectors(0) : start_ + pieces_.back().end_of_last();
    }
    std::vector<TableLines> pieces() && { return std::move(pieces_); }

  private:
    std::vector<TableLines> pieces_;
    Sectors start_;  // of the last piece, on the disk
    std::size_t size_ = 0;
};

/// How a planned device is written before it has a number, e.g. as "/dev/loop0".
using DeviceNamer = std::function<std::string(PlannedDevice)>;

/// "linear", "striped", "zero", "error", "snapshot", "snapshot-origin".
std::string_view target_type(const Target& target);
/// The words after the type, empty for zero and error. `namer` is asked for planned devices only.
std::string target_arguments(const Target& target, const DeviceNamer& namer);

/// Lines at the end of one text, for tables of a million of them. The namer is asked once for each device.
class LinePrinter {
  public:
    explicit LinePrinter(DeviceNamer namer) : namer_(std::move(namer)) {}

    /// "0 2048 linear 7:0 63"
    void append(std::string& text, const TableLine& line);
    /// "7:0 63", nothing for zero and error.
    void append_arguments(std::string& text, const Target& target);

  private:
    void append_linear(std::string& text, const TableLine& line, const LinearTarget& linear);
    void append_device(std::string& text, const LowerDevice& device);

    DeviceNamer namer_;
    std::vector<std::string> names_;  // of planned devices, empty until asked for
    // Of the linear line before: most differ in their two ends only.
    Sectors length_;
    LowerDevice device_;
    std::string middle_;
};

/// A table that starts at 0, has no gaps and is not empty, because nothing else can be made.
class Table {
  public:
    /// Throws Error (format) that names the line which breaks the rule.
    explicit Table(TableLines lines);

    /// What the kernel prints, one line each: "0 2048 linear 7:0 63". Throws Error (format).
    static Table parse(std::string_view text);

    const TableLines& lines() const { return lines_; }
    Sectors length() const { return lines_.end_of_last(); }

    /// The same table with every planned device replaced by `places[index]`. Below a snapshot is a whole
    /// device: its place starts at 0.
    Table bind(const std::vector<DevicePlace>& places) const;

    /// Lines as the kernel and dmsetup take them, separated by `separator`.
    std::string print(const DeviceNamer& namer, std::string_view separator = "\n") const;
    /// The same in pieces of some tens of kilobytes, each whole lines: a million lines are 40 MB.
    void print(const DeviceNamer& namer, const std::function<void(std::string_view)>& sink,
               std::string_view separator = "\n") const;
    /// For a table without planned devices.
    std::string print() const;

    friend bool operator==(const Table&, const Table&) = default;

  private:
    TableLines lines_;
};

}  // namespace vmdkdm
