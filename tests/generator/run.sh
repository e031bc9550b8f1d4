#!/usr/bin/env bash
# The generator as a program: what it writes for a table, what it asks the images themselves, what it does when something is wrong.
#
#   tests/generator/run.sh build/release/vmdk-dm-generator
set -euo pipefail
export LC_ALL=C
generator=$(readlink -f -- "${1:?usage: ${0##*/} PATH-OF-THE-GENERATOR}")
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdm-test.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
mkdir images

fail() {
    printf 'FAIL: %s\n' "$1"
    [ ! -s said ] || { printf 'it said:\n' && cat said; }
    exit 1
}
check() { printf -- '- %s\n' "$1"; }

# generate [VARIABLE=VALUE...]: from the files table, fstab, crypttab and command-line, into the directory units.
generate() {
    rm -rf units
    mkdir units
    touch fstab crypttab command-line
    env SYSTEMD_VMDKTAB="$work/table" SYSTEMD_FSTAB=fstab SYSTEMD_CRYPTTAB=crypttab VMDK_DM_CMDLINE=command-line "$@" \
        "$generator" units early late >said 2>&1 || fail "exit status $?"
}
has_line() { grep -q -x -F -e "$2" "units/$1" || { cat -- "units/$1"; fail "$1 has no line: $2"; }; }
writes_nothing() { [ -z "$(ls -A units)" ] || fail "there are units: $(find units -type f -o -type l)"; }

# descriptor FILE PARENT EXTENT...: no PARENT, no snapshot.
descriptor() {
    printf '# Disk DescriptorFile\nversion=1\nCID=fffffffe\ncreateType="twoGbMaxExtentSparse"\n' >"$1"
    if [ -n "$2" ]; then
        printf 'parentCID=12345678\nparentFileNameHint="%s"\n' "$2" >>"$1"
    else
        printf 'parentCID=ffffffff\n' >>"$1"
    fi
    printf 'RW 2048 SPARSE "%s"\n' "${@:3}" >>"$1"
}

check 'no table, no units, and no word'
generate
writes_nothing
[ ! -s said ] || fail 'it complains'

check 'a table: a drop-in for the service, and what starts it'
printf 'web %s/images/web.vmdk\n' "$work" >table
descriptor images/web.vmdk '' web-s001.vmdk
generate
has_line 'vmdk-dm@web.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/images/web.vmdk\""
[ "$(basename -- "$(readlink -- units/vmdk-dm.target.requires/vmdk-dm@web.service)")" = vmdk-dm@.service ] || fail 'no link'
[ -L units/sysinit.target.wants/vmdk-dm.target ] || fail 'nothing starts the target'
[ ! -e early ] || fail 'it wrote to the directory of early units'
[ ! -e late ] || fail 'it wrote to the directory of late units'

check 'files of the chain that are not there yet are found where they were looked for'
descriptor images/web.vmdk "$work/far/base/base.vmdk" "$work/other/extent.vmdk"
printf 'web %s/images/web.vmdk search-dir=%s/far,allow-path=%s\n' "$work" "$work" "$work" >table
generate
has_line 'vmdk-dm@web.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/far/base\""
has_line 'vmdk-dm@web.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/other\""
check 'but not what attach would not open'
printf 'web %s/images/web.vmdk\n' "$work" >table
generate
! grep -q -e /far -e /other 'units/vmdk-dm@web.service.d/50-vmdktab.conf' || fail 'it says what the descriptor may not name'

check 'an image that is no image, a FIFO, a loop of parents: the unit is made all the same'
mkfifo images/fifo.vmdk
head -c 100000 /dev/urandom >images/noise.vmdk
descriptor images/loop.vmdk loop.vmdk a.vmdk
for name in fifo noise loop; do printf '%s %s/images/%s.vmdk\n' "$name" "$work" "$name"; done >table
generate
for name in fifo noise loop; do [ -e "units/vmdk-dm@$name.service.d/50-vmdktab.conf" ] || fail "no unit for $name"; done

check 'a link to the image: the place of the file itself is needed too'
mkdir -p real
descriptor real/real.vmdk '' e.vmdk
ln -s ../real/real.vmdk images/link.vmdk
printf 'link %s/images/link.vmdk\n' "$work" >table
generate
has_line 'vmdk-dm@link.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/images/link.vmdk\""
has_line 'vmdk-dm@link.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/real\""

