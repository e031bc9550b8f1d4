// The only way to standard output and standard error. What is not a literal of this program may be an enemy's
// text, and is escaped: see base/escaped.h. So no image, file name, tool or kernel reaches the terminal as it
// is, nor makes lines of its own.
#pragma once

#include <concepts>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

class Printer {
  public:
    explicit Printer(std::ostream& to) : to_(to) {}

    /// A literal: as it stands.
    template <std::size_t size>
    Printer& operator<<(const char (&literal)[size]) {
        return write({literal, size - 1});
    }
    template <std::size_t size>
    Printer& operator<<(char (&buffer)[size]) = delete;
    /// Anything else: escaped, a line end too.
    Printer& operator<<(std::string_view text);
    template <std::integral Number>
    Printer& operator<<(Number number) {
        return *this << std::string_view(concat(number));
    }

    /// Text whose line ends and tabs were made by us; all else in it is escaped.
    Printer& lines(std::string_view text);

    /// False when something could not be written, now or earlier.
    bool flush();

  private:
    Printer& write(std::string_view text);

    std::ostream& to_;
};

/// Standard output, for results.
Printer& out();
/// Standard error, for everything else.
Printer& err();

/// On standard error: "vmdk-dm: " and the message; a TextError says by itself where it is.
void print_error(const Error& error);

}  // namespace vmdkdm
