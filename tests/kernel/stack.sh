# Common ground of the tests of stacks (activate, filesystems): images that are made with the real tools. Sourced after
# lib.sh. Nothing of the machine's own LVM is read or written: no lvm.conf, no backups.
# shellcheck shell=bash
export LVM_SYSTEM_DIR='' LVM_SUPPRESS_FD_WARNINGS=1 DM_DISABLE_UDEV=1

# blank FILE MEBIBYTES
blank() { truncate -s "$2M" "$1"; }

# loop_of FILE [OPTION...]: a loop device, until losetup --detach.
loop_of() { losetup --find --show "${@:2}" "$1"; }

# fill DEVICE SEED: known bytes, different in each sector, on all of it.
fill() {
    "$python" -c '
import os, sys
path, seed = sys.argv[1:]
fd = os.open(path, os.O_WRONLY)
size = os.lseek(fd, 0, os.SEEK_END)
os.lseek(fd, 0, os.SEEK_SET)
for first in range(0, size // 512, 2048):
    count = min(2048, size // 512 - first)
    os.write(fd, b"".join((b"%s %d. " % (seed.encode(), first + n) * 60)[:512] for n in range(count)))
os.fsync(fd)
' "$1" "$2"
}

# wrap RAW NAME: the raw disk becomes the flat extent of an image.
wrap() {
    local size
    mkdir -p "$images/$2"
    cp --sparse=always "$1" "$images/$2/$2-flat.vmdk"
    size=$(($(stat -c %s "$1") / 512))
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=fffffffe parentCID=ffffffff 'createType="monolithicFlat"' \
        "RW $size FLAT \"$2-flat.vmdk\" 0" >"$images/$2/vmdkdm-test-$2.vmdk"
}

image_of() { echo "$images/$1/vmdkdm-test-$1.vmdk"; }

# quiet COMMAND...: what a tool says is shown only if it fails.
quiet() { "$@" >"$work/quiet" 2>&1 </dev/null || { cat "$work/quiet"; fail "$*"; }; }
