// Which files an image is made of, asked of the images themselves while systemd waits for its units.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "tab/tab.h"

namespace vmdkdm {

/// How long nothing may be heard of any image, and how long all may take.
struct ReadingTime {
    std::chrono::milliseconds quiet{1500};
    std::chrono::milliseconds total{10000};
};

/// Absolute paths by the name of the entry, for entries without a device: real paths of files that are there,
/// and of those that are not where they were looked for. Only descriptors are read, never what is behind
/// them, in confined children, and nothing is opened that attach would not open. Each image has a process of
/// its own that opens its files and is given up when the time is over: its file system may hang. What was
/// found by then counts. Never throws for an image.
std::map<std::string, std::vector<std::string>> find_chain_files(const std::vector<TabEntry>& entries,
                                                                 const ReadingTime& time = {});

}  // namespace vmdkdm
