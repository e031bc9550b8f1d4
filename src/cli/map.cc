// vmdk-dm map: where every byte of the disk comes from.
#include <algorithm>
#include <memory>

#include "base/concat.h"
#include "base/escaped.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/overlaid_image.h"
#include "cli/printer.h"
#include "compact/damage.h"

namespace vmdkdm {
namespace {

struct MapOptions {
    ImageOptions image;
    OverlayToRead overlay;
    bool deep = false;
    bool json = false;
};

std::string_view kind_of(const Content& content) {
    struct Kind {
        std::string_view operator()(const Stored&) const { return "data"; }
        std::string_view operator()(const Zero&) const { return "zero"; }
        std::string_view operator()(const Compressed&) const { return "compressed"; }
        std::string_view operator()(const Unreadable&) const { return "unreadable"; }
    };
    return std::visit(Kind{}, content);
}

// Text for standard output, handed over in large pieces: a map may have a million lines. Names in it are
// escaped already, once each.
class Lines {
  public:
    template <class... Parts>
    void add(const Parts&... parts) {
        append_parts(text_, parts...);
        if (text_.size() >= piece) write();
    }
    template <class Cell>
    void add_right(const Cell& cell, std::size_t width) {
        const std::size_t begin = text_.size();
        append_part(text_, cell);
        const std::size_t length = text_.size() - begin;
        if (length < width) text_.insert(begin, width - length, ' ');
    }
    void add_left(std::string_view cell, std::size_t width) {
        text_ += cell;
        if (cell.size() < width) text_.append(width - cell.size(), ' ');
    }
    void end() { write(); }

  private:
    static constexpr std::size_t piece = 1 << 16;

    void write() {
        out().lines(text_);
        text_.clear();
    }

    std::string text_;
};

// Where the run's bytes are stored, if they are.
struct Place {
    const FileIndex* file = nullptr;
    Bytes offset;
};

Place place_of(const Content& content) {
    if (const auto* stored = std::get_if<Stored>(&content)) return {&stored->file, to_bytes(stored->sector)};
    if (const auto* compressed = std::get_if<Compressed>(&content))
        return {&compressed->file, to_bytes(compressed->sector)};
    return {};
}

// The objects by hand, as a document of a million of them takes gigabytes and seconds; the library writes the
// strings.
class JsonPrinter {
  public:
    explicit JsonPrinter(const BlockMap& map) : map_(map) {
        for (const MappedFile& mapped : map.files())
            files_.push_back(compact_json(Json(mapped.file->path())));
        for (const Reason& reason : map.reasons()) reasons_.push_back(compact_json(Json(reason.text)));
    }

    void print() {
        std::string_view separator = "[\n  {\"start\":";
        for (const Run& run : map_) {
            lines_.add(separator, to_bytes(run.start).count());
            if (const auto* stored = std::get_if<Stored>(&run.content))
                add_stored(run.length, *stored);
            else
                add_other(run);
            separator = "},\n  {\"start\":";
        }
        lines_.add(map_.size() == 0 ? "[" : "}", "\n]\n");
        lines_.end();
    }

  private:
    void add_stored(Sectors length, Stored stored) {
        // Most differ from the one before in their two ends only.
        if (middle_.empty() || length != length_ || stored.file != file_) {
            length_ = length;
            file_ = stored.file;
            middle_ = middle(length, stored, files_[file_]);
        }
        lines_.add(middle_, to_bytes(stored.sector).count());
    }

    void add_other(const Run& run) {
        if (const auto* compressed = std::get_if<Compressed>(&run.content))
            lines_.add(middle(run.length, run.content, files_[compressed->file]),
                       to_bytes(compressed->sector).count(),
                       ",\"skip\":", to_bytes(Sectors(compressed->skip)).count());
        else if (const auto* unreadable = std::get_if<Unreadable>(&run.content))
            lines_.add(middle(run.length, run.content), ",\"why\":", reasons_[unreadable->why]);
        else
            lines_.add(middle(run.length, run.content));
    }

