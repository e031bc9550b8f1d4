#!/usr/bin/env bash
# What a running system does about our devices, in one machine, as it takes longer to boot than to look: each part is a script of its
# own beside this one, and leaves nothing behind that the next would see.
set -euo pipefail
parts=(hot-plug foreign clones)

for part in "${parts[@]}"; do
    printf '== %s\n' "$part"
    status=0
    bash "${0%/*}/$part.sh" "$1" || status=$?
    [ "$status" -eq 0 ] || { printf 'FAIL: boot/devices, part %s (%s.sh): exit status %s\n' "$part" "$part" "$status"; exit "$status"; }
done
