#!/usr/bin/env bash
# `vmdk-dm table` says what attach does, and what it prints for dmsetup works without vmdk-dm.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/stage.sh"
start mke2fs mount sed setpriv umount
# Where there is direct I/O: elsewhere a device that reads page by page comes in between.
make_stage 64
images=$work/stage/images
mkdir "$images" "$work/stage/elsewhere"
make_images bytes "$work/stage/elsewhere"
remember_images

for case in mixed twice short 'blanks and ü' zero-only; do
    check "$case: the table of 'table' is the table that attach loads"
    mapfile -t options <"$work/expected/$case.options"
    image="$images/$case/vmdkdm-test-$case.vmdk"
    name=vmdkdm-test-table
    must table --name "$name" ${options[0]+"${options[@]}"} "$image"
    mv -- "$work/out" "$work/plan"
    must attach --name "$name" ${options[0]+"${options[@]}"} "$image"
    # /dev/loopN of the plan is the N-th file that it names; the kernel says which device has it.
    dmsetup table "$name" >"$work/loaded"
    planned=$(grep -v -e '^strategy ' -e '^loop ' -e '^device ' "$work/plan")
    while read -r word loop access block file; do
        [ "$word" = loop ] || continue
        [ "$access $block" = 'ro 512' ] || fail "unexpected: $word $loop $access $block $file"
        for path in /sys/block/loop*/loop/backing_file; do
            { read -r backing <"$path"; } 2>/dev/null || continue
            [ "$backing" = "$file" ] || continue
            read -r number <"${path%/loop/backing_file}/dev"
            planned=${planned//"linear $loop "/"linear $number "}
        done
    done <"$work/plan"
    # The kernel puts a blank behind a target without arguments.
    [ "$planned" = "$(sed 's/ $//' "$work/loaded")" ] || fail "planned: $planned; loaded: $(<"$work/loaded")"
    grep -qx "device $name ro $(dmsetup info -c --noheadings -o uuid "$name")" "$work/plan" || fail 'UUID or access'
    must detach "$name"

    check "$case: table --concise, with losetup and dmsetup only"
    must table --concise --name "$name" ${options[0]+"${options[@]}"} "$image"
    sed -n 's/^# losetup /losetup /p' "$work/err" >"$work/losetup"
    # shellcheck source=/dev/null
    . "$work/losetup"
    dmsetup create --concise "$(<"$work/out")"
    dmsetup mknodes "$name" # with --concise it leaves the node to udev
    dd if="/dev/mapper/$name" of="$work/read" bs=512 iflag=direct conv=noerror,sync status=none 2>"$work/dd" || true
    same_bytes "$work/read" "$work/expected/$case"
    [ "$(blockdev --getro "/dev/mapper/$name")" = 1 ] || fail 'the device is writable'
    check "$case: vmdk-dm lists and detaches what dmsetup made"
    must list --json
    json_holds "$work/out" "d[0]['name'] == '$name'"
    must detach "$name"
    for loop in $(loops_on "$images"); do losetup --detach "$loop"; done
    nothing_left "$case"
done

check 'table needs no root and no device mapper'
chmod 755 "$work"
cp -- "$vmdk_dm" "$work/vmdk-dm-for-all"
status=0
setpriv --reuid 65534 --regid 65534 --clear-groups "$work/vmdk-dm-for-all" table --json \
    "$images/mixed/vmdkdm-test-mixed.vmdk" >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 0 ] || fail "exit status $status"
json_holds "$work/out" 'd["name"] == "vmdkdm-test-mixed"' 'len(d["devices"][0]["table"]) == 8'
images_unchanged
remembered=false
remove_stage
conclude
