#!/usr/bin/env bash
# Parsing happens in a child without powers: what it looks like from outside, what becomes of an attach whose child dies,
# and what is attached while somebody swaps the names of its files.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace ln mkfifo cp
make_images small 1
remember_images
image=$images/small1/vmdkdm-test-small1.vmdk

# Reads /proc/PID/status into $facts, at once: the process may be gone a moment later.
declare -A facts
look_at() {
    local key value text
    facts=()
    text=$(<"/proc/$1/status") || return 1
    while read -r key value; do facts[${key%:}]=$value; done <<<"$text"
}

# Sets $facts to those of the confined child: the process of this name that has a filter.
find_child() {
    local path name
    for path in /proc/[0-9]*; do
        { read -r name <"$path/comm"; } 2>/dev/null || continue
        [ "$name" = "${vmdk_dm##*/}" ] || continue
        if look_at "${path#/proc/}" 2>/dev/null && [ "${facts[Seccomp]:-}" = 2 ]; then return 0; fi
    done
    return 1
}

# The same of the one that has a device open.
find_prober() { find_child && [ -n "$(find "/proc/${facts[Pid]}/fd" -lname '/dev/*dm*' 2>/dev/null)" ]; }

check 'a child that reads an image has no capabilities, no way to new ones, and a filter'
strace -f -o "$work/strace" -e trace=pread64 -e inject=pread64:delay_enter=1000000 "$vmdk_dm" map "$image" >"$work/out" 2>"$work/err" &
reader=$!
wait_until 60 find_child || fail 'no child was seen'
limits=$(<"/proc/${facts[Pid]}/limits") maps=$(<"/proc/${facts[Pid]}/maps")
# The directory of a process that is gone may refuse to be listed; the child itself must still run then.
root=$(ls "/proc/${facts[Pid]}/root/" 2>/dev/null) || root=
grep -q -e '^State:[[:space:]]*[RSDTt]' "/proc/${facts[Pid]}/status" || fail 'the child ended before its root was looked at'
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    [ "${facts[$set]}" = 0000000000000000 ] || fail "$set of the child is ${facts[$set]}"
done
[ "${facts[NoNewPrivs]}" = 1 ] || fail 'the child may gain powers by exec'
[ -z "$root" ] || fail 'the root of the child has something in it'
# limit_of NAME: the hard one, which nobody without a capability raises.
limit_of() { sed -n "s/^$1 *[^ ]* *\([^ ]*\).*/\1/p" <<<"$limits"; }
[ "$(limit_of 'Max cpu time')" = 3601 ] || fail "the child may compute for $(limit_of 'Max cpu time') s"
[ "$(limit_of 'Max file size')" = 0 ] || fail 'the child may write to files'
[ "$(limit_of 'Max core file size')" = 0 ] || fail 'the child may leave a core'
if ! ldd "$vmdk_dm" | grep -q libasan; then
    [ "$(limit_of 'Max address space')" -gt 0 ] || fail "the child may take $(limit_of 'Max address space') bytes of memory"
fi
! grep -q '^[^ ]* rw.s ' <<<"$maps" || fail 'the child has memory that it shares with others'
wait "$reader" || fail 'the image was not read'

# Below the disk, dm-1, is the device that reads its files page by page.
check 'nor has the one that looks for partitions a part in what its parent shares with udev'
strace -f -o "$work/strace" -e trace=read -P /dev/mapper/vmdkdm-test-small1 -P /dev/dm-1 -e inject=read:delay_enter=5000000:when=1 \
    "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" &
attacher=$!
wait_until 60 find_prober || fail 'no prober was seen'
limits=$(<"/proc/${facts[Pid]}/limits") maps=$(<"/proc/${facts[Pid]}/maps")
! grep -q '^[^ ]* rw.s ' <<<"$maps" || fail 'the prober can write what its parent acts on'
[ "$(limit_of 'Max cpu time')" = 61 ] || fail "the prober may compute for $(limit_of 'Max cpu time') s"
wait "$attacher" || fail 'not attached'
must detach vmdkdm-test-small1

# dies SIGNAL STATUS TEXT: an attach whose reader gets the signal when it reads the descriptor, which only a child does.
dies() {
    status=0
    strace -f -o "$work/strace" -P "$image" -e trace=pread64 -e inject="pread64:signal=$1:when=1" "$vmdk_dm" attach "$image" \
        >"$work/out" 2>"$work/err" || status=$?
    [ "$status" -eq "$2" ] || fail "exit status $status after SIG$1"
    says "$3"
    [ ! -s "$work/out" ] || fail 'something was printed'
    nothing_left "SIG$1"
}

