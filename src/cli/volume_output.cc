#include "cli/volume_output.h"

#include "base/concat.h"

namespace vmdkdm {
namespace {

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return or_dash(text);
}

// `branch` is drawn before the name, `trunk` before the names of its children.
void add_rows(const Volume& volume, const std::string& branch, const std::string& trunk, TextTable& table) {
    const VolumeContent content = volume.content.value_or(VolumeContent{});
    table.add({branch + volume.name, std::string(to_string(volume.kind)), human_size(volume.size),
               or_dash(content.type), or_dash(content.usage), or_dash(content.label), or_dash(content.uuid),
               joined(volume.mount_points)});
    for (const Volume& child : volume.children) {
        const bool last = &child == &volume.children.back();
        add_rows(child, trunk + (last ? "\u2514\u2500" : "\u251c\u2500"), trunk + (last ? "  " : "\u2502 "),
                 table);
    }
}

}  // namespace

std::string_view json_word(VolumeKind kind) {
    switch (kind) {
        case VolumeKind::disk:
            return "disk";
        case VolumeKind::partition:
            return "partition";
        case VolumeKind::logical_volume:
            return "logicalVolume";
        case VolumeKind::crypt:
            return "crypt";
        case VolumeKind::array:
            return "array";
        case VolumeKind::other:
            break;
    }
    return "other";
}

Json as_json(const Volume& volume, bool for_the_moment) {
    const VolumeContent content = volume.content.value_or(VolumeContent{});
    Json children = Json::array();
    for (const Volume& child : volume.children) children.push_back(as_json(child, for_the_moment));
    return {{"name", volume.name},
            {"kind", json_word(volume.kind)},
            {"path", for_the_moment ? Json(nullptr) : Json(volume.path)},
            {"number", volume.partition_number ? Json(*volume.partition_number) : Json(nullptr)},
            {"size", volume.size.count()},
            {"readOnly", volume.read_only},
            {"type", or_null(content.type)},
            {"usage", or_null(content.usage)},
            {"version", or_null(content.version)},
            {"label", or_null(content.label)},
            {"uuid", or_null(content.uuid)},
            {"mounts", volume.mount_points},
            {"children", children}};
}

void print_tree(const Volume& volume) {
    using enum TextTable::Align;
    TextTable table({{"NAME", left},
                     {"KIND", left},
                     {"SIZE", right},
                     {"TYPE", left},
                     {"USAGE", left},
                     {"LABEL", left},
                     {"UUID", left},
                     {"MOUNTED", left}});
    add_rows(volume, "", "", table);
    table.print();
}

}  // namespace vmdkdm
