#include "cli/materialise.h"

#include <algorithm>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/hash_output.h"
#include "cli/planned_file.h"

namespace vmdkdm {
namespace {

bool is_compressed(const Run& run) { return std::holds_alternative<Compressed>(run.content); }

std::optional<Extract> extract_for(const BlockMap& map, const PlanShapeOptions& shape) {
    if (shape.in_place) return std::nullopt;
    if (shape.strategy == "materialise") return Extract::everything;
    if (std::any_of(map.begin(), map.end(), is_compressed)) return Extract::compressed;
    return std::nullopt;
}

}  // namespace

Json as_json(const std::optional<CopyStep>& step) {
    if (!step) return nullptr;
    return {{"file", step->path}, {"bytes", step->bytes.count()}, {"cached", step->reused}};
}

std::optional<CopyStep> materialise(OpenImage& opened, const PlanShapeOptions& shape, const Cache& cache,
                                    const MaterialiseOptions& options, Progress& progress) {
    const std::optional<Extract> extract = extract_for(opened.map, shape);
    if (!extract) return std::nullopt;
    Materialised made = materialise(opened.map, *extract, cache, opened.image().path, options, progress);
    print_damage(made.damaged);
    opened.map = std::move(made.map);
    opened.notes.insert(opened.notes.end(), made.notes.begin(), made.notes.end());
    return CopyStep{*extract, made.file->path(), made.bytes_to_write, made.reused};
}

std::optional<CopyStep> plan_materialise(OpenImage& opened, const PlanShapeOptions& shape,
                                         const std::optional<std::string>& cache_dir) {
    const std::optional<Extract> extract = extract_for(opened.map, shape);
    if (!extract) return std::nullopt;
    const MaterialiseEstimate estimate =
        estimate_materialise(opened.map, *extract, Cache(cache_dir), opened.image().path);
    const auto file =
        std::make_shared<PlannedFile>(estimate.path, to_bytes(opened.map.capacity()) + entry_end_size);
    opened.map = redirect(opened.map, file, *extract);
    return CopyStep{*extract, estimate.path, estimate.bytes_to_write, estimate.cached};
}

}  // namespace vmdkdm
