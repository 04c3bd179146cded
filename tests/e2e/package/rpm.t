#!/bin/bash
# The packages of packaging/rpm/certsync.spec, built by rpmbuild from the tarball of `make dist` and installed beside nothing, against the
# Debian packages: the same files with the same owners, modes and, but for what the compiler makes, content; the same accounts and directories
# by their scriptlets; the same left when they are removed.
#
# This is Debian: the programs are those of this build (rpmbuild's make finds them made, so that nothing is compiled for this story), what
# Fedora's macros come to is written below, and systemctl and the commands of SELinux are doubles that write down how they were called.
# Not under valgrind: it builds and installs packages of its own.
# Not with a sanitizer: its packages are held against those of Debian, which are built without one.
# Not for coverage: its packages are held against those of Debian, which are built without counters.
# shellcheck disable=SC2016,SC2154 # words for other shells; variables of what is sourced
set -u
self=$(readlink -f "$0")
here=$(dirname "$self")

# ---- inside: this machine without certsync, where all that is written is forgotten ----

DOUBLES='systemctl selinuxenabled semanage restorecon'
calls=/run/calls

cover() {
	local name
	mount -t tmpfs -o mode=755 none /mnt
	for name; do
		mkdir "/mnt/$name" "/mnt/$name.work"
		mount -t overlay -o "lowerdir=/$name,upperdir=/mnt/$name,workdir=/mnt/$name.work" none "/$name" || return
	done
	mount -t tmpfs -o mode=755 none /run
	rm -rf /etc/certsync /var/lib/certsync-*
	sed -i '/^certsync-/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow
}

doubles() {
	local name
	for name in $DOUBLES; do
		rm -f "/usr/bin/$name" "/usr/sbin/$name"
		printf '#!/bin/sh\necho "%s $*" >>%s\n' "$name" "$calls" >"/usr/sbin/$name"
		chmod 755 "/usr/sbin/$name"
	done
}

# The files of the packages, but for documents and licences, whose places differ, and what their scriptlets made: kind, mode, owner, group, where
# a link leads. Manual pages are compressed by Debian's tools, and by those of Fedora, which are not here.
list() {
	{
		"$@" | grep certsync | grep -vE '^(/usr)?/lib/systemd/|^/usr/share/(doc|licenses|lintian)/'
		find /usr/lib/systemd/system /etc/certsync /var/lib /run -xdev -path /var/lib/dpkg -prune -o -path /var/lib/rpm -prune -o \
			-path '*deb-systemd*' -prune -o -path '*certsync*' -print
	} 2>/dev/null | sort -u | while read -r file; do
		[ ! -e "$file" ] && [ ! -L "$file" ] || stat -c '%N %F %a %U:%G' "$file"
	done | sed 's/\.gz\b//g' | tr -d "'"
}

# The sum of each file that no compiler has made, as it is unpacked.
content() {
	list "$@" | awk '/ regular file / && !/\/var\// { print $1 }' | while read -r file; do
		[ -e "$file" ] || file=$file.gz
		case $(head -c 4 "$file" | tr -d '\0') in $'\177ELF') continue ;; esac
		echo "${file%.gz} $(gzip -dcf "$file" | sha256sum)"
	done
}

# An rpm from 4.19 on makes the accounts by itself, with the other name of /usr/sbin, and before the files are there.
accounts() {
	getent passwd | sed 's|:/sbin/|:/usr/sbin/|' | awk -F : '/^certsync-/ { print $1, $5, $6, $7 }' | sort
	getent group | awk -F : '/^certsync-/ { print $1, $4 }' | sort
	echo "the gate's password: $(getent shadow certsync-gate | cut -d : -f 2)"
}

# What somebody has there when the packages go.
use() {
	mkdir -p /etc/certsync/live/mail /var/lib/certsync-hub/certificates
	touch /etc/certsync/live/mail/combined.pem /etc/certsync/hub.conf /etc/certsync/agent.conf /var/lib/certsync-hub/certificates/one
}

