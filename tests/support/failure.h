// What a call throws, as a value: tests assert the kind and the whole text.
#pragma once

#include <ostream>
#include <string>

#include "base/error.h"

namespace vmdkdm {

inline std::ostream& operator<<(std::ostream& out, ErrorKind kind) {
    static constexpr const char* names[] = {"?",    "system",    "usage", "format", "refused",
                                            "busy", "not_found", "low",   "changed"};
    return out << names[static_cast<int>(kind)];
}

namespace test {

struct Failure {
    ErrorKind kind = ErrorKind::system;
    std::string text;
    friend bool operator==(const Failure&, const Failure&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Failure& failure) {
        return out << failure.kind << ": " << failure.text;
    }
};

/// The Error that `body` throws; the text "(no error)" when it throws none.
template <class Body>
Failure failure_of(Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        return {error.kind(), error.what()};
    }
    return {ErrorKind::system, "(no error)"};
}

}  // namespace test
}  // namespace vmdkdm
