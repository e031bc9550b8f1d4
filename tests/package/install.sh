#!/usr/bin/env bash
# The packages are installed, upgraded, removed and purged in a root file system of their own, a minimal Debian that has what
# they may depend on: the administrator's lines survive all but a purge, and after that the root is what it was.
#
# mmdebstrap's hooks run in that root, without being root outside of it.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")

main() {
    case ${1-} in
    --in-root) check_in_root "$2" ;;
    *)
        prepare
        check_contents
        in_new_root
        ;;
    esac
}

fail() {
    printf 'FAIL: %s\n' "$1"
    exit 1
}

prepare() {
    local name
    work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdm-test.XXXXXX")
    trap 'rm -rf -- "$work"' EXIT
    base=$("$here/../../scripts/make-vm-root")/base.tar
    mkdir "$work/packages" "$work/packages/newer"
    cp build/package/packages/*.deb "$work/packages"
    for name in "$work"/packages/*.deb; do make_newer "$name"; done
    # In a namespace of its own, others than the caller may have to read it.
    chmod -R a+rX "$work"
}

# The same package with a higher version, in newer/.
make_newer() {
    local unpacked=$work/unpacked
    rm -rf "$unpacked"
    dpkg-deb --raw-extract "$1" "$unpacked"
    sed -i -e 's/^Version: .*/&+newer/' -e 's/\(vmdk-dm (= [^)]*\))/\1+newer)/' "$unpacked/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$unpacked" "$work/packages/newer/${1##*/}" >/dev/null
}

# depends PACKAGE: the names of what it depends on.
depends() { dpkg-deb --field "$work/packages/$1"_*.deb Depends | sed -e 's/([^)]*)//g' -e 's/[, ]\+/ /g' -e 's/ *$//' | tr ' ' '\n' | sort | tr '\n' ' '; }
must_depend() { [ "$(depends "$1")" = "$2 " ] || fail "$1 depends on: $(depends "$1"), not: $2"; }

