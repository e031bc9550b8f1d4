# Common ground of the tests on a real kernel. A test is a bash script that sources this file, is given the path of
# vmdk-dm, and runs as root:
#
#   scripts/run-in-kernel -- bash tests/kernel/bytes.sh build/release/vmdk-dm
#
# It calls start, makes its images below $images, checks, and ends with conclude, which fails when an image file has
# changed or anything is left in the kernel. Its devices are called vmdkdm-test-*; clean-up touches nothing else.
# Starting a program takes 50 ms and more in the embedded kernel, and a subshell half of that, hence the builtins, and
# helper.py, which stays and answers what is asked again and again.
# shellcheck shell=bash
set -eu
export LC_ALL=C

here=$(dirname -- "${BASH_SOURCE[0]}")
[[ $here == /* ]] || here=$PWD/$here
vmdk_dm=${1:?usage: ${0##*/} PATH-OF-VMDK-DM}
[[ $vmdk_dm == /* ]] || vmdk_dm=$PWD/$vmdk_dm
work=''
images=''
remembered=false
concluded=false
checks=0

# A python3 that is found first in PATH may be a version manager's shell script, which takes seconds in here.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

# What a failing check prints stands out, with all that is known at that moment.
fail() {
    printf 'FAIL: %s\n' "$1"
    for stream in out err; do
        [ ! -s "$work/$stream" ] || { printf 'the last %s said:\n' "std$stream"; head -n 40 -- "$work/$stream"; }
    done
    exit 1
}

# A test without what it needs is skipped, loudly; in CI it fails.
missing() {
    printf 'cannot test: %s\n' "$1"
    [ "${CI:-}" = true ] && exit 1
    exit 77
}

check() {
    checks=$((checks + 1))
    printf -- '- %s\n' "$1"
}

# start [TOOL...]: which programs the test needs, besides those that all need.
start() {
    [ "$EUID" -eq 0 ] || missing 'not root (see scripts/run-in-kernel)'
    [ -c /dev/mapper/control ] || missing 'this kernel has no device mapper (see scripts/run-in-kernel)'
    [ -x "$vmdk_dm" ] || missing "no program at '$vmdk_dm'"
    for tool in blockdev cmp dd dmsetup find losetup "$python" "$@"; do
        command -v "$tool" >/dev/null || missing "no program '$tool'"
    done
    local key
    while read -r key processes_at_start; do
        [ "$key" != processes ] || break
    done </proc/stat
    work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdm-test.XXXXXX")
    images=$work/images
    mkdir "$images"
    # Never readable, so that a read from it is a pause without a process.
    exec {never}<> <(:)
    trap finish EXIT
    # Its memory comes from the heap, which keeps its pages: each new one costs 100 us in the embedded kernel.
    coproc HELPER { MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824 \
        exec "$python" -I -S -B "$here/helper.py" "${vmdk_dm##*/}"; }
    # No job of the test's, which may wait for all of these. It ends with its input.
    disown "$HELPER_PID"
    kernel_state
    state_at_start=$state
}

# ask VERB [WORD...]: what helper.py says is in $answer; false when it says no.
ask() {
    local verdict=''
    printf '%s\0' $# "$@" >&"${HELPER[1]}"
    { IFS= read -r -d '' verdict && IFS= read -r -d '' answer; } <&"${HELPER[0]}" || fail "helper.py has ended at: $*"
    [ "$verdict" = yes ]
}

# run_script NAME ARGUMENT...: one of the Python scripts beside this file; what it prints is in $answer.
run_script() { ask run "$here/$1" "${@:2}" || fail "$1 ${*:2}: $answer"; }

# make_images KIND [ARGUMENT...]: see images.py. Expected disks are in $work/expected.
make_images() {
    mkdir -p "$work/expected"
    run_script images.py "$1" "$images" "$work/expected" "${@:2}"
}

# make_grain_images KIND: see grain_images.py.
make_grain_images() {
    mkdir -p "$work/expected"
    run_script grain_images.py "$1" "$images" "$work/expected"
}

# Names, kinds, sizes, times and content of everything below $images are from here on what they are now.
remember_images() {
    ask remember "$images" || fail "$answer"
    remembered=true
}
images_unchanged() { ask unchanged "$images" || fail "image files have changed: $answer"; }

# Everything that an attach could leave behind is in $state, one line each.
kernel_state() {
    ask state || fail "$answer"
    state=$answer
}

pause() { read -r -t 0.02 _ <&"$never" || true; }

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# wait_until SECONDS COMMAND...: false when it still fails at the deadline.
wait_until() {
    local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    until "${@:2}"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt "$deadline" ] || return 1
        pause
    done
}

# measure_command: how long a command that does next to nothing takes on this machine right now is in $unit_ms. Limits of
# time are multiples of it, as a machine with much other work is slow.
measure_command() {
    unit_ms=$(now_ms)
    must list
    unit_ms=$(($(now_ms) - unit_ms))
}

state_is_as_at_start() { kernel_state && [ "$state" = "$state_at_start" ]; }

