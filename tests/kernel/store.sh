#!/usr/bin/env bash
# What an attach writes to a file first: the exception store of a snapshot, and the cache for what is compressed. The
# directory is read-only or full, its file system cannot do what is wanted, or the attach is killed while it writes.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mount stat strace umount
make_grain_images inner
make_grain_images stream
remember_images
inner=$images/inner/vmdkdm-test-inner.vmdk
stream=$images/stream/vmdkdm-test-stream.vmdk
damaged=$images/damaged/vmdkdm-test-damaged.vmdk

# file_system NAME OPTIONS: a tmpfs at $work/NAME.
file_system() {
    mkdir "$work/$1"
    mount -t tmpfs -o "$2" none "$work/$1"
}
blocks_free() { stat -f -c %f "$1"; }
is_empty() { [ -z "$(ls -A "$1")" ] || fail "$1 is not empty: $(ls -A "$1")"; }

# ---- The exception store

# store_refused DIRECTORY WHY [STATUS]: exactly this is said, and nothing is left.
store_refused() {
    refuses "${3:-1}" attach --strategy exceptions --run-dir "$1" "$inner"
    local what="exception store of 8192 bytes in '$1' (see --run-dir)"
    [ "$(<"$work/err")" = "vmdk-dm: cannot attach '$inner': $what: $2" ] ||
        fail 'it says something else'
    nothing_left 'an attach without an exception store'
    is_gone vmdkdm-test-inner
}

check 'the run directory is full'
file_system full size=4k,mode=700
store_refused "$work/full" 'write: No space left on device'
is_empty "$work/full"
check 'its file system has no files without a name'
mkdir "$work/hostfs"
store_refused "$work/hostfs" "cannot make a file without a name: $(
    "$python" -c 'import os, sys
try: os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR)
except OSError as error: print(error.strerror)' "$work/hostfs")"
is_empty "$work/hostfs"
check 'it cannot be made'
store_refused "$work/hostfs/none/run" 'cannot make the directory: No such file or directory' 6
check 'it is read-only'
mkdir -p /run/vmdk-dm
mount -t tmpfs -o ro none /run/vmdk-dm
store_refused /run/vmdk-dm 'cannot make a file without a name: Read-only file system'
check 'and that is no matter where no store is needed'
for strategy in linear auto; do
    must attach --strategy "$strategy" "$inner"
    same_bytes /dev/mapper/vmdkdm-test-inner "$work/expected/inner"
    must detach vmdkdm-test-inner
    nothing_left "$strategy"
done
umount /run/vmdk-dm

check 'one that is large enough is used, and empty again after detach'
file_system enough size=64k,mode=700
free=$(blocks_free "$work/enough")
must attach --strategy exceptions --run-dir "$work/enough" "$inner"
same_bytes /dev/mapper/vmdkdm-test-inner "$work/expected/inner"
[ "$(blocks_free "$work/enough")" -eq $((free - 2)) ] || fail 'the store is not there'
is_empty "$work/enough"
must list --json
json_holds "$work/out" "[e['file'].startswith('$work/enough/') for e in d[0]['lowers']].count(True) == 1"
must detach vmdkdm-test-inner
nothing_left 'an attach with a run directory of its own'
store_is_gone() { [ "$(blocks_free "$work/enough")" -eq "$free" ]; }
wait_until 60 store_is_gone || fail 'the store takes room after detach'

# ---- The cache

# cache_refused STATUS WHY OPTION...
cache_refused() {
    refuses "$1" attach "${@:3}" "$stream"
    [ "$(<"$work/err")" = "vmdk-dm: cannot attach '$stream': $2" ] || fail 'it says something else'
    nothing_left 'an attach without a cache'
    is_gone vmdkdm-test-stream
}

# stream_is_right: attaches it, compares, detaches.
stream_is_right() {
    must attach --cache-dir "$@" "$stream"
    printed /dev/mapper/vmdkdm-test-stream
    same_bytes /dev/mapper/vmdkdm-test-stream "$work/expected/stream"
    must detach vmdkdm-test-stream
    nothing_left 'an attach of what is compressed'
}

check 'the cache cannot be written, or made'
file_system read-only ro,mode=700
cache_refused 1 "the cache (see --cache-dir): cannot create a file in '$work/read-only': Read-only file system" \
    --cache-dir "$work/read-only"
cache_refused 1 "cannot make the cache '$work/read-only/cache' (see --cache-dir): Read-only file system" \
    --cache-dir "$work/read-only/cache"
is_empty "$work/read-only"
check 'it has a limit: a quarter of what is free, or the one that is given'
file_system small size=2m,mode=700
taken='and 0 are taken (see --cache-limit, --cache-dir and vmdk-dm cache --clear)'
cache_refused 4 "the disk takes more than the 524288 bytes that the cache '$work/small' has room for: its limit is 524288 bytes, a quarter of what is free there, $taken" \
    --cache-dir "$work/small"
is_empty "$work/small"
cache_refused 4 "the disk takes more than the 1048576 bytes that the cache '$work/small' has room for: its limit is 1048576 bytes, $taken" \
    --cache-dir "$work/small" --cache-limit 1M
