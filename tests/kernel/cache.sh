#!/usr/bin/env bash
# The cache never gives an image the bytes of another one: not of one with the same path, inode, size and times on another file
# system, and not what somebody else has put there; and what a certificate vouches for is inflated in the run that makes it.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mount umount stat chown
run_script cache_images.py "$work"
mkdir "$work/mnt"
image=$work/mnt/disk.vmdk
disk=/dev/mapper/vmdkdm-test-cache
cache=$work/cache

insert() {
    stick=$(losetup --find --show --read-only "$work/$1.img")
    mount -o ro,noload "$stick" "$work/mnt"
    kernel_state
    state_at_start=$state
}
pull() {
    umount "$work/mnt"
    losetup --detach "$stick"
}

# shows DISK CACHED OPTION...
shows() {
    must attach --json --name vmdkdm-test-cache --cache-dir "$cache" "${@:3}" "$image"
    json_holds "$work/out" "d['materialised']['cached'] is $2" "d['materialised']['file'].startswith('$cache/disk.')"
    same_bytes "$disk" "$work/$1"
    must detach vmdkdm-test-cache
    nothing_left "an attach of $1"
}

check 'two file systems that differ in nothing but the bytes of the file, mounted one after the other at one place'
state_of_none=$state_at_start
insert a
facts=$(stat -c '%i %s %y %z' "$image")
shows a False
shows a True
pull
insert b
[ "$(stat -c '%i %s %y %z' "$image")" = "$facts" ] || fail 'they can be told apart'
must table --json --cache-dir "$cache" "$image"
json_holds "$work/out" "d['materialise']['cached'] is False"
shows b False
shows b True
must table --json --cache-dir "$cache" "$image"
json_holds "$work/out" "d['materialise']['cached'] is True"

check 'an entry that was planted is not used: of nobody, with mode 0666'
entry=$(echo "$cache"/*.raw)
cp "$entry" "$work/good"
dd if=/dev/urandom of="$entry" bs=4096 count=3 conv=notrunc status=none
chown 65534:65534 "$entry"
chmod 666 "$entry"
must table --json --cache-dir "$cache" "$image"
json_holds "$work/out" "d['materialise']['cached'] is False"
must attach --name vmdkdm-test-cache --cache-dir "$cache" "$image"
says "note: '$entry' belongs to user 65534: it is not used, and is replaced"
same_bytes "$disk" "$work/b"
must detach vmdkdm-test-cache
[ "$(stat -c '%u %a' "$entry")" = '0 600' ] || fail "the entry is $(stat -c '%u %a' "$entry")"
shows b True

check 'a seal is not made, nor believed, with an entry that this run has not made'
dd if=/dev/urandom of="$entry" bs=4096 count=3 conv=notrunc status=none
shows b False --seal "$work/b.seal"
shows b True
read -r sum _ < <(sha256sum "$work/b")
json_holds "$work/b.seal" "d['disk']['sha256'] == '$sum'"
dd if=/dev/urandom of="$entry" bs=4096 count=3 conv=notrunc status=none
must verify --deep "$work/b.seal"
printed 'disk.vmdk: OK' 'the disk: OK'
shows b False --require-seal "$work/b.seal"
pull
insert a
refuses 8 attach --name vmdkdm-test-cache --cache-dir "$cache" --require-seal "$work/b.seal" "$image"
shows a False
pull
state_at_start=$state_of_none
nothing_left 'the file systems'
conclude
