#include "cli/printer.h"

#include <iostream>

#include "base/escaped.h"

namespace vmdkdm {

Printer& Printer::operator<<(std::string_view text) { return write(escaped(text)); }

Printer& Printer::lines(std::string_view text) { return write(escaped_lines(text)); }

bool Printer::flush() { return static_cast<bool>(to_.flush()); }

Printer& Printer::write(std::string_view text) {
    to_.write(text.data(), static_cast<std::streamsize>(text.size()));
    return *this;
}

Printer& out() {
    static Printer printer(std::cout);
    return printer;
}

Printer& err() {
    static Printer printer(std::cerr);
    return printer;
}

void print_error(const Error& error) {
    const bool says_where = dynamic_cast<const TextError*>(&error) != nullptr;
    if (!says_where) err() << "vmdk-dm: ";
    if (error.has_lines())
        err().lines(error.what()) << "\n";
    else
        err() << error.what() << "\n";
}

}  // namespace vmdkdm