check 'a broken line is reported with its place, and the others are used'
printf 'broken\nlink %s/images/link.vmdk\n' "$work" >table
generate
grep -q "^vmdk-dm-generator: $work/table:1:" said || fail 'it does not say where'
[ -e 'units/vmdk-dm@link.service.d/50-vmdktab.conf' ] || fail 'the good line has no unit'

check 'a table that is a directory, or noise, does no harm'
rm table
mkdir table
generate
writes_nothing
rmdir table
head -c 100000 /dev/urandom >table
generate

check 'vmdk-dm=0 on the command line of the kernel, and an initramfs, switch it off'
printf 'link %s/images/link.vmdk\n' "$work" >table
echo 'quiet vmdk-dm=0 root=/dev/sda1' >command-line
generate
writes_nothing
echo 'quiet vmdk-dm=01 root=/dev/sda1' >command-line
generate SYSTEMD_IN_INITRD=1
writes_nothing
generate
[ -e 'units/vmdk-dm@link.service.d/50-vmdktab.conf' ] || fail 'it is switched off by another word'

check 'a file system that hangs is given up, and what is known of its image by then is used'
if command -v strace >/dev/null; then
    printf 'link %s/images/link.vmdk\nweb %s/images/web.vmdk search-dir=%s/far\n' "$work" "$work" "$work" >table
    mkdir -p far
    rm -rf units
    mkdir units
    # openat2 is how files are opened: in each reader the directory of the image, the image, and then what it names. strace
    # itself waits for the delayed process.
    SYSTEMD_VMDKTAB=$work/table SYSTEMD_FSTAB=fstab SYSTEMD_CRYPTTAB=crypttab VMDK_DM_CMDLINE=command-line \
        strace -f -qq -o trace -e trace=openat2 -e inject=openat2:delay_enter=60s:when=3+ "$generator" units >said 2>&1 &
    SECONDS=0
    until [ -L units/sysinit.target.wants/vmdk-dm.target ]; do
        [ "$SECONDS" -lt 20 ] || fail 'it still waits'
        sleep 0.1
    done
    kill -KILL $!
    wait $! 2>/dev/null || true
    grep -q openat2 trace || fail 'nothing was delayed'
    has_line 'vmdk-dm@link.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/real\""
    [ -e 'units/vmdk-dm@web.service.d/50-vmdktab.conf' ] || fail 'no unit for web'
else
    printf '  (not tested: there is no strace)\n'
fi

check 'descriptors are read under a filter of system calls'
if command -v strace >/dev/null; then
    printf 'link %s/images/link.vmdk\nnoise %s/images/noise.vmdk\n' "$work" "$work" >table
    rm -rf units
    mkdir units
    # A sanitizer cannot look for leaks in what is traced.
    SYSTEMD_VMDKTAB=$work/table SYSTEMD_FSTAB=fstab SYSTEMD_CRYPTTAB=crypttab VMDK_DM_CMDLINE=command-line ASAN_OPTIONS=detect_leaks=0 \
        strace -f -qq -y -o trace -e trace=seccomp,pread64 "$generator" units >said 2>&1
    grep -q 'pread64(.*real\.vmdk' trace || fail 'the descriptor was not read'
    awk '/seccomp\(SECCOMP_SET_MODE_FILTER/ { filtered[$1] = 1 } /pread64\(.*\.vmdk/ && !filtered[$1] { exit 1 }' trace || fail 'without a filter'
    has_line 'vmdk-dm@link.service.d/50-vmdktab.conf' "RequiresMountsFor=\"$work/real\""
else
    printf '  (not tested: there is no strace)\n'
fi

check 'a thousand entries take no time to speak of'
for ((i = 0; i < 1000; i++)); do printf 'disk%d %s/images/link.vmdk\n' "$i" "$work"; done >table
SECONDS=0
generate
[ "$SECONDS" -lt 30 ] || fail "it took $SECONDS s"
[ "$(find units -name '*.conf' | wc -l)" -eq 1000 ] || fail 'units are missing'
