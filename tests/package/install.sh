#!/usr/bin/env bash
# The packages are installed, upgraded, removed and purged in a root file system of their own, a minimal Debian with what they
# depend on: the administrator's lines survive all but a purge, and after that the root is what it was.
#
# mmdebstrap makes that root without being root, and its hooks run in there. It is made once and kept in build/package-root/
# until the list below or the apt sources change.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
cache=build/package-root
suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
# Both makers of initramfs at once, of dracut only the core: that is what the packages depend on.
present=(systemd-sysv udev dmsetup mount kmod initramfs-tools busybox dracut-core
    libdevmapper1.02.1 libblkid1 libudev1 libcryptsetup12 libmount1 libdeflate0 libnettle8 libstdc++6)

main() {
    case ${1-} in
    --in-root) check_in_root "$2" ;;
    *) prepare && in_new_root ;;
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
    for name in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ ! -s "$name" ] || { sources=$name; break; }
    done
    base=$cache/base-$( { cat -- "$sources"; printf '%s\n' "$suite" "${present[@]}"; } | sha256sum | cut -c -16).tar
    [ -e "$base" ] || make_base
    mkdir "$work/packages" "$work/packages/newer"
    cp build/package/packages/*.deb "$work/packages"
    for name in "$work"/packages/*.deb; do make_newer "$name"; done
    # In a namespace of its own, others than the caller may have to read it.
    chmod -R a+rX "$work"
}

make_base() {
    echo 'making a root file system (a minute)'
    mkdir -p "$cache"
    rm -f "$cache"/base-*
    apt-config dump --format '%f "%v";%n' Acquire >"$work/apt.conf"
    setsid --wait mmdebstrap --variant=essential --skip=output/dev --include="$(IFS=,; printf '%s' "${present[*]}")" \
        --aptopt="$work/apt.conf" --aptopt='APT::Install-Recommends "false"' \
        "$suite" "$base.new.tar" "$sources" >"$work/log" 2>&1 </dev/null || { tail -n 40 "$work/log"; fail 'mmdebstrap failed'; }
    mv -- "$base.new.tar" "$base"
}

# The same package with a higher version, in newer/.
make_newer() {
    local unpacked=$work/unpacked
    rm -rf "$unpacked"
    dpkg-deb --raw-extract "$1" "$unpacked"
    sed -i -e 's/^Version: .*/&+newer/' -e 's/\(vmdk-dm (= [^)]*\))/\1+newer)/' "$unpacked/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$unpacked" "$work/packages/newer/${1##*/}" >/dev/null
}

in_new_root() {
    # shellcheck disable=SC2016 # expanded by mmdebstrap's hooks
    setsid --wait mmdebstrap --quiet --variant=custom --format=null --skip=update --setup-hook="tar-in '$base' /" \
        --customize-hook="copy-in '$work/packages' /" --customize-hook="bash '$here/install.sh' --in-root \"\$1\"" \
        "$suite" /dev/null "$sources" </dev/null
}

# Everything in the root but what dpkg and the like write about it.
files() {
    (cd "$root" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./packages -o -path ./var/lib/dpkg \
        -o -path ./var/log -o -path ./var/cache/ldconfig -o -path ./var/cache/man -o -path ./run -o -path ./tmp \) -prune \
        -o ! -type d -printf '%p %y %m %s %l\n' -o -printf '%p %y %m\n' | sort)
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
lines_are_kept() { [ "$(tail -n 1 "$root/etc/vmdktab")" = "$line" ] || fail "/etc/vmdktab has lost a line after $1"; }

check_in_root() {
    root=$1
    line='data /srv/data.vmdk expose'
    local packages=(vmdk-dm vmdk-dm-dracut vmdk-dm-initramfs) version before installed
    local debs=("$root"/packages/*.deb) newer_debs=("$root"/packages/newer/*.deb)
    version=$(dpkg-deb --field "$root"/packages/vmdk-dm_*.deb Version)
    before=$(files)

    echo '- installed: the tool runs, all files are as packed, and there is an empty /etc/vmdktab'
    dpkg_in_root --install "${debs[@]#"$root"}"
    all_configured "$version"
    [[ $(chroot "$root" vmdk-dm --version) == *"$version"* ]] || fail 'vmdk-dm --version does not say the version'
    [ -z "$(chroot "$root" dpkg --verify "${packages[@]}")" ] || fail 'dpkg --verify finds differences'
    ! grep -q '^[^#]' "$root/etc/vmdktab" || fail '/etc/vmdktab is not empty'

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
    diff <(printf '%s\n' "$before") <(files) || fail 'something is left after a purge'
}

main "$@"
