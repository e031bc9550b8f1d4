#!/usr/bin/env bash
# The power goes out while a disk is written through an overlay: the embedded kernel is killed from outside at a random
# moment. Its own page cache is lost then, and what had reached the overlay's file on this machine stays. Attached
# again in a new kernel, the disk has every write that was flushed, and of the others whole sectors or nothing.
#
#   bash tests/kernel/overlay-kill.sh build/release/vmdk-dm [ROUNDS [SEED]]
#
# Runs outside, not in the embedded kernel.
set -eu
export LC_ALL=C
here=$(dirname -- "$(readlink -f -- "$0")")
vmdk_dm=$(readlink -f -- "${1:?usage: ${0##*/} PATH-OF-VMDK-DM [ROUNDS [SEED]]}")
rounds=${2:-5}
RANDOM=${3:-4711}
run_in_kernel=$here/../../scripts/run-in-kernel
"$here/../../scripts/install-dependencies" embedded || {
    echo 'run-in-kernel: the embedded kernel needs the packages named above'
    exit 77
}

# One that is found first in PATH may be a version manager's shell script, which takes seconds in there.
python=/usr/bin/python3
work=$(mktemp -d /tmp/vmdkdm-test.XXXXXX)
finish() {
    [ -z "${job:-}" ] || kill -KILL "$job" 2>/dev/null || true
    rm -rf -- "$work"
}
trap finish EXIT
fail() {
    printf 'FAIL: %s\n' "$1"
    [ ! -s "$work/said" ] || cat "$work/said"
    exit 1
}

# Whether a process of this machine, which an embedded kernel is, has the overlay open.
is_open() { find /proc/[0-9]*/fd -lname "$work/overlay" 2>/dev/null | grep -q .; }

# 16 MiB, in which no two sectors are alike.
mkdir "$work/image"
"$python" -c 'import sys
for i in range(32768): sys.stdout.buffer.write(b"sector %057d" % i * 8)' >"$work/image/web-flat.vmdk"
cat >"$work/image/web.vmdk" <<'END'
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW 32768 FLAT "web-flat.vmdk" 0
END
facts() { (cd "$work/image" && find . -type f -printf '%p %s %T@\n' -exec sha256sum {} + | sort); }
facts >"$work/facts"
cp "$work/image/web-flat.vmdk" "$work/before"

attach="'$vmdk_dm' attach --name vmdkdm-test-cut --overlay '$work/overlay' '$work/image/web.vmdk' >/dev/null"
disk=/dev/mapper/vmdkdm-test-cut
refused=0
for ((round = 1; round <= rounds; round++)); do
    seed=$((RANDOM * 32768 + RANDOM))
    rm -f "$work/log"
    "$run_in_kernel" --timeout 600 -- bash -c "$attach && exec $python '$here/overlay_writer.py' write $disk '$work/log' $seed" \
        >"$work/said" 2>&1 &
    job=$!
    for ((waited = 0; waited < 3000; waited++)); do
        [ ! -s "$work/log" ] || break
        kill -0 "$job" 2>/dev/null || fail "round $round: it ended by itself"
        sleep 0.1
    done
    [ -s "$work/log" ] || fail "round $round: nothing was written within five minutes"
    moment=$((RANDOM * 3000 / 32768))
    sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
    # Its guard kills the kernel and all in it when the script is gone.
    kill -KILL "$job"
    wait "$job" 2>/dev/null || true
    job=''
    for ((waited = 0; waited < 600; waited++)); do
        is_open || break
        sleep 0.1
    done
    ! is_open || fail "round $round: the old kernel still runs"

    status=0
    "$run_in_kernel" --timeout 600 -- bash -c "$attach || exit; $python '$here/overlay_writer.py' check $disk '$work/log' $seed \
        '$work/before' '$work/after' && '$vmdk_dm' detach vmdkdm-test-cut" >"$work/said" 2>&1 || status=$?
    facts | cmp -s - "$work/facts" || fail "round $round: the image has changed"
    case $status in
    0)
        printf -- '- cut after %d ms: %s\n' "$moment" "$(<"$work/said")"
        mv "$work/after" "$work/before"
        ;;
    3 | 4)
        # Refused, with a reason: then it begins anew.
        printf -- '- cut after %d ms: refused: %s\n' "$moment" "$(<"$work/said")"
        refused=$((refused + 1))
        rm "$work/overlay"
        cp "$work/image/web-flat.vmdk" "$work/before"
        ;;
    *) fail "round $round (seed $seed, cut after $moment ms): exit status $status" ;;
    esac
done
[ "$refused" -lt "$rounds" ] || fail 'no overlay survived'
cmp -s "$work/before" "$work/image/web-flat.vmdk" && fail 'nothing was written'
printf '%s: %d rounds, %d refused\n' "${0##*/}" "$rounds" "$refused"
