#!/usr/bin/env bash
# lintian finds neither errors nor warnings in the packages; overrides stand in packaging/ with their reasons.
set -eu
command -v lintian >/dev/null || {
    echo 'cannot test: lintian is missing (scripts/install-dependencies package)'
    [ "${CI-}" = true ] && exit 1
    exit 77
}
[ "$(find build/package/packages -name '*.deb' | wc -l)" -eq 3 ] || { echo 'FAIL: there are not three packages'; exit 1; }
lintian --no-cfg --fail-on error,warning --display-info --show-overrides build/package/packages/*.deb
