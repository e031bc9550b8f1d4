#include "cli/output.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>

#include "base/concat.h"
#include "base/escaped.h"
#include "cli/few_notes.h"
#include "cli/printer.h"

template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace vmdkdm {
namespace {

// Characters, not bytes: names may be UTF-8.
std::size_t width_of(const std::string& cell) {
    return static_cast<std::size_t>(std::count_if(
        cell.begin(), cell.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

void print_json(const Json& value) {
    out().lines(escaped_json(value.dump(2, ' ', false, Json::error_handler_t::replace))) << "\n";
}

std::string compact_json(const Json& value) {
    return escaped_json(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void print_notes(const std::vector<std::string>& notes) {
    for (const std::string& note : few_of_each_kind(notes)) err() << "vmdk-dm: note: " << note << "\n";
}

TextTable::TextTable(const std::vector<std::pair<std::string, Align>>& header) {
    std::vector<std::string> titles;
    for (const auto& [title, align] : header) {
        titles.push_back(title);
        align_.push_back(align);
    }
    rows_.push_back(std::move(titles));
}

void TextTable::add(std::vector<std::string> row) {
    for (std::string& cell : row) cell = escaped(cell);
    rows_.push_back(std::move(row));
}

void TextTable::print(std::size_t indent) const {
    std::vector<std::size_t> widths(align_.size(), 0);
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    for (const auto& row : rows_) {
        std::string line(indent, ' ');
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(widths[i] - width_of(row[i]), ' ');
            line += align_[i] == Align::right ? padding + row[i] : row[i] + padding;
            line += "  ";
        }
        line.resize(line.find_last_not_of(' ') + 1);
        out() << line << "\n";
    }
}

std::string counted(std::uint64_t count, std::string_view word) {
    return concat(count, " ", word, count == 1 ? "" : "s");
}

}  // namespace vmdkdm
