#include "reader/map_value.h"

#include "base/concat.h"
#include "base/error.h"
#include "confine/file_server.h"

namespace vmdkdm {
namespace {

constexpr std::size_t max_reason = 16 << 10;
constexpr std::uint64_t most_grain_sectors = 65536;

// The kind of a run is in the upper byte of its length, which needs 54 bits.
constexpr unsigned kind_shift = 56;
enum class RunKind : std::uint64_t { stored, zero, compressed, unreadable };

struct RunRecord {
    std::uint64_t kind_and_length;
    std::uint64_t sector;  // of the file
    std::uint32_t where;   // index of the file, or the depth
    std::uint32_t skip_or_why;
};

struct ToRecord {
    Sectors length;
    RunRecord record(RunKind kind, std::uint64_t sector, std::uint32_t where, std::uint32_t other) const {
        return {static_cast<std::uint64_t>(kind) << kind_shift | length.count(), sector, where, other};
    }
    RunRecord operator()(const Stored& run) const {
        return record(RunKind::stored, run.sector.count(), run.file, 0);
    }
    RunRecord operator()(const Zero& run) const { return record(RunKind::zero, 0, run.depth, 0); }
    RunRecord operator()(const Compressed& run) const {
        return record(RunKind::compressed, run.sector.count(), run.file, run.skip);
    }
    RunRecord operator()(const Unreadable& run) const {
        return record(RunKind::unreadable, 0, run.depth, run.why);
    }
};

class MapDecoder {
  public:
    MapDecoder(Decoder& from, const std::vector<FilePtr>& files, std::uint32_t layers)
        : from_(from), known_files_(files), layers_(layers) {}

    BlockMap decode() {
        take_files();
        take_reasons();
        take_runs();
        return std::move(map_).build();
    }

  private:
    // What the parent knows of a file of the map.
    struct MapFile {
        Sectors end;              // whole sectors that it has
        Sectors begun;            // with the part of one at its end, where a compressed grain may lie
        std::uint64_t grain = 0;  // sectors of a compressed one; 0: it has none
    };

    void take_files() {
        const std::size_t count = from_.count(3 * sizeof(std::uint64_t), "the number of files of the map");
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t number = from_.number();
            if (number >= known_files_.size()) throw BadValue("a file of the map was not opened");
            const std::uint32_t depth = take_depth();
            const FilePtr& file = known_files_[static_cast<std::size_t>(number)];
            const std::optional<GrainLayout> grains = take_grains();
            if (map_.add_file(file, depth, grains) != i) throw BadValue("a file of the map is listed twice");
            files_.push_back({whole_sectors(file->size()),
                              whole_sectors(file->size() + Bytes(sector_size - 1)),
                              grains ? grains->grain_size.count() : 0});
        }
    }

    std::optional<GrainLayout> take_grains() {
        if (!from_.flag()) return std::nullopt;
        const GrainLayout grains{take_sectors(), take_sectors(),
                                 Sectors(from_.number(most_grain_sectors, "the size of a grain"))};
        if (grains.grain_size == Sectors(0)) throw BadValue("a grain has no sectors");
        return grains;
    }

    void take_reasons() {
        const std::size_t count = from_.count(2 * sizeof(std::uint64_t), "the number of reasons");
        for (std::size_t i = 0; i < count; ++i) {
            const auto kind = static_cast<Reason::Kind>(
                from_.number(static_cast<std::uint64_t>(Reason::Kind::damage), "the kind of a reason"));
            // Two may look the same when they are cut; the number tells them apart.
            std::string text = from_.text(max_reason);
            while (map_.add_reason({kind, text}) != i) text += concat("?", i);
            ++reasons_;
        }
    }

    void take_runs() {
        const std::size_t count = from_.count(sizeof(RunRecord), "the number of runs");
        for (std::size_t i = 0; i < count; ++i) take_run(from_.record<RunRecord>());
    }

    void take_run(const RunRecord& run) {
        const Sectors length(run.kind_and_length & ((std::uint64_t{1} << kind_shift) - 1));
        if (length == Sectors(0) || length > max_capacity || map_.length() > max_capacity - length)
            throw BadValue("a run is empty, or goes on behind the end of any disk");
        switch (static_cast<RunKind>(run.kind_and_length >> kind_shift)) {
            case RunKind::stored: {
                const MapFile& file = file_of(run);
                if (run.sector > file.end.count() || length.count() > file.end.count() - run.sector)
                    throw BadValue("a run goes on behind the end of its file");
                map_.append(length, Stored{run.where, Sectors(run.sector)});
                return;
            }
            case RunKind::zero:
                map_.append(length, Zero{depth_of(run)});
                return;
            case RunKind::compressed: {
                const MapFile& file = file_of(run);
                if (run.sector >= file.begun.count())
                    throw BadValue("a grain lies behind the end of its file");
                if (run.skip_or_why >= file.grain || length.count() > file.grain - run.skip_or_why)
                    throw BadValue("a run goes on behind the end of its grain");
                map_.append(length, Compressed{run.where, run.skip_or_why, Sectors(run.sector)});
                return;
            }
            case RunKind::unreadable:
                if (run.skip_or_why >= reasons_) throw BadValue("a run has a reason that there is not");
                map_.append(length, Unreadable{depth_of(run), run.skip_or_why});
                return;
        }
        throw BadValue("there is no such kind of run");
    }

    const MapFile& file_of(const RunRecord& run) const {
        if (run.where >= files_.size()) throw BadValue("a run lies in a file that the map has not");
        return files_[run.where];
    }

    std::uint32_t depth_of(const RunRecord& run) const {
        if (run.where >= layers_) throw BadValue("a run is of a layer that there is not");
        return run.where;
    }

    std::uint32_t take_depth() {
        return static_cast<std::uint32_t>(from_.number(layers_ - std::uint64_t{1}, "the layer of a file"));
    }
    Sectors take_sectors() { return Sectors(from_.number(max_capacity.count(), "a number of sectors")); }

    Decoder& from_;
    const std::vector<FilePtr>& known_files_;
    std::uint32_t layers_;
    BlockMap::Builder map_;
    std::vector<MapFile> files_;
    std::uint32_t reasons_ = 0;
};

}  // namespace

void encode_map(Encoder& to, const BlockMap& map,
                const std::function<std::uint64_t(const File&)>& number_of) {
    to.number(map.files().size());
    for (const MappedFile& mapped : map.files()) {
        to.number(number_of(*mapped.file));
        to.number(mapped.depth);
        to.number(mapped.grains ? 1 : 0);
        if (!mapped.grains) continue;
        to.number(mapped.grains->extent_start.count());
        to.number(mapped.grains->extent_size.count());
        to.number(mapped.grains->grain_size.count());
    }
    to.number(map.reasons().size());
    for (const Reason& reason : map.reasons()) {
        to.number(static_cast<std::uint64_t>(reason.kind));
        to.text(std::string_view(reason.text).substr(0, max_reason));
    }
    to.number(map.size());
    for (const Run& run : map) to.record(std::visit(ToRecord{run.length}, run.content));
}

BlockMap decode_map(Decoder& from, const std::vector<FilePtr>& files, std::uint32_t layers) {
    return MapDecoder(from, files, layers).decode();
}

}  // namespace vmdkdm
