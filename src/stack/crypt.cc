#include "stack/crypt.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "stack/cryptsetup.h"

namespace vmdkdm {
namespace {

using CryptDevice = std::unique_ptr<crypt_device, decltype(Cryptsetup::free)>;

// Its last error: an errno alone says little.
void keep_message(int level, const char* message, void* kept) {
    if (level != CRYPT_LOG_ERROR) return;
    std::string& text = *static_cast<std::string*>(kept);
    text = message;
    while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
}

[[noreturn]] void fail(std::string_view what, int error, const std::string& message) {
    if (message.empty()) throw system_error(what, -error);
    throw Error(-error == EBUSY ? ErrorKind::busy : ErrorKind::system, concat(what, ": ", message));
}

CryptDevice load(const Volume& container, std::string& message) {
    crypt_device* device = nullptr;
    if (const int error = cryptsetup().init(&device, container.path.c_str()); error < 0)
        throw system_error("libcryptsetup cannot open it", -error);
    CryptDevice loaded(device, cryptsetup().free);
    cryptsetup().set_log_callback(device, keep_message, &message);
    const char* type = container.content->type == "BitLocker" ? CRYPT_BITLK : CRYPT_LUKS;
    if (const int error = cryptsetup().load(device, type, nullptr); error < 0)
        fail("its header cannot be read", error, message);
    return loaded;
}

}  // namespace

bool is_container(const Volume& volume) {
    return volume.content && (volume.content->type == "crypto_LUKS" || volume.content->type == "BitLocker");
}

std::string container_name(const Volume& volume) {
    return concat(std::filesystem::path(volume.path).filename().string(), "-crypt");
}

bool open_container(const Volume& container, const std::string& name, const Secret& key, bool read_only,
                    const Kernel& kernel) {
    // Without locks libcryptsetup does not repair a LUKS2 header either, which it would do as it reads it.
    cryptsetup().metadata_locking(nullptr, 0);
    // It looks for a running udevd itself, and waits for it without a deadline.
    if (!kernel.waits_for_udev()) ::setenv("DM_DISABLE_UDEV", "1", 1);
    std::string message;
    const CryptDevice device = load(container, message);
    std::uint32_t flags = CRYPT_ACTIVATE_PRIVATE;
    if (read_only) flags |= CRYPT_ACTIVATE_READONLY;
    const int slot = cryptsetup().activate_by_passphrase(device.get(), name.c_str(), CRYPT_ANY_SLOT,
                                                         key.bytes().data(), key.bytes().size(), flags);
    if (slot == -EPERM) return false;
    if (slot < 0) fail("it cannot be opened", slot, message);
    return true;
}

}  // namespace vmdkdm
