#include "kernel/sysfs.h"

#include <fstream>

namespace vmdkdm {

std::string sysfs_attribute(const std::filesystem::path& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

}  // namespace vmdkdm
