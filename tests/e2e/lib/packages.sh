# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # sourced; the rest of each is in the other
# Debian machines with nothing on them, for stories about the packages. To be sourced first, by a script that root runs: the script
# goes on in mount and PID namespaces of its own, and all that it starts and mounts ends with it.
#
#   $scratch               a directory in memory; $packages, where `make deb` has put what it built
#   machines_begin         builds the packages, where `make e2e` has not (CERTSYNC_DEB), and makes $base by debootstrap, with the
#                          machine's own apt sources; where CERTSYNC_BASE names a file, whoever comes first leaves it there for the others
#   machine_new NAME       a machine of its own over $base, at $scratch/NAME
#   in_machine NAME COMMAND…  runs a command in it, with the network of this machine (for apt)
#   machine_boot NAME ADDRESS [OTHER]  processes and a network of its own; a cable to OTHER, which has been booted, where ADDRESS is
#                          on one side and OTHER's on the other
#   at NAME COMMAND…       runs a command there

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/e2e/lib/lib.sh
. "$here/lib.sh"
if [ "${PACKAGES_INSIDE-}" != yes ]; then
	needs_root 'mounts and a chroot'
	PACKAGES_INSIDE=yes exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
fi
unset PACKAGES_INSIDE
scratch=/mnt
base=$scratch/base
packages=${CERTSYNC_DEB:-$scratch/build/deb}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mount -t tmpfs -o mode=755 none "$scratch"

fail() {
	note "$*" >&2
	echo "Bail out!  $1"
	exit 1
}

# Prints the archive that this machine's apt uses: the first source with a release's main part.
mirror() {
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v release="$1" '$1 == release && $2 == "main" { print $3; exit }'
}

machine_base() {
	mkdir "$base"
	if [ -z "${CERTSYNC_BASE-}" ]; then
		machine_bootstrap
		return
	fi
	(
		flock 9
		[ -s "$CERTSYNC_BASE" ] || { machine_bootstrap && tar -C "$base" --xattrs --numeric-owner -cf "$CERTSYNC_BASE.new" . && mv "$CERTSYNC_BASE.new" "$CERTSYNC_BASE"; }
	) 9>>"$CERTSYNC_BASE.lock" || return
	[ -e "$base/etc" ] || tar -C "$base" --xattrs --numeric-owner -xpf "$CERTSYNC_BASE"
}

machine_bootstrap() {
	local release from file
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	from=$(mirror "$release")
	[ -n "$from" ] || { echo "apt has no source for $release here"; return 1; }
	# The base has the files of a system on which systemd is not the first process, but in which accounts and
	# directories are made.
	debootstrap --variant=minbase --include=systemd-standalone-sysusers,systemd-standalone-tmpfiles \
		"$release" "$base" "$from" || return
	rm -f "$base/etc/apt/sources.list"
	for file in sources.list sources.list.d apt.conf.d auth.conf.d preferences.d keyrings trusted.gpg trusted.gpg.d; do
		[ ! -e "/etc/apt/$file" ] || cp -a "/etc/apt/$file" "$base/etc/apt/"
	done
	cp -L /etc/resolv.conf /etc/hosts "$base/etc/"
	# An installation starts nothing, where a story does not say otherwise.
	printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
	chmod 755 "$base/usr/sbin/policy-rc.d"
	install -m 755 "$here/systemctl_double" "$base/usr/bin/systemctl"
	chroot "$base" apt-get -q update
}

machines_begin() {
	local base_pid
	machine_base >"$scratch/base.log" 2>&1 &
	base_pid=$!
	[ -n "${CERTSYNC_DEB-}" ] || make -C "$here/../../.." --no-print-directory "B=$scratch/build" deb >"$scratch/deb.log" 2>&1 ||
		fail "make deb failed" "$(tail -n 30 "$scratch/deb.log")"
	wait "$base_pid" || fail "no machine was made" "$(tail -n 20 "$scratch/base.log")"
}

machine_new() {
	local root=$scratch/$1 device
	mkdir "$root" "$root.upper" "$root.work"
	mount -t overlay -o "lowerdir=$base,upperdir=$root.upper,workdir=$root.work" "$1" "$root"
	mount -t proc proc "$root/proc"
	mount -t tmpfs -o mode=755 none "$root/run"
	mount -t tmpfs -o mode=755 none "$root/dev"
	for device in null zero full random urandom tty; do
		: >"$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	mkdir -m 1777 "$root/dev/shm"
	ln -s /proc/self/fd "$root/dev/fd"
}

in_machine() {
	local root=$scratch/$1
	shift
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

declare -A machine_pid=() machine_address=()

# Starts a machine's first process, which collects children that have ended.
machine_boot() {
	local name=$1 address=$2 outer
	unshare --net --mount --pid --fork --kill-child chroot "$scratch/$name" sh -c '
		mount -t proc proc /proc && exec perl -e "\$SIG{CHLD} = q(IGNORE); sleep while 1"' &
	outer=$!
	wait_until 10 "the first process of $name" machine_first "$outer" "$name" || return
	machine_address[$name]=$address
	machine_network "$name" ip link set lo up
	[ -n "${3-}" ] || return 0
	# The cable is made in these two networks, so that this machine's own has no part in it.
	machine_network "$name" ip link add eth0 type veth peer name eth0 netns "${machine_pid[$3]}" || return
	for name in "$name" "$3"; do
		machine_network "$name" ip address add "${machine_address[$name]}/24" dev eth0 &&
			machine_network "$name" ip link set eth0 up || return
	done
}

machine_network() {
	nsenter --target "${machine_pid[$1]}" --net "${@:2}"
}

machine_first() {
	machine_pid[$2]=$(tr -d ' ' <"/proc/$1/task/$1/children")
	[ "$(cat "/proc/${machine_pid[$2]:-none}/comm" 2>/dev/null)" = perl ]
}

at() {
	local pid=${machine_pid[$1]}
	shift
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		nsenter --target "$pid" --net --mount --pid --root --wd "$@"
}
