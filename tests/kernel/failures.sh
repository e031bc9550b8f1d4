#!/usr/bin/env bash
# Every system call that changes something in the kernel fails once: the attach fails and leaves nothing, or does
# without and leaves what it should.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
make_images small 1
make_grain_images inner
remember_images

makes_overlay=false

# choose NAME [OPTION...]: what is attached from here on.
choose() {
    name=vmdkdm-test-$1
    image=$images/$1/$name.vmdk
    expected=$work/expected/$1
    options=("${@:2}")
}

# attach_with INJECTION [STRACE-OPTION...]: an attach under strace; $injected tells whether it came to that.
attach_with() {
    status=0
    ! $makes_overlay || rm -f "$overlay"
    strace -o "$work/strace" -e "trace=${1%%:*}" -e "inject=$1" "${@:2}" "$vmdk_dm" attach "${options[@]}" \
        "$image" >"$work/out" 2>"$work/err" || status=$?
    injected=false
    while read -r line; do
        [[ $line != *'(INJECTED)'* ]] || injected=true
    done <"$work/strace"
}

# fail_each CALL ERROR NEEDED [STRACE-OPTION...]: fails the first, the second, ... of these calls until an attach makes
# no more of them; at least NEEDED of them must have made the attach fail.
fail_each() {
    local number=0 failed=0
    while :; do
        number=$((number + 1))
        attach_with "$1:error=$2:when=$number" "${@:4}"
        if [ "$status" -eq 0 ]; then
            same_bytes "/dev/mapper/$name" "$expected"
            must detach "$name"
        else
            failed=$((failed + 1))
            $injected || fail "call $number did not fail, but the attach did"
            [ ! -s "$work/out" ] || fail "call $number: a failed attach printed to stdout"
            [ -s "$work/err" ] || fail "call $number: a failed attach said nothing"
            ! $makes_overlay || [ ! -e "$overlay" ] || fail "call $number: the overlay of a failed attach is there"
            [ ! -e "/dev/mapper/$name" ] || fail "call $number: the node is there when the attach has ended"
        fi
        nothing_left "$1 number $number failed with $2: $(<"$work/err")"
        $injected || break
    done
    printf '  %d calls, %d of them needed\n' $((number - 1)) "$failed"
    [ "$failed" -ge "$3" ] || fail "only $failed failures of $1 were noticed, expected at least $3"
}

choose small1
check 'each ioctl fails: loop devices, mapped devices, messages'
fail_each ioctl EIO 15
check 'loop devices are taken by somebody else just before'
fail_each ioctl EBUSY 0 -P /dev/loop1000 -P /dev/loop1001
check 'devices cannot be opened'
fail_each openat EMFILE 4 -P /dev/loop-control -P /dev/loop1000 -P /dev/loop1001 -P /dev/mapper/control -P /dev/dm-0 -P /dev/dm-1 -P /dev/dm-2
check 'no pipe, no socket'
fail_each pipe2,socketpair EMFILE 1
check 'no process'
fail_each clone,clone3,fork,vfork EAGAIN 1
check 'nodes cannot be made'
fail_each mknod,mknodat EPERM 2

check 'an ordinary attach afterwards'
must attach "$image"
printed "/dev/mapper/$name" "/dev/mapper/${name}p1"
must detach "$name"

choose inner --strategy exceptions
check 'inner devices: each ioctl fails'
fail_each ioctl EIO 35
check 'inner devices: loop devices cannot be opened; what is mapped is opened without its /dev/dm-N then'
fail_each openat EMFILE 3 -P /dev/loop-control -P /dev/loop1000 -P /dev/loop1001 -P /dev/loop1002
fail_each openat EMFILE 0 -P /dev/dm-0 -P /dev/dm-1 -P /dev/dm-2 -P /dev/dm-3 -P /dev/dm-4 -P /dev/dm-5
check 'the exception store cannot be made, written, or extended'
fail_each openat EOPNOTSUPP 1 -P /run/vmdk-dm
attach_with openat:error=EOPNOTSUPP -P /run/vmdk-dm
says "exception store of 8192 bytes in '/run/vmdk-dm' (see --run-dir): cannot make a file without a name"
rmdir /run/vmdk-dm
fail_each mkdir EACCES 1 -P /run/vmdk-dm
fail_each pwrite64 ENOSPC 2
fail_each ftruncate EFBIG 1
check 'inner devices: nodes cannot be made'
fail_each mknod,mknodat EPERM 5
check 'an ordinary attach of a disk with inner devices afterwards'
must attach "${options[@]}" "$image"
printed "/dev/mapper/$name" "/dev/mapper/${name}1"
same_bytes "/dev/mapper/$name" "$expected"
must detach "$name"

# An overlay is made anew by each attach, and is gone when it fails.
overlay=$work/overlay
choose small1 --overlay "$overlay"
makes_overlay=true
check 'an overlay: each ioctl fails'
fail_each ioctl EIO 20
check 'an overlay: its file cannot be made, written or kept'
fail_each openat EACCES 1 -P "$overlay"
fail_each ftruncate EFBIG 1
fail_each pwrite64 ENOSPC 1
fail_each fsync EIO 1
check 'an ordinary attach with an overlay afterwards'
must attach "${options[@]}" "$image"
same_bytes "/dev/mapper/$name" "$expected"
must detach "$name"
[ -e "$overlay" ] || fail 'the overlay did not stay'
makes_overlay=false
check 'an overlay that somebody else has'
fail_each flock EAGAIN 1
[ -e "$overlay" ] || fail 'the overlay is gone'
choose small1 --scratch=1M
check 'an overlay in memory: each ioctl fails, and there is no memory'
fail_each ioctl EIO 20
fail_each memfd_create ENOSYS 1
conclude
