#!/usr/bin/env bash
# Every system call that changes something in the kernel fails once: the attach fails and leaves nothing, or does
# without and leaves what it should.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
make_images small 1
remember_images
image=$images/small1/vmdkdm-test-small1.vmdk
name=vmdkdm-test-small1

# attach_with INJECTION [STRACE-OPTION...]: an attach under strace; $injected tells whether it came to that.
attach_with() {
    status=0
    strace -o "$work/strace" -e "trace=${1%%:*}" -e "inject=$1" "${@:2}" "$vmdk_dm" attach "$image" \
        >"$work/out" 2>"$work/err" || status=$?
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
            same_bytes "/dev/mapper/$name" "$work/expected/small1"
            must detach "$name"
        else
            failed=$((failed + 1))
            $injected || fail "call $number did not fail, but the attach did"
            [ ! -s "$work/out" ] || fail "call $number: a failed attach printed to stdout"
            [ -s "$work/err" ] || fail "call $number: a failed attach said nothing"
            [ ! -e "/dev/mapper/$name" ] || fail "call $number: the node is there when the attach has ended"
        fi
        nothing_left "$1 number $number failed with $2: $(<"$work/err")"
        $injected || break
    done
    printf '  %d calls, %d of them needed\n' $((number - 1)) "$failed"
    [ "$failed" -ge "$3" ] || fail "only $failed failures of $1 were noticed, expected at least $3"
}

check 'each ioctl fails: loop devices, mapped devices, messages'
fail_each ioctl EIO 15
check 'loop devices are taken by somebody else just before'
fail_each ioctl EBUSY 0 -P /dev/loop0 -P /dev/loop1
check 'devices cannot be opened'
fail_each openat EMFILE 5 -P /dev/loop-control -P /dev/loop0 -P /dev/loop1 -P /dev/mapper/control -P /dev/dm-0 -P /dev/dm-1
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
conclude
