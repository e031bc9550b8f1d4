#include "stack/cryptsetup.h"

#include <dlfcn.h>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

// The one whose header we are compiled with.
constexpr const char* library_name = "libcryptsetup.so.12";

[[noreturn]] void fail() {
    throw Error(ErrorKind::system, concat("cannot load libcryptsetup (is it installed?): ", ::dlerror()));
}

template <class Function>
void find(void* library, const char* name, Function& function) {
    void* const symbol = ::dlsym(library, name);
    if (symbol == nullptr) fail();
    function = reinterpret_cast<Function>(symbol);
}

Cryptsetup load() {
    void* const library = ::dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) fail();
    Cryptsetup functions = {};
    find(library, "crypt_metadata_locking", functions.metadata_locking);
    find(library, "crypt_init", functions.init);
    find(library, "crypt_free", functions.free);
    find(library, "crypt_set_log_callback", functions.set_log_callback);
    find(library, "crypt_load", functions.load);
    find(library, "crypt_activate_by_passphrase", functions.activate_by_passphrase);
    return functions;
}

}  // namespace

const Cryptsetup& cryptsetup() {
    static const Cryptsetup functions = load();
    return functions;
}

}  // namespace vmdkdm
