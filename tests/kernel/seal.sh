#!/usr/bin/env bash
# A sealed image: its certificate is there with its disk or not at all; one changed byte is found, in the right file, and
# keeps the disk from being attached.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
mkdir "$work/expected"
run_script seal_images.py "$images" "$work/expected/web"
remember_images
name=vmdkdm-test-web
image=$images/$name.vmdk
certificate=$work/web.seal
unchanged=("$name.vmdk: OK" 'middle.vmdk: OK' 'base.vmdk: OK' 'base-f000.vmdk: OK' 'base-f001.vmdk: OK')

nothing_is_sealed() {
    local path
    for path in "$work"/*.seal "$work"/.*vmdk-dm-*; do [ ! -e "$path" ] || fail "$1 left ${path##*/}"; done
    nothing_left "$1"
}

check 'the certificate names every file of the chain, the hidden ones too, and the disk'
must attach --json --seal "$certificate" "$image"
json_holds "$work/out" "d['seal'] == '$certificate'"
same_bytes "/dev/mapper/$name" "$work/expected/web"
[ "$(stat -c %a "$certificate")" = 444 ] || fail 'the certificate can be written to'
sums=$(cd "$images" && sha256sum "$name.vmdk" middle.vmdk base.vmdk base-f000.vmdk base-f001.vmdk)
disk=$(sha256sum <"$work/expected/web")
json_holds "$certificate" "d['image'] == '$image'" "d['capacity'] == $(stat -c %s "$work/expected/web")" \
    "''.join(f'{f[\"sha256\"]}  {f[\"name\"]}\n' for f in d['files']) == '''$sums
'''" "all(f['path'] == '$images/' + f['name'] for f in d['files'])" "d['disk']['sha256'] == '${disk%% *}'"
must verify --deep "$certificate"
printed "${unchanged[@]}" 'the disk: OK'

check 'a certificate is never overwritten'
must detach "$name"
refuses 5 attach --seal "$certificate" "$image"
says "'$certificate' exists"
refuses 5 attach --seal "$image" "$image"
nothing_left 'attach --seal with a file that exists'

check 'an image that is what its certificate says is attached; detach --verify says so'
must attach --require-seal "$certificate" "$image"
must detach --verify "$certificate" "$name"
printed "${unchanged[@]}"
is_silent

check 'another image, several disks, --deferred: nothing is detached'
mkdir "$work/copy"
cp "$images"/* "$work/copy"
must attach --name vmdkdm-test-copy "$work/copy/$name.vmdk"
refuses 2 detach --verify "$certificate" vmdkdm-test-copy
says "is the certificate of '$image', and 'vmdkdm-test-copy' is '$work/copy/$name.vmdk'"
refuses 2 detach --verify "$certificate" --all
refuses 2 detach --verify "$certificate" --deferred vmdkdm-test-copy
refuses 6 detach --verify "$work/nothing" vmdkdm-test-copy
is_device vmdkdm-test-copy
must detach vmdkdm-test-copy

check 'a moved image matches, one with another file does not'
must attach --require-seal "$certificate" --seal "$work/copy.seal" "$work/copy/$name.vmdk"
must verify --image "$work/copy/$name.vmdk" "$certificate"
printed "${unchanged[@]}"

check 'one byte of a parent changes: verify, detach --verify and --require-seal name that file'
flip_byte() { printf X | dd of="$1" bs=1 seek=400000 conv=notrunc status=none; }
flip_byte "$work/copy/middle.vmdk"
changed=("${unchanged[@]/#middle.vmdk: OK/middle.vmdk: changed}")
try verify --deep "$work/copy.seal"
[ "$status" -eq 8 ] || fail "verify: status $status"
printed "${changed[@]}" 'the disk: changed'
says "2 of 6 are not what '$work/copy.seal' says"
try detach --verify "$work/copy.seal" "$name"
[ "$status" -eq 8 ] || fail "detach --verify: status $status"
printed "${changed[@]}"
nothing_left 'detach --verify of a changed image'
refuses 8 attach --require-seal "$work/copy.seal" --seal "$work/new.seal" "$work/copy/$name.vmdk"
says "it is not what '$work/copy.seal' says: 'middle.vmdk' has changed"
if [ -e "$work/new.seal" ]; then fail 'a refused image was sealed'; fi
rm "$work/copy.seal"

check 'an older layer is another image: its files are named'
refuses 8 attach --layer 1 --require-seal "$certificate" "$image"
says "'$name.vmdk' is no file of the image any more"
nothing_left 'attach --require-seal of another layer'
mv "$certificate" "$work/kept"

check 'an attach that fails makes no certificate'
must attach "$image"
refuses 5 attach --seal "$certificate" "$image"
must detach "$name"
nothing_is_sealed 'a second attach'
status=0
strace -f -o "$work/strace" -e trace=linkat,renameat2 -e inject=linkat,renameat2:error=EIO "$vmdk_dm" attach \
    --seal "$certificate" "$image" >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 1 ] || fail "status $status when the certificate cannot get its name"
nothing_is_sealed 'a certificate that cannot get its name'

check 'a kill when the certificate gets its name leaves it whole or not at all, and no disk'
{ strace -f -o "$work/strace" -e trace=linkat,renameat2 -e inject=linkat,renameat2:signal=KILL "$vmdk_dm" attach \
    --seal "$certificate" "$image" >"$work/out" 2>"$work/err"; } 2>"$work/killed" || true
nothing_left 'a kill when the certificate gets its name'
if [ -e "$certificate" ]; then must verify "$certificate"; fi
rm -f "$certificate" "$work"/.web.seal.vmdk-dm-*

truncate -s 64G "$work/long.raw"
printf 'version=1\nRW %d FLAT "long.raw" 0\n' $((128 << 20)) >"$work/vmdkdm-test-long.vmdk"
for signal in INT TERM KILL; do
    check "SIG$signal while files are hashed leaves no certificate and no disk"
    : >"$work/err"  # of the one before
    # A shell's background jobs ignore SIGINT.
    env --default-signal=INT "$vmdk_dm" attach --progress json --seal "$certificate" "$work/vmdkdm-test-long.vmdk" \
        >"$work/out" 2>"$work/err" &
    wait_until 60 grep -q bytesDone "$work/err" || fail 'no progress within 60 s'
    kill "-$signal" $!
    status=0
    wait $! 2>"$work/killed" || status=$?
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ] || fail "status $status"
    nothing_is_sealed "SIG$signal"
done

check 'a file that is written while it is hashed is not sealed'
: >"$work/err"
"$vmdk_dm" attach --progress json --seal "$certificate" "$work/vmdkdm-test-long.vmdk" >"$work/out" 2>"$work/err" &
wait_until 60 grep -q bytesDone "$work/err" || fail 'no progress within 60 s'
# Not to wait for the end of 64 GiB: the file ends early, and the read there says so.
: >"$work/long.raw"
status=0
wait $! || status=$?
[ "$status" -eq 3 ] || fail "status $status"
says "'$work/long.raw' ends at byte"
nothing_is_sealed 'a file that was cut'

mv "$work/kept" "$certificate"
must verify "$certificate"
conclude