check 'a child that crashes or is killed is an error, and leaves nothing'
dies SEGV 3 'it made the reader end with signal 11 (Segmentation fault): this is a bug in vmdk-dm; nothing was done'
dies SYS 3 'it made the reader end with signal 31 (a system call that it has no use for): this is a bug in vmdk-dm; nothing was done'
dies KILL 1 'the reader was killed, as the kernel does when memory runs out; nothing was done'

check 'so is one of the child that copies'
status=0
strace -f -o "$work/strace" -e trace=pwrite64 -e inject=pwrite64:signal=BUS:when=1 "$vmdk_dm" compact "$image" "$work/raw" \
    >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 3 ] || fail "exit status $status after a crash of the copier"
says 'it made the copier end with signal 7 (Bus error)'
[ ! -e "$work/raw" ] || fail 'half a copy is left'
nothing_left 'a crash of the copier'

check 'and of the one that looks for partitions'
# By then it has its filter, as those before it had; its reads are the first on the device.
status=0
strace -f -o "$work/strace" -e trace=read -P /dev/mapper/vmdkdm-test-small1 -P /dev/dm-1 -e inject=read:signal=SEGV:when=1 \
    "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 3 ] || fail "exit status $status after a crash of the prober"
says 'it made the prober end with signal 11'
nothing_left 'a crash of the prober'

# ---- Names that are swapped while the image is attached

race=$work/race
mkdir -p "$race/vm" "$race/out"
cp "$images"/small1/* "$race/vm"
extent=b.bin
[ -f "$race/vm/$extent" ] || fail "the image has no file $extent"
cp "$race/vm/$extent" "$race/good"
tr '\0-\377' '\377' <"$race/good" >"$race/out/$extent"
ln -s "../out/$extent" "$race/vm/link"
mkfifo "$race/vm/fifo"
good=$(stat -c %i "$race/vm/$extent")

# Exchanges two names until it is told to end, and leaves them as they were.
cat >"$work/swap.py" <<'END'
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
one, other = (os.fsencode(path) for path in sys.argv[1:3])
ended = False
def end(*_):
    global ended
    ended = True
signal.signal(signal.SIGTERM, end)
while not ended:
    for _ in range(2):
        if libc.renameat2(-100, one, -100, other, 2) != 0:
            sys.exit(f"renameat2: {os.strerror(ctypes.get_errno())}")
END

# No loop below $race lies on anything but the good extent.
loops_are_good() {
    local path inode
    for path in /sys/block/loop*/loop/backing_file; do
        [[ $(cat "$path" 2>/dev/null) == "$race/"* && $(cat "$path") != */a.bin ]] || continue
        path=${path#/sys/block/}
        inode=$(losetup --noheadings --output BACK-INO "/dev/${path%%/*}")
        [ "${inode// /}" = "$good" ] || fail "${path%%/*} lies on inode $inode, not on $good"
    done
}

# race_with NAME TIMES: attaches that often while the extent is exchanged with NAME again and again.
race_with() {
    local attached=0 refused=0
    "$python" "$work/swap.py" "$race/vm/$extent" "$race/vm/$1" 2>"$work/swap" &
    local swapper=$!
    for ((i = 0; i < $2; i++)); do
        try attach --no-partitions --name vmdkdm-test-race "$race/vm/${image##*/}"
        if [ "$status" -ne 0 ]; then
            [ "$status" -eq 4 ] || [ "$status" -eq 6 ] || fail "exit status $status"
            refused=$((refused + 1))
            continue
        fi
        attached=$((attached + 1))
        loops_are_good
        must detach vmdkdm-test-race
    done
    kill "$swapper"
    wait "$swapper" || true
    [ ! -s "$work/swap" ] || missing "$(<"$work/swap")"
    printf '  attached %d times, refused %d times\n' "$attached" "$refused"
    if [ "$attached" -eq 0 ] || [ "$refused" -eq 0 ]; then fail 'there was no race'; fi
    nothing_left 'a race'
}

check 'an extent that becomes a symlink to another directory'
race_with link 12
check 'an extent that becomes a FIFO'
race_with fifo 8

conclude