is_empty "$work/small"
cache_refused 2 "--cache-limit 'much' is not a size, such as 512M, 10G or a number of bytes" \
    --cache-dir "$work/small" --cache-limit much
stream_is_right "$work/small" --cache-limit 1028K
check 'what is there is used, whatever the limit, and counts for others'
stream_is_right "$work/small" --cache-limit 0
cp -r "$images/stream" "$work/other"
refuses 4 attach --cache-dir "$work/small" --cache-limit 1100K "$work/other/vmdkdm-test-stream.vmdk"
says 'its limit is 1126400 bytes, and 1052672 are taken'
rm -r "$work/other"

check 'the room is gone in the middle of it, and so is the half file'
file_system cache size=8m,mode=700
mkdir -m 700 "$work/host-cache"
free=$(blocks_free "$work/cache")
# Waits before its second write, so that somebody else can take the room. (A call cannot be made to fail by strace where a filter
# of system calls is: it looks at what strace has put in its place.)
strace -f -o "$work/strace" -e trace=pwrite64 -e inject=pwrite64:delay_enter=2000000:when=2+ \
    "$vmdk_dm" attach --cache-dir "$work/cache" "$stream" >"$work/out" 2>"$work/err" &
has_written() { grep -q 'pwrite64.* = [0-9]' "$work/strace" 2>/dev/null; }
wait_until 60 has_written || fail 'nothing is written'
cat /dev/zero >"$work/cache/ballast" 2>/dev/null || true
status=0
wait $! || status=$?
[ "$status" -eq 1 ] || fail "exit status $status"
says "cannot write '$work/cache/vmdkdm-test-stream."
says "(see --cache-dir): No space left on device"
nothing_left 'an attach whose cache was full'
rm "$work/cache/ballast"
is_empty "$work/cache"
check 'the process that copies is killed, and the half file goes'
for directory in "$work/cache" "$work/host-cache"; do
    status=0
    strace -f -o "$work/strace" -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=2 \
        "$vmdk_dm" attach --cache-dir "$directory" "$stream" >"$work/out" 2>"$work/err" || status=$?
    [ "$status" -ne 0 ] || fail 'it was attached'
    says 'the copier was killed'
    nothing_left 'an attach whose copier was killed'
    is_empty "$directory"
done

# kill_each DIRECTORY CALL NEEDED: SIGKILL at the first such call, the second ...; what is in the cache then is all of it
# or not used.
kill_each() {
    local number=0 entry
    while :; do
        number=$((number + 1))
        status=0
        { strace -f -o "$work/strace" -e "trace=$2" -e "inject=$2:signal=SIGKILL:when=$number" \
            "$vmdk_dm" attach --cache-dir "$1" "$stream" >"$work/out" 2>"$work/err" || status=$?; } 2>/dev/null
        [ "$status" -ne 0 ] || break
        nothing_left "SIGKILL at $2 $number"
        for entry in "$1"/*.raw; do
            [ ! -e "$entry" ] || cmp -n "$(stat -c %s "$work/expected/stream")" "$entry" "$work/expected/stream" ||
                fail 'an entry has other bytes'
        done
        stream_is_right "$1"
        must cache --clear --cache-dir "$1"
        is_empty "$1"
    done
    must detach vmdkdm-test-stream
    must cache --clear --cache-dir "$1"
    printf '  %d times %s\n' $((number - 1)) "$2"
    [ "$number" -gt "$3" ] || fail "an attach with only $number times $2"
}

check 'SIGKILL while the cache is written: no entry is there, and the next attach clears up'
for call in 'pwrite64 4' 'fsync 2' 'linkat 1' 'rename,renameat,renameat2 1'; do
    read -r call needed <<<"$call"
    kill_each "$work/cache" "$call" "$needed"
done
check 'the same where files cannot be without a name'
for call in 'pwrite64 4' 'ftruncate 1' 'fsync 2' 'rename,renameat,renameat2 1'; do
    read -r call needed <<<"$call"
    kill_each "$work/host-cache" "$call" "$needed"
done
[ "$(blocks_free "$work/cache")" -eq "$free" ] || fail 'files without a name are left in the cache'

check 'a damaged grain is refused without --allow-damaged, and nothing is kept'
for directory in "$work/cache" "$work/host-cache"; do
    refuses 3 attach --cache-dir "$directory" "$damaged"
    says 'see --allow-damaged)'
    is_empty "$directory"
    nothing_left 'a refused damaged image'
done
check 'with it, its sectors are I/O errors and the others are right, and nothing is kept'
for directory in "$work/cache" "$work/host-cache"; do
    must attach --allow-damaged --cache-dir "$directory" "$damaged"
    printed /dev/mapper/vmdkdm-test-damaged
    says 'bytes 327680 to 393215'
    compare_around_errors /dev/mapper/vmdkdm-test-damaged "$work/expected/damaged"
    is_empty "$directory"
    must detach vmdkdm-test-damaged
    nothing_left 'an attach of a damaged image'
done
room_is_back() { [ "$(blocks_free "$work/cache")" -eq "$free" ]; }
wait_until 60 room_is_back || fail 'the copy takes room after detach'

for directory in full enough read-only small cache; do umount "$work/$directory"; done
conclude
