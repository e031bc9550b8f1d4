#include "dm/table.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
    using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// One line of a table, word by word.
std::string_view word_for(Persistence persistence) {
    switch (persistence) {
        case Persistence::none:
            return "N";
        case Persistence::persistent:
            return "P";
        case Persistence::overflow:
            break;
    }
    return "PO";
}

class LineParser {
  public:
    explicit LineParser(std::string_view line) : line_(line), rest_(line) {}

    TableLine parse() {
        const Sectors start(number());
        const Sectors length(number());
        TableLine line{start, length, target(word())};
        if (!word().empty()) fail();
        return line;
    }

  private:
    Target target(std::string_view type) {
        if (type == "zero") return ZeroTarget{};
        if (type == "error") return ErrorTarget{};
        if (type == "linear") return linear();
        if (type == "striped") return striped();
        if (type == "snapshot-origin") return SnapshotOriginTarget{device()};
        if (type == "snapshot") {
            const DeviceNumber origin = device();
            const DeviceNumber cow = device();
            const Persistence kept = persistence(word());
            return SnapshotTarget{origin, cow, kept, Sectors(number())};
        }
        fail();
    }

    Persistence persistence(std::string_view text) const {
        for (const Persistence one : {Persistence::none, Persistence::persistent, Persistence::overflow})
            if (text == word_for(one)) return one;
        fail();
    }

    LinearTarget linear() {
        const DeviceNumber lower = device();
        return {lower, Sectors(number())};
    }

    StripedTarget striped() {
        const std::uint64_t count = number();
        StripedTarget target{Sectors(number()), {}};
        // Not reserved: a line that promises a million stripes is refused where its words end.
        for (std::uint64_t i = 0; i < count; ++i) target.stripes.push_back(linear());
        if (target.stripes.empty()) fail();
        return target;
    }

    std::string_view word() {
        rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
        const std::string_view found = rest_.substr(0, rest_.find(' '));
        rest_.remove_prefix(found.size());
        return found;
    }

    template <class Number>
    Number whole(std::string_view text) {
        Number value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size()) fail();
        return value;
    }
    std::uint64_t number() { return whole<std::uint64_t>(word()); }

    DeviceNumber device() {
        const std::string_view text = word();
        const std::size_t colon = text.find(':');
        if (colon == std::string_view::npos) fail();
        return {whole<unsigned>(text.substr(0, colon)), whole<unsigned>(text.substr(colon + 1))};
    }

    [[noreturn]] void fail() const {
        throw Error(ErrorKind::format,
                    concat("not a device-mapper table line that is known here: '", line_, "'"));
    }

    std::string_view line_;
    std::string_view rest_;
};

}  // namespace

std::string to_string(DeviceNumber device) { return concat(device.major, ":", device.minor); }

std::string_view target_type(const Target& target) {
    return std::visit(
        Overloaded{[](const LinearTarget&) { return "linear"; },
                   [](const StripedTarget&) { return "striped"; }, [](const ZeroTarget&) { return "zero"; },
                   [](const ErrorTarget&) { return "error"; },
                   [](const SnapshotTarget&) { return "snapshot"; },
                   [](const SnapshotOriginTarget&) { return "snapshot-origin"; }},
        target);
}

std::string target_arguments(const Target& target, const DeviceNamer& namer) {
    std::string text;
    LinePrinter(namer).append_arguments(text, target);
    return text;
}

void LinePrinter::append(std::string& text, const TableLine& line) {
    if (const auto* linear = std::get_if<LinearTarget>(&line.target)) {
        append_linear(text, line, *linear);
        return;
    }
    append_parts(text, line.start.count(), ' ', line.length.count(), ' ', target_type(line.target), ' ');
    const std::size_t before = text.size();
    append_arguments(text, line.target);
    if (text.size() == before) text.pop_back();
}

void LinePrinter::append_linear(std::string& text, const TableLine& line, const LinearTarget& linear) {
    if (middle_.empty() || line.length != length_ || linear.device != device_) {
        length_ = line.length;
        device_ = linear.device;
        middle_ = concat(' ', length_.count(), " linear ");
        append_device(middle_, device_);
        middle_ += ' ';
    }
    append_parts(text, line.start.count(), middle_, linear.offset.count());
}

void LinePrinter::append_arguments(std::string& text, const Target& target) {
    std::visit(Overloaded{[&](const LinearTarget& linear) {
                              append_device(text, linear.device);
                              append_parts(text, ' ', linear.offset.count());
                          },
                          [&](const StripedTarget& striped) {
                              append_parts(text, striped.stripes.size(), ' ', striped.chunk.count());
                              for (const LinearTarget& stripe : striped.stripes) {
                                  text += ' ';
                                  append_device(text, stripe.device);
                                  append_parts(text, ' ', stripe.offset.count());
                              }
                          },
                          [](const ZeroTarget&) {}, [](const ErrorTarget&) {},
                          [&](const SnapshotTarget& snapshot) {
                              append_device(text, snapshot.origin);
                              text += ' ';
                              append_device(text, snapshot.cow);
                              append_parts(text, ' ', word_for(snapshot.persistence), ' ',
                                           snapshot.chunk.count());
                          },
                          [&](const SnapshotOriginTarget& origin) { append_device(text, origin.origin); }},
               target);
}

void LinePrinter::append_device(std::string& text, const LowerDevice& device) {
    if (const auto* number = std::get_if<DeviceNumber>(&device)) {
        append_parts(text, number->major, ':', number->minor);
        return;
    }
    const PlannedDevice planned = std::get<PlannedDevice>(device);
    if (planned.index >= names_.size()) names_.resize(std::size_t{planned.index} + 1);
    std::string& name = names_[planned.index];
    if (name.empty()) name = namer_(planned);
    text += name;
}

