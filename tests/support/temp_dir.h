// A directory for one test, with helpers to fill it; gone afterwards.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vmdkdm::test {

class TempDir {
  public:
    TempDir() {
        std::string pattern = (std::filesystem::temp_directory_path() / "vmdkdm-test-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = std::filesystem::canonical(pattern);
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    /// The directory, or something in it: absolute, with no symlink on the way to the directory.
    std::string path(std::string_view below = "") const {
        return below.empty() ? path_.string() : (path_ / below).string();
    }

    std::string write(std::string_view name, std::string_view content) const {
        const std::filesystem::path file = path_ / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << content;
        return file.string();
    }

    /// A file that is one hole.
    std::string write_hole(std::string_view name, std::uintmax_t size) const {
        const std::string file = write(name, "");
        std::filesystem::resize_file(file, size);
        return file;
    }

  private:
    std::filesystem::path path_;
};

}  // namespace vmdkdm::test
