// vmdk-dm info: what the descriptor says. Opens nothing but the descriptor.
#include <charconv>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/first_of_each.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "reader/confined_reader.h"

namespace vmdkdm {
namespace {

struct InfoOptions {
    ImageOptions image;
    bool chain = false;
    bool json = false;
};

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }
Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

Json number_or_null(const std::optional<std::string>& text) {
    std::uint64_t value = 0;
    if (!text) return nullptr;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    return error == std::errc() && end == text->data() + text->size() ? Json(value) : Json(nullptr);
}

bool stores_bytes(const ExtentDescriptor& extent) { return !extent.file_name.empty(); }

Json extent_as_json(const ExtentDescriptor& extent, Sectors start) {
    Json json = {{"start", to_bytes(start).count()},   {"size", to_bytes(extent.size).count()},
                 {"access", to_string(extent.access)}, {"type", to_string(extent.type)},
                 {"file", or_null(extent.file_name)},  {"offset", nullptr}};
    if (stores_bytes(extent)) json["offset"] = to_bytes(extent.offset).count();
    return json;
}

Json geometry_of(const DiskDatabase& ddb) {
    const auto cylinders = ddb.get("geometry.cylinders");
    const auto heads = ddb.get("geometry.heads");
    const auto sectors = ddb.get("geometry.sectors");
    if (!cylinders && !heads && !sectors) return nullptr;
    return {{"cylinders", number_or_null(cylinders)},
            {"heads", number_or_null(heads)},
            {"sectors", number_or_null(sectors)}};
}

// Of a key that is there twice the first value counts. Json itself would look through all keys for each.
Json ddb_as_json(const DiskDatabase& ddb) {
    Json json = Json::object();
    auto& members = json.get_ref<Json::object_t&>();
    for (const KeyValue* entry : first_of_each_key(ddb.entries()))
        members.emplace_back(entry->first, entry->second);
    return json;
}

Json image_as_json(const Image& image) {
    const Descriptor& descriptor = image.descriptor;
    Json extents = Json::array();
    Sectors start;
    for (const ExtentDescriptor& extent : descriptor.extents) {
        extents.push_back(extent_as_json(extent, start));
        start += extent.size;
    }
    return {{"image", image.file->path()},
            {"createType", or_null(descriptor.create_type)},
            {"version", descriptor.version},
            {"capacity", to_bytes(descriptor.capacity()).count()},
            {"CID", to_string(descriptor.cid)},
            {"parentCID", descriptor.has_parent() ? Json(to_string(descriptor.parent_cid)) : Json(nullptr)},
            {"parentFileNameHint", or_null(descriptor.parent_file_name_hint)},
            {"encoding", or_null(descriptor.encoding)},
            {"adapterType", or_null(descriptor.ddb.get("adapterType"))},
            {"hardwareVersion", number_or_null(descriptor.ddb.get("virtualHWVersion"))},
            {"geometry", geometry_of(descriptor.ddb)},
            {"extents", extents},
            {"ddb", ddb_as_json(descriptor.ddb)}};
}

void print_line(std::string_view label, const std::string& value) {
    if (!value.empty()) out() << label << std::string(18 - label.size(), ' ') << value << "\n";
}

void print_as_text(const Image& image) {
    const Descriptor& descriptor = image.descriptor;
    const DiskDatabase& ddb = descriptor.ddb;
    const auto value = [&ddb](std::string_view key) { return ddb.get(key).value_or(""); };
    const Bytes capacity = to_bytes(descriptor.capacity());
    print_line("Image:", image.file->path());
    print_line("Create type:", descriptor.create_type);
    print_line("Capacity:", concat(capacity.count(), " bytes (", human_size(capacity), ")"));
    print_line("CID:", to_string(descriptor.cid));
    print_line("Parent CID:", descriptor.has_parent() ? to_string(descriptor.parent_cid) : "none");
    print_line("Parent hint:", descriptor.parent_file_name_hint);
    print_line("Encoding:", descriptor.encoding);
    print_line("Adapter:", value("adapterType"));
    if (ddb.get("geometry.cylinders"))
        print_line("Geometry:", concat(value("geometry.cylinders"), " cylinders, ", value("geometry.heads"),
                                       " heads, ", value("geometry.sectors"), " sectors"));
    print_line("Hardware version:", value("virtualHWVersion"));
    print_line("Sector size:", value("logicalSectorSize"));

    out() << "Extents:\n";
    using enum TextTable::Align;
    TextTable table({{"START", right},
                     {"SIZE", right},
                     {"ACCESS", left},
                     {"TYPE", left},
                     {"OFFSET", right},
                     {"FILE", left}});
    Sectors start;
    for (const ExtentDescriptor& extent : descriptor.extents) {
        table.add({concat(to_bytes(start).count()), concat(to_bytes(extent.size).count()),
                   std::string(to_string(extent.access)), std::string(to_string(extent.type)),
                   stores_bytes(extent) ? concat(to_bytes(extent.offset).count()) : "-",
                   stores_bytes(extent) ? extent.file_name : "-"});
        start += extent.size;
    }
    table.print(2);
}

void print_chain(const ImageChain& chain, bool json) {
    if (json) {
        Json list = Json::array();
        for (const Image& image : chain.images) list.push_back(image_as_json(image));
        print_json(list);
        return;
    }
    for (std::size_t i = 0; i < chain.images.size(); ++i) {
        if (i > 0) out() << "\n";
        out() << "Layer:            " << i << "\n";
        print_as_text(chain.images[i]);
    }
}

void run(const InfoOptions& options) {
    const std::string& path = options.image.image;
    ConfinedOpener opener(open_rules(options.image));
    with_context(concat("cannot open '", path, "'"), [&] {
        const ChainRules rules = options.chain ? chain_rules(options.image) : ChainRules();
        const auto [chain, broken, notes] = read_descriptors_confined(path, opener, rules, options.chain);
        print_notes(notes);
        if (options.chain)
            print_chain(chain, options.json);
        else
            options.json ? print_json(image_as_json(chain.images.front()))
                         : print_as_text(chain.images.front());
        if (broken) {
            out().flush();
            std::rethrow_exception(broken);
        }
    });
}

}  // namespace

void add_info_command(Command& app) {
    Command command = app.add_command("info", "Show what an image's descriptor says");
    const auto options = std::make_shared<InfoOptions>();
    add_image_options(command, options->image);
    command.add_flag("--chain", options->chain, "Show the parents of a snapshot too, down to the base");
    command.add_flag("--json", options->json, "Print one JSON object; with --chain an array of them");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