if [ "${1-}" = inside ]; then
	kind=$2 results=$3
	shift 3
	cover usr etc var || exit
	export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
	if [ "$kind" = deb ]; then
		install=(dpkg --no-triggers -i) remove=(dpkg --no-triggers -r) again=(true) files=(dpkg -L)
	else
		doubles
		# Debian 12's asks to be told that it is meant here.
		rpm=(rpm)
		! rpm --force-debian --version >/dev/null 2>&1 || rpm+=(--force-debian)
		install=("${rpm[@]}" -i --nodeps) remove=("${rpm[@]}" -e) files=("${rpm[@]}" -ql)
		again=("${rpm[@]}" -U --nodeps --replacepkgs)
	fi
	# These the agent makes, or the scriptlet of the rpm, which has SELinux label them.
	mkdir -p /etc/certsync/live /etc/certsync/archive
	"${install[@]}" "$@" >"$results/$kind.install" 2>&1 || exit
	list "${files[@]}" certsync-agent certsync-hub >"$results/$kind.list"
	content "${files[@]}" certsync-agent certsync-hub >"$results/$kind.content"
	accounts >"$results/$kind.accounts"
	cp "$calls" "$results/$kind.install-calls" 2>/dev/null
	: >"$calls"
	"${again[@]}" "$@" >"$results/$kind.again" 2>&1 || exit
	cp "$calls" "$results/$kind.again-calls"
	: >"$calls"
	use
	"${remove[@]}" certsync-hub certsync-agent >"$results/$kind.remove" 2>&1 || exit
	cp "$calls" "$results/$kind.remove-calls"
	list sed 's/ .*//' "$results/$kind.list" >"$results/$kind.left"
	exit
fi

# ---- the story ----

# shellcheck source=tests/e2e/lib/lib.sh
. "$here/../lib/lib.sh"
needs_root 'mounts, and packages that are installed'
source=$(readlink -f "$here/../../..")
spec=$source/packaging/rpm/certsync.spec
version=$(sed -n 's/^VERSION := //p' "$source/Makefile")
scratch=$(mktemp -d -t certsync-rpm.XXXXXXXX)
trap 'rm -rf "$scratch"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS CPPFLAGS LDFLAGS SOURCE_DATE_EPOCH DESTDIR SANITIZE COVERAGE VALGRIND
packages=${CERTSYNC_DEB:-$scratch/build/deb}

inside() {
	unshare --mount --propagation private --pid --fork --kill-child --mount-proc bash "$self" inside "$1" "$scratch" "${@:2}"
}

said() {
	cat "$scratch/$1" 2>/dev/null
}

# What systemd's macros come to where systemctl does it by itself.
macros() {
	cat <<-'MACROS'
		%systemd_post() [ $1 -ne 1 ] || systemctl --no-reload preset %{?*} || :
		%systemd_preun() [ $1 -ne 0 ] || systemctl --no-reload disable --now %{?*} || :
		%systemd_postun_with_restart() [ $1 -lt 1 ] || systemctl try-restart %{?*} || :
	MACROS
}

# Whose make takes what is built for its own: the tarball's files are older.
rpm_build() {
	mkdir -p "$scratch/top/SOURCES"
	"$source/packaging/dist" "$scratch/top/SOURCES" "$version" "$bin" || return
	macros >"$scratch/macros"
	MAKEFLAGS="B=$(readlink -f "$bin/..")" rpmbuild -bb --nodeps --load "$scratch/macros" --define "_topdir $scratch/top" \
		--define "_tmppath $scratch" "$spec"
}

