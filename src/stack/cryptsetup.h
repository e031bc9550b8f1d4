// libcryptsetup, loaded when a container is to be opened: with libcrypto, which it brings along, it would
// double the time that each start of vmdk-dm takes.
#pragma once

#include <libcryptsetup.h>

namespace vmdkdm {

/// Those of its functions that we call, by their names.
struct Cryptsetup {
    decltype(&::crypt_metadata_locking) metadata_locking;
    decltype(&::crypt_init) init;
    decltype(&::crypt_free) free;
    decltype(&::crypt_set_log_callback) set_log_callback;
    decltype(&::crypt_load) load;
    decltype(&::crypt_activate_by_passphrase) activate_by_passphrase;
};

/// Throws Error (system) when the library cannot be loaded. It stays.
const Cryptsetup& cryptsetup();

}  // namespace vmdkdm
