#!/bin/bash
# The same sources give the same bits, in another directory, at another time, under another locale, time zone and umask.
# What is built a second time is what `make dist` has written, unpacked, so that the tarball is seen to be whole, too.
# Whoever has a released tarball can build the programs and the packages and compare them with those that are offered.
# Not under valgrind: it compares with what is built as usual.
# Not with a sanitizer: it compares with what is built without one.
# Not for coverage: it looks for what is built as usual.
set -u
here=$(dirname "$(readlink -f "$0")")
# shellcheck disable=SC2154 source=tests/e2e/lib/lib.sh # bin
. "$here/../lib/lib.sh"
source=$(readlink -f "$here/../../..")
version=$(sed -n 's/^VERSION := //p' "$source/Makefile")
scratch=$(mktemp -d -t certsync-reproducible.XXXXXXXX)
trap 'rm -rf "$scratch"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS CPPFLAGS LDFLAGS SOURCE_DATE_EPOCH DESTDIR SANITIZE COVERAGE VALGRIND

sums() { # DIRECTORY PATTERN
	(cd "$1" && find . -type f -name "$2" -exec sha256sum {} + | LC_ALL=C sort -k 2)
}

# Sets up another place and name, other times of the files, words that sort otherwise (z before ä, upper after lower),
# and night where it was day.
elsewhere() {
	umask 027
	cd "$other" && env LOCPATH="$scratch/locale" LC_ALL=et_EE.UTF-8 LANGUAGE=et TZ=Pacific/Kiritimati HOME="$scratch" USER=other "$@"
}

mkdir "$scratch/locale"
ok 'there is another locale' localedef -i et_EE -f UTF-8 "$scratch/locale/et_EE.UTF-8"
is 'in which words sort otherwise' "$(printf 'z\na\nt\n' | LOCPATH=$scratch/locale LC_ALL=et_EE.UTF-8 sort | tr -d '\n')" azt

# ---- the tarball ----

dist=$scratch/dist
ok 'make dist writes the tarball' "$source/packaging/dist" "$dist" "$version" "$bin"
ok 'the sums are of what is there' sh -c "cd '$dist' && sha256sum --check --strict SHA256SUMS"
is 'all of it has one' "$(cd "$dist" && echo *)" "SHA256SUMS certsync-$version.spdx certsync-$version.tar.gz"
mkdir -p "$scratch/another/longer/way/to.it"
other=$(readlink -f "$scratch/another/longer/way/to.it")/certsync-$version
tar -C "${other%/*}" -xzf "$dist/certsync-$version.tar.gz"
is "it has one directory, the specification's for rpm" "$(cd "${other%/*}" && ls)" \
	"$(rpmspec -q --srpm --qf '%{name}-%{version}' "$source/packaging/rpm/certsync.spec")"
is 'and the name that it wants' "certsync-$version.tar.gz" "$(rpmspec -P "$source/packaging/rpm/certsync.spec" | sed -n 's/^Source0: *//p')"
find "$other" -exec touch -h -d '2001-09-09 01:46:40' {} +

# ---- the programs ----

ok 'it builds, and can write itself anew' elsewhere make -j2 dist
is 'the programs are the same' "$(sums "$other/build/bin" '*')" "$(sums "$bin" '*')"
is 'nothing says where it was built' "$(grep -rlF -e "$scratch" -e "$source/" "$other/build/bin" "$bin")" ''
is 'the tarball and the list are the same' "$(sums "$other/build/dist" '*')" "$(sums "$dist" '*')"

# ---- the list ----

spdx=$dist/certsync-$version.spdx
programs=$(cd "$bin" && find . -type f -exec sh -c 'readelf -h "$1" >/dev/null 2>&1 && echo "$1"' sh {} \; | sort)
is 'the list has every program' "$(sed -n 's/^FileName: //p' "$spdx" | sort)" "$programs"
is 'the list has the sum of each program' "$(sed -n 's/^FileChecksum: SHA256: //p' "$spdx")" \
	"$(sed -n "s,^FileName: ,,p" "$spdx" | while read -r file; do sha256sum "$bin/$file" | cut -d " " -f 1; done)"
is 'and every library that it links' \
	"$(awk '/^FileName:/ { file = $2 } /^RelationshipComment:/ { gsub(/<\/?text>/, ""); print file, $2 }' "$spdx" | sort)" \
	"$(for file in $programs; do readelf -d "$bin/$file" | sed -n "s,.*(NEEDED).*\[\(.*\)\],$file \1,p"; done | sort)"
is 'each package is told once, with its version' "$(sed -n 's/^SPDXID: SPDXRef-package-//p' "$spdx")" \
	"$(sed -n 's/.*DYNAMIC_LINK SPDXRef-package-//p' "$spdx" | LC_ALL=C sort -u)"
is "as dpkg has it" "$(awk '/^PackageName:/ { name = $2 } /^PackageVersion:/ && name != "certsync" { print name, $2 }' "$spdx")" \
	"$(sed -n 's/^SPDXID: SPDXRef-package-//p' "$spdx" | while read -r name; do echo "$name $(dpkg-query -W -f '${Version}' "$name")"; done)"
is 'no licence is unknown' "$(grep -c '^PackageLicenseDeclared: NOASSERTION' "$spdx")" 0

# ---- the packages ----

packages=${CERTSYNC_DEB:-$scratch/build/deb}
[ -n "${CERTSYNC_DEB-}" ] || ok 'make deb' make -C "$source" --no-print-directory "B=$scratch/build" deb
ok 'and there' elsewhere make --no-print-directory deb
is 'four packages are built' "$(cd "$packages" && echo *.deb | wc -w)" 4
is 'the packages are the same, bit for bit' "$(sums "$other/build/deb" '*.deb')" "$(sums "$packages" '*.deb')"
done_testing
