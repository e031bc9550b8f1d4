#!/usr/bin/env bash
# Fifty loop devices that did not exist before, on a loaded machine: whoever listens to udev never hears of one without our
# mark, udisks offers none, and udev has dealt with all of them when attach returns. By hand, as it takes long; what runs
# every time is kernel/loop-events.
#
#   scripts/run-in-vm --timeout 1800 --install build/release -- bash tests/boot/loops.sh /usr/local/sbin/vmdk-dm [ROUNDS [LOOPS]]
set -eu
. "$(dirname -- "$0")/lib.sh"
rounds=${2:-20}
count=${3:-50}
start mke2fs udisksctl udevadm renice
# udevd and udisks come first, so that they look at what is not ready.
renice --priority 19 $$ >/dev/null

check "an image of $count files, with a file system in each"
name=vmdkdm-test-loops
directory=$images/loops
mkdir "$directory"
truncate --size 256K "$directory/0"
run mke2fs -q -t ext2 -L vmdkdm-loops "$directory/0"
{
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=fffffffe parentCID=ffffffff createType=twoGbMaxExtentFlat
    for ((number = 0; number < count; number++)); do
        [ "$number" -eq 0 ] || cp "$directory/0" "$directory/$number"
        echo "RW 512 FLAT \"$number\" 0"
    done
} >"$directory/$name.vmdk"
remember_images
wait_until 60 udisks_offers /dev/nvme0n1 || fail 'udisks does not even offer /dev/nvme0n1'

# remove_idle_loops: so that the next ones are new again.
remove_idle_loops() {
    "$python" -c '
import fcntl, glob, os
control = os.open("/dev/loop-control", os.O_RDWR)
for path in glob.glob("/sys/block/loop*"):
    if not os.path.exists(path + "/loop"):
        try:
            fcntl.ioctl(control, 0x4C81, int(os.path.basename(path)[4:]))
        except OSError:
            pass
'
}

# unmarked_events: what was heard of our loops without the mark, a line each.
unmarked_events() {
    awk -v names="$(tr '\n' ' ' <"$work/names")" '
        BEGIN { split(names, list, " "); for (i in list) ours[list[i]] = 1 }
        $1 == "udev" && ("/dev/" $4) in ours { heard++; if ($5 != "marked" && $3 != "remove") print $4, $3 }
        END { if (!heard) print "nothing was heard of any" }' "$work/heard"
}

# offered_loops: of ours, those that udisks knows with a size and without the hint to ignore them.
offered_loops() {
    udisksctl dump | awk -v names="$(tr '\n' ' ' <"$work/names")" '
        BEGIN { split(names, list, " "); for (i in list) ours[list[i]] = 1 }
        /^\/org/ { if (device in ours && size > 0 && !ignored) print device; device = ""; size = ignored = 0 }
        $1 == "Device:" { device = $2 }
        $1 == "Size:" { size = $2 }
        $1 == "HintIgnore:" { ignored = $2 == "true" }
        END { if (device in ours && size > 0 && !ignored) print device }'
}

# looked_into: what udev has found on ours.
looked_into() {
    udevadm info --export-db | awk -v names="$(tr '\n' ' ' <"$work/names")" '
        BEGIN { split(names, list, " "); for (i in list) ours[list[i]] = 1; RS = ""; FS = "\n" }
        {
            device = found = ""
            for (i = 1; i <= NF; i++) {
                if ($i ~ /^E: DEVNAME=/) device = substr($i, 12)
                if ($i ~ /^E: ID_(FS|PART)/) found = $i
            }
            if (device in ours && found != "") print device, found
        }'
}

for _ in 1 2; do
    while :; do :; done &
done
failures=0
for ((round = 1; round <= rounds; round++)); do
    check "round $round"
    settled
    rm -f "$work/heard"
    "$python" "$boot/../kernel/loop_listener.py" "$work/heard" &
    listener=$!
    wait_until 60 grep -q -s listening "$work/heard" || fail 'nobody listens'
    before=$(now_ms)
    must attach "$directory/$name.vmdk"
    after=$(now_ms)
    { [ -e /run/udev/queue ] && early=yes; } || early=no
    loops_on "$directory" >"$work/names"
    [ "$(wc -l <"$work/names")" -eq "$count" ] || fail "$(wc -l <"$work/names") loops"
    settled
    kill "$listener"
    wait "$listener"
    unmarked=$(unmarked_events)
    offered=$(offered_loops)
    known=$(looked_into)
    must detach "$name"
    settled
    remove_idle_loops
    printf '  attached in %d ms; udev was at work then: %s; unmarked events: %d; offered by udisks: %d; looked into: %d\n' \
        $((after - before)) "$early" "$(grep -c . <<<"$unmarked")" "$(grep -c . <<<"$offered")" "$(grep -c . <<<"$known")"
    [ "$early$unmarked$offered$known" = no ] || failures=$((failures + 1))
done
for job in $(jobs -p); do kill "$job"; done
echo "$failures of $rounds rounds failed"
[ "$failures" -eq 0 ] || fail "$failures of $rounds rounds failed"
conclude