# nothing_left AFTER-WHAT [SECONDS]: some of it goes a moment later (deferred removal, AUTOCLEAR).
nothing_left() {
    wait_until "${2:-30}" state_is_as_at_start && return
    diff <(echo "$state_at_start") <(echo "$state") || true
    dmsetup info -c || true
    fail "something is left after $1"
}

# try ARGUMENT...: runs vmdk-dm; exit status in $status, output in $work/out and $work/err.
try() {
    status=0
    "$vmdk_dm" "$@" >"$work/out" 2>"$work/err" || status=$?
}

must() {
    try "$@"
    [ "$status" -eq 0 ] || fail "exit status $status of: vmdk-dm $*"
}

# refuses STATUS ARGUMENT...: it must fail with this status, print no paths, and say why.
refuses() {
    try "${@:2}"
    [ "$status" -eq "$1" ] || fail "exit status $status, expected $1, of: vmdk-dm ${*:2}"
    [ ! -s "$work/out" ] || fail "a failed command printed to stdout: vmdk-dm ${*:2}"
}

# says TEXT: it is in the last standard error.
says() { [[ $(<"$work/err") == *"$1"* ]] || fail "the message does not say: $1"; }
is_silent() { [ ! -s "$work/err" ] || fail 'unexpected message'; }

# printed LINE...: the last standard output, exactly.
printed() {
    local expected
    printf -v expected '%s\n' "$@"
    [ "$(<"$work/out")" = "${expected%$'\n'}" ] || fail "stdout is not: $*"
}

# same_bytes PATH PATH: paths, and not descriptors of this shell's.
same_bytes() { ask same "$1" "$2" || fail "$1 is not $2: $answer"; }
is_device() { [ -b "/dev/mapper/$1" ] || fail "there is no /dev/mapper/$1"; }
is_gone() { [ ! -e "/dev/mapper/$1" ] || fail "/dev/mapper/$1 is still there"; }

# compare_around_errors DEVICE DISK: the device's own sectors, read one by one past the page cache, with zeros for what
# fails; and DISK.bad ("start count" per line) does fail.
compare_around_errors() {
    dd if="$1" of="$work/read" bs=512 iflag=direct conv=noerror,sync status=none 2>"$work/dd" || true
    same_bytes "$work/read" "$2"
    local first count sector
    while read -r first count; do
        for sector in "$first" $((first + count - 1)); do
            if dd if="$1" of=/dev/null bs=512 skip="$sector" count=1 iflag=direct status=none 2>"$work/dd"; then
                fail "$1: sector $sector can be read"
            fi
            [[ $(<"$work/dd") == *'Input/output error'* ]] || fail "$1: sector $sector: $(<"$work/dd")"
        done
    done <"$2.bad"
}

# json_holds FILE EXPRESSION...: the file is JSON, and each Python expression about it (d) is true.
json_holds() { ask holds "$@" || fail "$1: $answer"; }

# The directory in /sys of a block device, by its path.
sys_of() { echo "/sys/dev/block/$(stat -L -c '%Hr:%Lr' "$1")"; }

# The loops that hold files below a directory, one path per line.
loops_on() {
    local path file
    for path in /sys/block/loop*/loop/backing_file; do
        { read -r file <"$path"; } 2>/dev/null || continue
        [[ $file != "$1"/* ]] || { path=${path#/sys/block/}; echo "/dev/${path%%/*}"; }
    done
}

conclude() {
    nothing_left 'the test'
    ! $remembered || images_unchanged
    concluded=true
    local key processes
    while read -r key processes; do
        [ "$key" != processes ] || break
    done </proc/stat
    printf '%s: %d checks in %d s, %d processes\n' "${0##*/}" "$checks" "$SECONDS" $((processes - processes_at_start))
}

# shellcheck disable=SC2317 # called by the trap
finish() {
    local status=$? mount_point name
    trap - EXIT
    set +eu
    if [ "$status" -eq 0 ] && ! $concluded; then
        echo 'FAIL: the test did not reach its end'
        status=1
    fi
    if [ "$status" -ne 0 ]; then
        echo 'what the kernel has now:'
        dmsetup table | head -n 40
        losetup --list --noheadings --output NAME,RO,AUTOCLEAR,BACK-FILE | head -n 40
        grep -F -e "$work" -e vmdkdm-test- /proc/mounts /proc/swaps
        for job in $(jobs -p); do kill -KILL "$job"; done 2>/dev/null
        tac /proc/mounts | while read -r _ mount_point _; do
            [[ $mount_point != "$work"/* ]] || umount --lazy "$mount_point"
        done
        for name in /dev/mapper/vmdkdm-test-*; do swapoff "$name"; done 2>/dev/null
        for _ in 1 2 3; do
            dmsetup ls | while read -r name _; do
                [[ $name != vmdkdm-test-* ]] || dmsetup remove "$name"
            done 2>/dev/null
        done
        loops_on "$work" | while read -r name; do losetup --detach "$name"; done
    fi
    rm -rf -- "$work"
    exit "$status"
}
