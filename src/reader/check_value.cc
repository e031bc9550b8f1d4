#include "reader/check_value.h"

namespace vmdkdm {
namespace {

constexpr std::size_t max_path = 8 << 10;
constexpr std::size_t max_text = 16 << 10;

void encode_findings(Encoder& to, const FindingList& list) {
    to.number(list.counts().size());
    for (const auto& [kind, count] : list.counts()) {
        to.number(static_cast<std::uint64_t>(kind));
        to.number(count);
    }
    to.number(list.kept().size());
    for (const Finding& finding : list.kept()) {
        to.number(static_cast<std::uint64_t>(finding.kind));
        to.text(std::string_view(finding.file).substr(0, max_path));
        to.number(finding.offset.count());
        to.text(std::string_view(finding.text).substr(0, max_text));
    }
}

FindingKind decode_kind(Decoder& from) {
    return static_cast<FindingKind>(
        from.number(static_cast<std::uint64_t>(FindingKind::unused), "the kind of a finding"));
}

// A list that says how many were found as FindingList itself would.
void decode_findings(Decoder& from, FindingList& list) {
    std::map<FindingKind, std::uint64_t> counts;
    for (std::size_t left = from.count(2 * sizeof(std::uint64_t), "the kinds of findings"); left > 0;
         --left) {
        const FindingKind kind = decode_kind(from);
        if (!counts.emplace(kind, from.number()).second) throw BadValue("a kind of findings is there twice");
    }
    std::map<FindingKind, std::uint64_t> kept;
    for (std::size_t left = from.count(4 * sizeof(std::uint64_t), "the number of findings"); left > 0;
         --left) {
        const FindingKind kind = decode_kind(from);
        const std::string file = from.text(max_path);
        const Bytes offset(from.number());
        list.add(kind, file, offset, [text = from.text(max_text)] { return text; });
        ++kept[kind];
    }
    for (const auto& [kind, count] : kept)
        if (!counts.contains(kind) || count != std::min(counts[kind], max_findings_of_a_kind))
            throw BadValue("findings are not as many as they are said to be");
    for (const auto& [kind, count] : counts) {
        if (count == 0 || !kept.contains(kind)) throw BadValue("a kind of findings has none");
        list.count_more(kind, count - kept[kind]);
    }
}

}  // namespace

void encode_report(Encoder& to, const CheckedImage& checked) {
    to.text(checked.path);
    to.number(checked.chain.images.size());
    to.number(checked.files);
    encode_findings(to, checked.findings.faults);
    encode_findings(to, checked.findings.notes);
}

CheckReport decode_report(Decoder& from) {
    CheckReport report;
    report.path = from.text(max_path);
    report.layers = static_cast<std::size_t>(from.number(max_links, "the number of layers"));
    report.files = static_cast<std::size_t>(from.number());
    decode_findings(from, report.findings.faults);
    decode_findings(from, report.findings.notes);
    return report;
}

}  // namespace vmdkdm