is 'the specification has this version' "$(rpmspec -q --qf '%{version} ' "$spec")" "$version $version $version "
began=$SECONDS
ok 'rpmbuild builds the packages' rpm_build
note "$((SECONDS - began)) s"
rpms=("$scratch"/top/RPMS/*/certsync-{agent,hub}-"$version"-1.*.rpm)
[ -s "${rpms[0]}" ] && [ -s "${rpms[1]}" ] || { echo 'Bail out!  there are no packages'; exit 1; }
[ -n "${CERTSYNC_DEB-}" ] || ok 'make deb' make -C "$source" --no-print-directory "B=$scratch/build" deb
debs=("$packages"/certsync-{agent,hub}_*.deb)

is 'no macro is left in what their scriptlets say' "$(rpm -qp --scripts "${rpms[@]}" 2>/dev/null | grep '%[a-z{]')" ''
# Oracle Linux 9 has 2.34, and what is built where the C library is newer than Debian 12's may need more (C23's strtol, 2.38);
# tests/e2e/package/floor.t holds what is called against 2.34 everywhere.
needed=$(rpm -qp --requires "${rpms[@]}" 2>/dev/null | sed -n 's/^libc\.so\.6(GLIBC_\(2\.[0-9]*\)).*/\1/p' | sort -V | tail -n 1)
has=$(getconf GNU_LIBC_VERSION)
has=${has#* }
if [ "$(printf '%s\n' "$has" 2.36 | sort -V | tail -n 1)" = 2.36 ]; then
	is 'what they need of the C library is in that of Oracle Linux 9' "$needed" 2.34
else
	note "built with a C library $has: these packages are none for Oracle Linux 9"
	is 'what they need of the C library is in the one here' "$(printf '%s\n' "$needed" "$has" | sort -V | tail -n 1)" "$has"
fi
is 'the hub needs the agent of its own version' "$(rpm -qp --requires "${rpms[1]}" 2>/dev/null | grep '^certsync')" \
	"certsync-agent(x86-64) = $version-1"
while read -r document; do
	ok "$document is among the documents" sh -c "rpm -qpd $(printf '%q ' "${rpms[@]}") 2>/dev/null | grep -q '/$document'"
done <<-'DOCUMENTS'
	README.md
	relay/certsync-relay
	nodes/haproxy/etc/certsync/hub.conf
	deploy-hooks/certbot
	prometheus/certsync.rules.yml
DOCUMENTS

ok 'the Debian packages are installed' inside deb "${debs[@]}"
ok 'these are installed, installed again and removed' inside rpm "${rpms[@]}"
[ -s "$scratch/deb.left" ] && [ -s "$scratch/rpm.left" ] || note "$(said deb.install; said rpm.install; said rpm.again; said rpm.remove)" >&2
ok 'there are files to compare' test "$(said deb.list | wc -l)" -gt 50
is 'the same files, owners and modes' "$(diff "$scratch/deb.list" "$scratch/rpm.list")" ''
is 'with the same content, where no compiler made them' "$(diff "$scratch/deb.content" "$scratch/rpm.content")" ''
is 'the same accounts and groups' "$(said rpm.accounts)" "$(said deb.accounts)"
ok 'there are accounts to compare' grep -q '^certsync-keys ' "$scratch/deb.accounts"
is 'their scriptlets have nothing to complain of' "$(cat "$scratch"/rpm.{install,again,remove} | grep -v -e '^rpm: ' -e '^Creating ' \
	-e "^useradd: Warning: missing or non-executable shell '/usr/lib/certsync/certsync-gate'\$")" ''
is 'removed, they leave the same' "$(diff "$scratch/deb.left" "$scratch/rpm.left")" ''
ok 'configuration, certificates and store among it' sh -c "[ \"\$(grep -c -e /hub.conf -e /combined.pem -e /certificates/one '$scratch/rpm.left')\" -eq 3 ]"
is 'no program among it' "$(grep -e '^/usr' "$scratch/rpm.left")" ''

is 'systemd is told of the units' "$(said rpm.install-calls | grep ^systemctl)" \
	"$(printf 'systemctl --no-reload preset certsync-%s.service\n' agent hub)"
is 'an upgrade restarts them' "$(said rpm.again-calls | grep ^systemctl | sort)" \
	"$(printf 'systemctl try-restart certsync-%s.service\n' agent hub)"
is 'and when they go they are stopped' "$(said rpm.remove-calls | grep ^systemctl | sort)" \
	"$(printf 'systemctl --no-reload disable --now certsync-%s.service\n' agent hub)"

# Whether what SELinux is told of is there: the expressions are those of file contexts, which hold from the first to the last letter.
said rpm.install-calls | sed -n 's/^semanage fcontext -a -t \([a-z_]*\) //p' | while read -r expression; do
	echo "$expression $(cut -d ' ' -f 1 "$scratch/rpm.list" | grep -cxE -e "$expression")"
done >"$scratch/contexts"
is 'three contexts are told to SELinux' "$(said rpm.install-calls | sed -n 's/^semanage fcontext -a -t \([a-z_]*\) .*/\1/p' | tr '\n' ' ')" \
	'bin_t cert_t ssh_home_t '
is 'each of something that is there' "$(grep ' 0$' "$scratch/contexts")" ''
is 'and each is taken back when they go' "$(said rpm.remove-calls | sed -n 's/^semanage fcontext -d //p' | sort)" "$(sed 's/ [0-9]*$//' "$scratch/contexts" | sort)"
done_testing
