# A file system of its own for images, caches or overlays, on a device that fails as the test wants it to. Sourced after
# lib.sh, in the embedded kernel.
# shellcheck shell=bash
# shellcheck disable=SC2154 # work and state_at_start are lib.sh's

stage=vmdkdm-test-stage
stage_device=''
stage_sectors=0
state_before_stage=''

# make_stage MIB [BLOCK-SIZE]: an ext4 without a journal at $work/stage.
make_stage() {
    state_before_stage=$state_at_start
    mkdir -p "$work/stage"
    # In memory: what the embedded kernel writes to this machine's files, it may read back from a cache of its own.
    truncate -s "$1M" "/dev/shm/$stage"
    # The last that the kernel begins with: the first are left to those who name them.
    stage_device=/dev/loop7
    losetup "$stage_device" "/dev/shm/$stage"
    rm "/dev/shm/$stage"
    stage_sectors=$(($1 * 2048))
    dmsetup create "$stage" --verifyudev --table "0 $stage_sectors linear $stage_device 0"
    mke2fs -q -t ext4 -b "${2:-4096}" -O '^has_journal' -E lazy_itable_init=0,nodiscard "/dev/mapper/$stage"
    mount -t ext4 -o errors=continue "/dev/mapper/$stage" "$work/stage"
    kernel_state
    state_at_start=$state
}

# stage_becomes TABLE...: lines of a device-mapper table, or a file with them; what is not in use is read anew from then on.
stage_becomes() {
    sync
    if [ -e "$1" ]; then
        dmsetup reload "$stage" "$1"
    else
        printf '%s\n' "$@" >"$work/table"
        dmsetup reload "$stage" "$work/table"
    fi
    dmsetup suspend --nolockfs "$stage"
    dmsetup resume "$stage"
    echo 3 >/proc/sys/vm/drop_caches
}

stage_is_sound() { stage_becomes "0 $stage_sectors linear $stage_device 0"; }

# stage_fails FILE FIRST COUNT: these sectors of a file on the stage cannot be read or written.
stage_fails() {
    run_script bad_sectors.py chosen "$1" "$2" "$3" "$stage_device" "$stage_sectors"
    printf '%s' "$answer" >"$work/table"
    stage_becomes "$work/table"
}

remove_stage() {
    stage_is_sound
    umount "$work/stage"
    dmsetup remove --retry --verifyudev "$stage"
    losetup --detach "$stage_device"
    state_at_start=$state_before_stage
}
