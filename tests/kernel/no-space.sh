#!/usr/bin/env bash
# No room: for a copy, a cache, an overlay, an exception store, a certificate or a table. Each command says so and what to do,
# and leaves no half file; nothing that a disk with an overlay has acknowledged is lost.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp mount stat umount
make_images small 1
make_grain_images inner
make_grain_images stream
remember_images
small=$images/small1/vmdkdm-test-small1.vmdk
inner=$images/inner/vmdkdm-test-inner.vmdk
stream=$images/stream/vmdkdm-test-stream.vmdk
disk=/dev/mapper/vmdkdm-test-small1
no_space='No space left on device'

# fill DIRECTORY KIBIBYTES: all of its room is taken but for so much.
fill() {
    local free
    rm -f "$1/ballast"
    free=$(stat -f -c %a "$1")
    free=$((free * $(stat -f -c %S "$1") / 1024))
    head -c $(((free - $2) * 1024)) /dev/zero >"$1/ballast"
}
only_ballast() {
    local left
    left=$(ls -A "$full")
    [ "$left" = ballast ] || fail "left: $left"
}
full=$work/full
mkdir "$full"
mount -t tmpfs -o size=4m,mode=700 none "$full"
fill "$full" 16

# too_full WHAT ARGUMENT...: it fails, says WHAT, and leaves no file.
too_full() {
    refuses 1 "${@:2}"
    says "$1"
    only_ballast
    nothing_left "$2 without room"
}

check 'compact: known before'
too_full 'no room for ' compact "$inner" "$full/raw"
says ' too few'
check 'hash needs none'
must hash "$inner"
check 'the cache'
mkdir -m 700 "$full/cache"
refuses 4 attach --cache-dir "$full/cache" "$stream"
says "the disk takes more than the 4096 bytes that the cache '$full/cache' has room for: its limit is 4096 bytes, a quarter of what is free there"
refuses 1 attach --cache-dir "$full/cache" --cache-limit 10G "$stream"
says "cannot write '$full/cache/"
says "(see --cache-dir): $no_space"
rmdir "$full/cache"
only_ballast
check 'merge-to'
must attach --overlay "$work/changed" "$small"
printf 'changed' | dd of="$disk" bs=4096 seek=3 conv=notrunc,fsync status=none
must detach vmdkdm-test-small1
too_full 'no room for ' overlay merge-to --format raw --overlay "$work/changed" "$small" "$full/merged"
check 'an exception store'
fill "$full" 4
too_full "exception store of 8192 bytes in '$full' (see --run-dir): write: $no_space" attach --strategy exceptions --run-dir "$full" "$inner"
check 'a certificate, a new overlay and a table of what is attached at boot'
fill "$full" 0
too_full "$no_space" attach --seal "$full/seal" "$small"
too_full "$no_space" attach --overlay "$full/overlay" "$small"
printf 'one %s\n' "$small" >"$work/tab"
umount "$full"
mount -t tmpfs -o size=4m,mode=700 none "$full"
cp "$work/tab" "$full/tab"
fill "$full" 0
refuses 1 tab add --table-file "$full/tab" "$inner"
says "$no_space"
same_bytes "$full/tab" "$work/tab"
left=$(ls -A "$full")
[ "$left" = $'ballast\ntab' ] || fail "left: $left"
nothing_left 'tab add'

check 'an overlay whose file system becomes full: what was acknowledged is there, now and after the next attach'
rm "$full/tab" "$full/ballast"
cp "$work/expected/small1" "$work/should"
must attach --overlay "$full/overlay" "$small"
fill "$full" 80
written=0
for ((block = 0; block < 16; block++)); do
    printf 'block %d' "$block" >"$work/block"
    truncate -s 16384 "$work/block"
    dd if="$work/block" of="$disk" bs=16384 seek="$block" oflag=direct conv=fsync,notrunc status=none 2>"$work/dd" || break
    dd if="$work/block" of="$work/should" bs=16384 seek="$block" conv=notrunc status=none
    written=$((written + 1))
done
printf '  %d chunks were written\n' "$written"
[[ $written -gt 0 && $written -lt 16 ]] || fail "$written chunks were written"
try list --json
[ "$status" -eq 7 ] || fail "list ends with $status"
try detach vmdkdm-test-small1
[ "$status" -le 1 ] || fail "exit status $status"
nothing_left 'an overlay without room'
rm "$full/ballast"
must attach --overlay "$full/overlay" "$small"
dd if="$disk" of="$work/read" bs=65536 iflag=direct status=none
# The write that failed was told to have failed: its chunk may hold either.
cp "$work/read" "$work/masked"
dd if="$work/should" of="$work/masked" bs=16384 seek="$written" skip="$written" count=1 conv=notrunc status=none
same_bytes "$work/masked" "$work/should"
dd if="$work/block" of="$disk" bs=16384 seek=15 oflag=direct conv=fsync,notrunc status=none || fail 'it cannot be written again'
must detach vmdkdm-test-small1
nothing_left 'an overlay that has room again'
umount "$full"
conclude