void TableLines::add(const TableLine& line) {
    constexpr std::uint32_t most_majors = std::uint32_t{1} << kind_shift;  // the kernel's have twelve bits
    Packed packed{line.start, line.length, Sectors(0), 0, 0};
    const auto set = [&packed](Kind kind, std::uint32_t major, std::uint32_t minor) {
        packed.kind_and_major = static_cast<std::uint32_t>(kind) << kind_shift | major;
        packed.minor = minor;
    };
    const auto* const linear = std::get_if<LinearTarget>(&line.target);
    if (linear != nullptr) packed.offset = linear->offset;
    const auto* const planned = linear == nullptr ? nullptr : std::get_if<PlannedDevice>(&linear->device);
    const auto* const number = linear == nullptr ? nullptr : std::get_if<DeviceNumber>(&linear->device);
    if (planned != nullptr) {
        set(Kind::planned, 0, planned->index);
    } else if (number != nullptr && number->major < most_majors) {
        set(Kind::numbered, number->major, number->minor);
    } else if (std::holds_alternative<ZeroTarget>(line.target)) {
        set(Kind::zero, 0, 0);
    } else if (std::holds_alternative<ErrorTarget>(line.target)) {
        set(Kind::error, 0, 0);
    } else {
        set(Kind::other, 0, static_cast<std::uint32_t>(others_.size()));
        others_.push_back(line.target);
    }
    lines_.push_back(packed);
}

TableLine TableLines::operator[](std::size_t index) const {
    const Packed& packed = lines_[index];
    const std::uint32_t major = packed.kind_and_major & ((std::uint32_t{1} << kind_shift) - 1);
    switch (static_cast<Kind>(packed.kind_and_major >> kind_shift)) {
        case Kind::planned:
            return {packed.start, packed.length, LinearTarget{PlannedDevice{packed.minor}, packed.offset}};
        case Kind::numbered:
            return {packed.start, packed.length,
                    LinearTarget{DeviceNumber{major, packed.minor}, packed.offset}};
        case Kind::zero:
            return {packed.start, packed.length, ZeroTarget{}};
        case Kind::error:
            return {packed.start, packed.length, ErrorTarget{}};
        case Kind::other:
            break;
    }
    return {packed.start, packed.length, others_[packed.minor]};
}

Sectors TableLines::end_of_last() const {
    return lines_.empty() ? Sectors(0) : lines_.back().start + lines_.back().length;
}

Table::Table(TableLines lines) : lines_(std::move(lines)) {
    if (lines_.empty()) throw Error(ErrorKind::format, "a device-mapper table needs at least one line");
    Sectors next;
    for (const TableLine& line : lines_) {
        if (line.start != next || line.length == Sectors(0))
            throw Error(ErrorKind::format, concat("table line at sector ", line.start.count(), " of length ",
                                                  line.length.count(), ": expected one that starts at ",
                                                  next.count(), " and is not empty"));
        if (line.length > Sectors(std::numeric_limits<std::uint64_t>::max()) - next)
            throw Error(ErrorKind::format, concat("table line at sector ", line.start.count(), " of length ",
                                                  line.length.count(), ": no device is that long"));
        next += line.length;
    }
}

Table Table::parse(std::string_view text) {
    TableLines lines;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.find_first_not_of(' ') != std::string_view::npos) lines.add(LineParser(line).parse());
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return Table(std::move(lines));
}

Table Table::bind(const std::vector<DevicePlace>& places) const {
    const auto resolve = [&places](LowerDevice& device) {
        const auto* planned = std::get_if<PlannedDevice>(&device);
        if (planned == nullptr) return Sectors(0);
        const DevicePlace& place = places.at(planned->index);
        device = place.device;
        return place.start;
    };
    const auto resolve_linear = [&resolve](LinearTarget& linear) { linear.offset += resolve(linear.device); };
    TableLines bound;
    bound.reserve(lines_.size());
    for (TableLine line : lines_) {
        std::visit(Overloaded{resolve_linear,
                              [&](StripedTarget& striped) {
                                  for (LinearTarget& stripe : striped.stripes) resolve_linear(stripe);
                              },
                              [](ZeroTarget&) {}, [](ErrorTarget&) {},
                              [&](SnapshotTarget& snapshot) {
                                  resolve(snapshot.origin);
                                  resolve(snapshot.cow);
                              },
                              [&](SnapshotOriginTarget& origin) { resolve(origin.origin); }},
                   line.target);
        bound.add(line);
    }
    return Table(std::move(bound));
}

std::string Table::print(const DeviceNamer& namer, std::string_view separator) const {
    std::string text;
    print(
        namer, [&text](std::string_view piece) { text += piece; }, separator);
    return text;
}

void Table::print(const DeviceNamer& namer, const std::function<void(std::string_view)>& sink,
                  std::string_view separator) const {
    constexpr std::size_t enough = 1 << 16;
    LinePrinter printer(namer);
    std::string text;
    for (const TableLine& line : lines_) {
        if (line.start != Sectors(0)) text += separator;
        printer.append(text, line);
        if (text.size() >= enough) {
            sink(text);
            text.clear();
        }
    }
    sink(text);
}

std::string Table::print() const {
    return print([](PlannedDevice device) { return concat("#", device.index); });
}

}  // namespace vmdkdm
