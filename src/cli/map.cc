// vmdk-dm map: where every byte of the disk comes from.
#include <iostream>
#include <memory>

#include "base/concat.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "compact/damage.h"

namespace vmdkdm {
namespace {

struct MapOptions {
    ImageOptions image;
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

// Where the run's bytes are stored, if they are.
struct Place {
    const File* file = nullptr;
    Bytes offset;
    std::string why;
};

Place place_of(const BlockMap& map, const Content& content) {
    if (const auto* stored = std::get_if<Stored>(&content))
        return {map.files()[stored->file].file.get(), to_bytes(stored->sector), ""};
    if (const auto* compressed = std::get_if<Compressed>(&content))
        return {map.files()[compressed->file].file.get(), to_bytes(compressed->sector), ""};
    if (const auto* unreadable = std::get_if<Unreadable>(&content))
        return {nullptr, {}, map.reasons()[unreadable->why].text};
    return {};
}

void print_as_json(const BlockMap& map) {
    std::string separator = "[\n  ";
    for (const Run& run : map) {
        const Place place = place_of(map, run.content);
        Json json = {{"start", to_bytes(run.start).count()},
                     {"length", to_bytes(run.length).count()},
                     {"kind", kind_of(run.content)},
                     {"depth", depth_of(map, run.content)}};
        if (place.file != nullptr) {
            json["file"] = place.file->path();
            json["offset"] = place.offset.count();
        }
        if (const auto* compressed = std::get_if<Compressed>(&run.content))
            json["skip"] = to_bytes(Sectors(compressed->skip)).count();
        if (!place.why.empty()) json["why"] = place.why;
        std::cout << separator << compact_json(json);
        separator = ",\n  ";
    }
    std::cout << "\n]\n";
}

void print_as_text(const BlockMap& map) {
    using enum TextTable::Align;
    TextTable table({{"START", right},
                     {"LENGTH", right},
                     {"KIND", left},
                     {"DEPTH", right},
                     {"OFFSET", right},
                     {"FILE", left}});
    for (const Run& run : map) {
        const Place place = place_of(map, run.content);
        table.add({concat(to_bytes(run.start).count()), concat(to_bytes(run.length).count()),
                   std::string(kind_of(run.content)), concat(depth_of(map, run.content)),
                   place.file != nullptr ? concat(place.offset.count()) : "-",
                   place.file != nullptr ? place.file->path()
                   : place.why.empty()   ? "-"
                                         : concat("(", place.why, ")")});
    }
    table.print();
}

void run(const MapOptions& options) {
    OpenImage opened = open_image(options.image);
    print_notes(opened.notes);
    if (options.deep) {
        SilentProgress progress;
        opened.map = with_damage(opened.map, find_damage(opened.map, progress));
    }
    options.json ? print_as_json(opened.map) : print_as_text(opened.map);
}

}  // namespace

void add_map_command(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("map", "Show where every byte of the disk is stored");
    const auto options = std::make_shared<MapOptions>();
    add_image_options(command, options->image);
    command.add_flag("--deep", options->deep,
                     "Read every compressed grain; those that do not inflate are unreadable");
    command.add_flag("--json", options->json, "Print a JSON array, one object a run, in bytes");
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