check_contents() {
    echo '- the packages depend on what they need and no more, and name paths below /usr'
    must_depend vmdk-dm 'libblkid1 libc6 libcap-ng0 libcryptsetup12 libdeflate0 libdevmapper1.02.1 libmount1 libnettle8 libseccomp2 libudev1'
    must_depend vmdk-dm-dracut 'dracut-core vmdk-dm'
    must_depend vmdk-dm-initramfs 'dmsetup initramfs-tools-core mount vmdk-dm'
    local name
    for name in "$work"/packages/*.deb; do
        dpkg-deb --extract "$name" "$work/contents"
    done
    for name in lib/udev/rules.d/59-vmdk-dm.rules lib/systemd/system/vmdk-dm@.service usr/share/initramfs-tools/hooks/vmdk-dm \
        usr/lib/dracut/modules.d/90vmdk-dm/module-setup.sh; do
        grep -q /usr/sbin/vmdk-dm "$work/contents/$name" || fail "$name does not name /usr/sbin/vmdk-dm"
    done
    ! grep -r -I -F /usr/local "$work/contents" --exclude-dir doc || fail 'the packages name paths below /usr/local'
}

in_new_root() {
    # shellcheck disable=SC2016 # expanded by mmdebstrap's hooks
    setsid --wait mmdebstrap --quiet --variant=custom --format=null --skip=update --setup-hook="tar-in '$base' /" \
        --customize-hook="copy-in '$work/packages' /" --customize-hook="bash '$here/install.sh' --in-root \"\$1\"" \
        "" /dev/null </dev/null
}

# Everything in the root but what dpkg and the like write about it.
files() {
    (cd "$root" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./packages -o -path ./var/lib/dpkg \
        -o -path ./var/log -o -path ./var/cache/ldconfig -o -path ./var/cache/man -o -path ./run -o -path ./tmp \) -prune \
        -o -path './boot/initrd*' -print -o ! -type d -printf '%p %y %m %s %l\n' -o -printf '%p %y %m\n' | sort)
}
dpkg_in_root() {
    chroot "$root" dpkg "$@" >"$root/packages/log" 2>&1 || { cat "$root/packages/log"; fail "dpkg $*"; }
    # The trigger of the initramfs packages must not fail, which dpkg would not tell.
    ! grep -i -e '^W:' -e '^E:' -e warning: "$root/packages/log" || { cat "$root/packages/log"; fail "dpkg $* complains"; }
}
all_configured() {
    local name
    for name in vmdk-dm vmdk-dm-dracut vmdk-dm-initramfs; do
        # shellcheck disable=SC2016 # dpkg-query's own
        [ "$(chroot "$root" dpkg-query --show --showformat '${db:Status-Abbrev} ${Version}' $name)" = "ii  $1" ] \
            || fail "$name is not installed in version $1"
    done
}
in_initramfs() { chroot "$root" sh -c 'lsinitramfs /boot/initrd.img-*' | grep -q -x usr/sbin/vmdk-dm; }
lines_are_kept() { [ "$(tail -n 1 "$root/etc/vmdktab")" = "$line" ] || fail "/etc/vmdktab has lost a line after $1"; }

check_in_root() {
    root=$1
    line='data /srv/data.vmdk expose'
    local packages=(vmdk-dm vmdk-dm-dracut vmdk-dm-initramfs) version before installed
    local debs=("$root"/packages/*.deb) newer_debs=("$root"/packages/newer/*.deb)
    version=$(dpkg-deb --field "$root"/packages/vmdk-dm_*.deb Version)
    # The base has no initramfs and is told to make none. Weak compression, as this one is made six times.
    rm "$root/etc/initramfs-tools/update-initramfs.conf"
    mkdir -p "$root/etc/initramfs-tools/conf.d"
    printf 'COMPRESS=gzip\nCOMPRESSLEVEL=1\n' >"$root/etc/initramfs-tools/conf.d/compress"
    chroot "$root" update-initramfs -c -k all
    ! in_initramfs || fail 'vmdk-dm is in the initramfs before it is installed'
    before=$(files)

    echo '- installed: the tool runs, all files are as packed, and there is an empty /etc/vmdktab'
    dpkg_in_root --install "${debs[@]#"$root"}"
    all_configured "$version"
    [[ $(chroot "$root" vmdk-dm --version) == *"$version"* ]] || fail 'vmdk-dm --version does not say the version'
    [ -z "$(chroot "$root" dpkg --verify "${packages[@]}")" ] || fail 'dpkg --verify finds differences'
    ! grep -q '^[^#]' "$root/etc/vmdktab" || fail '/etc/vmdktab is not empty'
    in_initramfs || fail 'vmdk-dm is not in the initramfs'

    echo '- upgraded, removed and installed again: the lines of /etc/vmdktab stay'
    echo "$line" >>"$root/etc/vmdktab"
    mkdir -p "$root/var/cache/vmdk-dm/image"
    dpkg_in_root --install "${newer_debs[@]#"$root"}"
    all_configured "$version+newer"
    lines_are_kept 'an upgrade'
    dpkg_in_root --remove "${packages[@]}"
    lines_are_kept 'a removal'
    [ -z "$(chroot "$root" sh -c 'command -v vmdk-dm')" ] || fail 'vmdk-dm is still there after a removal'
    dpkg_in_root --install "${debs[@]#"$root"}"
    lines_are_kept 'a new installation'

    echo '- purged: the root file system is what it was'
    installed=$(files)
    [ "$installed" != "$before" ] || fail 'the comparison of file lists sees no difference at all'
    dpkg_in_root --purge "${packages[@]}"
    ! in_initramfs || fail 'vmdk-dm is still in the initramfs'
    diff <(printf '%s\n' "$before") <(files) || fail 'something is left after a purge'
}

main "$@"
