#!/usr/bin/env bash
# lintian finds neither errors nor warnings in the packages; overrides stand in packaging/ with their reasons.
set -eu
command -v lintian >/dev/null || {
    echo 'cannot test: lintian is missing (scripts/install-dependencies package)'
    [ "${CI-}" = true ] && exit 1
    exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdm-test.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
packages=(build/package/packages/*.deb)

is_clean() { lintian --no-cfg --fail-on error,warning "$@"; }

[ ${#packages[@]} -eq 3 ] || { echo 'FAIL: there are not three packages'; exit 1; }
is_clean "${packages[@]}" || { echo 'FAIL: lintian has found something'; exit 1; }

# What is silent above must be able to say something.
dpkg-deb --raw-extract "${packages[0]}" "$work/unpacked"
sed -i '/^Priority:/d' "$work/unpacked/DEBIAN/control"
rm "$work"/unpacked/usr/share/doc/*/changelog.gz
dpkg-deb --root-owner-group --build "$work/unpacked" "$work/${packages[0]##*/}" >/dev/null
! is_clean "$work/${packages[0]##*/}" >"$work/log" 2>&1 || { echo 'FAIL: lintian finds nothing wrong without a changelog'; exit 1; }
