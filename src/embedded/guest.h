// Process 1 of the embedded kernel: makes it usable, runs what the job says with its streams on the serial
// lines, and switches the kernel off. Nothing outside depends on it being honest.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "embedded/job.h"

namespace vmdkdm {

class Guest {
  public:
    /// Mounts what every system has, loads the modules of loop devices and of the device mapper, opens the
    /// serial lines. Throws Error.
    Guest();

    const Job& job() const { return job_; }

    /// `body` in a child process, whose exit status is given back; with standard output in `output`, or on
    /// standard error when it is null. Standard input is empty.
    int run(const std::function<int()>& body, std::string* output) const;

    /// `body` in a child process: a command, which says `running` outside. Its streams are those of the
    /// lines, a terminal's or three pipes. Whatever it left running is killed after it.
    int run_command(const std::function<int()>& body) const;

    /// `body` in a child process, with standard output on the line itself: fast, and no pipe.
    int run_sender(const std::function<int()>& body) const;

    /// Hands over the exit status and switches off: never returns.
    [[noreturn]] void end(int status) const;

  private:
    Job job_;
    int output_ = -1;
    int errors_ = -1;
    int words_ = -1;
};

/// Where the file systems of an image are: /mnt/NAME.
std::string mount_directory(const Job& job);

/// Makes a directory and those above it. Throws Error.
void make_directories(const std::string& path);

/// Replaces this process: a program with its words, looked for in PATH. Gives back 127 or 126 as a shell
/// would, with words on standard error, when it cannot.
int execute(const std::vector<std::string>& words, const std::vector<std::string>& environment);

}  // namespace vmdkdm
