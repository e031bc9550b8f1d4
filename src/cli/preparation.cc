#include "cli/preparation.h"

#include "attach/store_file.h"
#include "base/concat.h"
#include "cli/cache_options.h"
#include "cli/progress.h"
#include "cli/size_option.h"

namespace vmdkdm {

void add_preparation_options(Command& command, PreparationOptions& options) {
    command.add_option("--run-dir", options.run_dir, "DIR",
                       "Where exception stores are written (default: /run/vmdk-dm)");
    add_cache_options(command, options.cache_dir);
    add_cache_limit_option(command, options.cache_limit);
    add_progress_option(command, options.progress);
}

std::optional<CopyStep> copy_first(const PreparationOptions& options, const PlanShapeOptions& shape,
                                   const MaterialiseOptions& materialise_options, OpenImage& opened) {
    std::optional<Bytes> limit;
    if (options.cache_limit) limit = parse_size(*options.cache_limit, "--cache-limit");
    ProgressReport progress(options.progress);
    const std::optional<CopyStep> copied =
        materialise(opened, shape, Cache(options.cache_dir, limit), materialise_options, progress);
    if (copied && !copied->reused)
        opened.notes.push_back(concat(copied->extract == Extract::compressed
                                          ? "compressed grains were inflated into '"
                                          : "the disk was copied into '",
                                      copied->path, "' (kept for the next time: see vmdk-dm cache)"));
    return copied;
}

Plan feasible_plan(const PreparationOptions& options, const PlanShapeOptions& shape,
                   const std::optional<OverlayPlan>& overlay, OpenImage& opened) {
    std::optional<Plan> plan = plan_for(opened, shape, overlay);
    if (shape.strategy == "auto" && plan->cost.exceptions > 0 && !can_hold_store(options.run_dir)) {
        opened.notes.push_back(concat("'", options.run_dir,
                                      "' cannot hold an exception store (see --run-dir): the disk is shown "
                                      "line by line, which takes longer to load"));
        PlanShapeOptions linear = shape;
        linear.strategy = "linear";
        plan.reset();
        plan = plan_for(opened, linear, overlay);
    }
    // The plan says all. Its tables need the memory next.
    opened.map = BlockMap::Builder().build();
    return std::move(*plan);
}

}  // namespace vmdkdm
