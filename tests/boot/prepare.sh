# Common ground of what prepares a virtual machine before systemd starts (run-in-vm --before-boot): images and the file
# systems that they lie on. Nobody answers for udev yet, so devices are made and waited for by hand.
# shellcheck shell=bash
set -eu
export LC_ALL=C DM_DISABLE_UDEV=1
modprobe -a virtio_pci virtio_blk loop dm_mod ext4

# host DEVICE LABEL DIRECTORY: an empty file system, mounted until everything is prepared.
host() {
    until [ -b "$1" ]; do sleep 0.1; done
    mke2fs -q -F -t ext4 -L "$2" "$1"
    mkdir -p "$3"
    mount "$1" "$3"
}

# file_system FILE SIZE LABEL [OFFSET]: that holds a file "who" which says the label.
file_system() {
    local root
    root=$(mktemp -d)
    echo "$3" >"$root/who"
    truncate --size "$2" "$1"
    mke2fs -q -F -t ext4 -b 1024 -O ^has_journal -L "$3" -d "$root" ${4:+-E offset="$4"} "$1" \
        ${4:+$((($(stat --format %s "$1") - $4) / 1024))}
    rm -r "$root"
}

# partitioned FILE SIZE LABEL: one partition with a file system.
partitioned() {
    file_system "$1" "$2" "$3" 1048576
    echo '2048,,L' | sfdisk --quiet --no-tell-kernel "$1"
}

# descriptor IMAGE EXTENT [CID [PARENT-CID PARENT]]: for a flat extent, by the path as it is to stand there.
descriptor() {
    local extent=$2
    [[ $extent == /* ]] || extent=$(dirname -- "$1")/$extent
    {
        printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType="monolithicFlat"\n' "${3:-fffffffe}"
        printf 'RW %s FLAT "%s" 0\n' "$(($(stat --format %s "$extent") / 512))" "$2"
    } >"$1"
}

# snapshot IMAGE PARENT-FILE PARENT-HINT: a child that changes nothing (an empty sparse extent is made by qemu's layout:
# header, descriptor, an empty grain directory).
snapshot() {
    python3 - "$1" "$2" "$3" <<'PY'
import re, struct, sys
image, parent, hint = sys.argv[1:]
text = open(parent, encoding="utf-8").read()
cid = re.search("^CID=(.*)$", text, re.M).group(1)
sectors = int(re.search("^RW ([0-9]+) ", text, re.M).group(1))
descriptor = (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID={cid}\ncreateType="monolithicSparse"\n'
              f'parentFileNameHint="{hint}"\nRW {sectors} SPARSE "{image.rsplit("/", 1)[1]}"\n').encode()
grains = -(-sectors // 128)
tables = -(-grains // 512)
overhead = 21 + 1 + tables * 4
overhead = -(-overhead // 128) * 128
header = struct.pack("<4sIIQQQQIQQQBccccH", b"KDMV", 1, 1, sectors, 128, 1, 20, 512, 0, 21, overhead, 0,
                     b"\n", b" ", b"\r", b"\n", 0).ljust(512, b"\0")
directory = b"".join(struct.pack("<I", 22 + 4 * i) for i in range(tables)).ljust(512, b"\0")
with open(image, "wb") as out:
    out.write((header + descriptor.ljust(20 * 512, b"\0") + directory).ljust(overhead * 512, b"\0"))
PY
}

# on_loop FILE COMMAND...: with the file as a loop device, the first argument behind the command's own.
on_loop() {
    local loop
    loop=$(losetup --find --show "$1")
    "${@:2}" "$loop"
    losetup --detach "$loop"
}