    // From after the start up to the offset, if there is one.
    std::string middle(Sectors length, const Content& content, std::string_view file = {}) const {
        std::string text = concat(",\"length\":", to_bytes(length).count(), ",\"kind\":\"", kind_of(content),
                                  "\",\"depth\":", depth_of(map_, content));
        if (!file.empty()) append_parts(text, ",\"file\":", file, ",\"offset\":");
        return text;
    }

    const BlockMap& map_;
    std::vector<std::string> files_, reasons_;
    Lines lines_;
    Sectors length_;
    FileIndex file_ = 0;
    std::string middle_;
};

// The columns before the last one, as wide as their widest cells.
struct Widths {
    std::size_t start = 5, length = 6, kind = 4, depth = 5, offset = 6;
};

Widths widths_of(const BlockMap& map) {
    Widths widths;
    std::uint64_t start = 0, length = 0, depth = 0, offset = 0;
    for (const Run& run : map) {
        start = to_bytes(run.start).count();
        length = std::max(length, to_bytes(run.length).count());
        widths.kind = std::max(widths.kind, kind_of(run.content).size());
        depth = std::max<std::uint64_t>(depth, depth_of(map, run.content));
        offset = std::max(offset, place_of(run.content).offset.count());
    }
    const auto digits = [](std::uint64_t number) { return concat(number).size(); };
    widths.start = std::max(widths.start, digits(start));
    widths.length = std::max(widths.length, digits(length));
    widths.depth = std::max(widths.depth, digits(depth));
    widths.offset = std::max(widths.offset, digits(offset));
    return widths;
}

// Two passes instead of a TextTable: the cells of a million runs take a gigabyte.
void print_as_text(const BlockMap& map) {
    const Widths widths = widths_of(map);
    std::vector<std::string> files, reasons;
    for (const MappedFile& mapped : map.files()) files.push_back(escaped(mapped.file->path()));
    for (const Reason& reason : map.reasons()) reasons.push_back(escaped(reason.text));
    Lines lines;
    const auto add_row = [&](const auto& start, const auto& length, std::string_view kind, const auto& depth,
                             const auto& offset, const auto&... last) {
        lines.add_right(start, widths.start);
        lines.add("  ");
        lines.add_right(length, widths.length);
        lines.add("  ");
        lines.add_left(kind, widths.kind);
        lines.add("  ");
        lines.add_right(depth, widths.depth);
        lines.add("  ");
        lines.add_right(offset, widths.offset);
        lines.add("  ", last..., '\n');
    };
    add_row("START", "LENGTH", "KIND", "DEPTH", "OFFSET", "FILE");
    for (const Run& run : map) {
        const std::uint64_t start = to_bytes(run.start).count();
        const std::uint64_t length = to_bytes(run.length).count();
        const std::string_view kind = kind_of(run.content);
        const std::uint32_t depth = depth_of(map, run.content);
        const Place place = place_of(run.content);
        if (place.file != nullptr)
            add_row(start, length, kind, depth, place.offset.count(), files[*place.file]);
        else if (const auto* unreadable = std::get_if<Unreadable>(&run.content))
            add_row(start, length, kind, depth, '-', '(', reasons[unreadable->why], ')');
        else
            add_row(start, length, kind, depth, '-', '-');
    }
    lines.end();
}

void run(const MapOptions& options) {
    OpenImage opened = open_image(options.image);
    const auto overlay = lay_over(options.overlay, opened);
    print_notes(opened.notes);
    if (options.deep) {
        SilentProgress progress;
        opened.map = with_damage(opened.map, find_damage(opened.map, progress));
    }
    if (options.json)
        JsonPrinter(opened.map).print();
    else
        print_as_text(opened.map);
}

}  // namespace

void add_map_command(Command& app) {
    Command command = app.add_command("map", "Show where every byte of the disk is stored");
    const auto options = std::make_shared<MapOptions>();
    add_image_options(command, options->image);
    add_overlay_to_read(command, options->overlay);
    command.add_flag("--deep", options->deep,
                     "Read every compressed grain; those that do not inflate are unreadable");
    command.add_flag("--json", options->json, "Print a JSON array, one object a run, in bytes");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
