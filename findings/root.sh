#!/bin/bash
# What the findings share, to be sourced. on_debian SUITE PACKAGE=VERSION… [-- SUITE PACKAGE=VERSION…]… makes a root of
# that release of Debian with these packages, from the archive that this machine's apt uses, and what follows the call
# in the finding runs in it: as root, in mount, PID, network, IPC and UTS namespaces of its own with the loopback
# interface alone, once for each release, with SUITE telling which. The root lies in memory that belongs to the mount
# namespace, so nothing of it is left however the finding ends.
#
# BASES=DIRECTORY keeps each release's root as debootstrap has made it in DIRECTORY/SUITE.tar, and takes it from there
# the next time; delete the file to have it made anew.
#
# Exit status of a finding: 0, it is as its head says; 1, it has changed; 2, it could not be tried.
set -eu
FINDING=$(basename "$0" .sh)
STAGE=("$@")
LIMIT=180 # seconds that a finding may take once its packages are there

seen() {
	echo "$FINDING: $SUITE: $*"
}

changed() {
	echo "$FINDING: $SUITE: CHANGED: $*" >&2
	exit 1
}

cannot() {
	echo "$FINDING: could not be tried: $*" >&2
	exit 2
}

# ---- what a finding says and asks ----

# expect WHAT WANTED GOT
expect() {
	[ "$2" = "$3" ] || changed "$1: was '$2', is '$3'"
	seen "$1: ${3:-(nothing)}"
}

# Prints the exit status of COMMAND…; what it said is then in /said.
status() {
	local status=0
	"$@" </dev/null >/said 2>&1 || status=$?
	echo $status
}

# wait_for SECONDS COMMAND…: until it succeeds; fails when it has not by then.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# pair NAME FILE LABEL [KEY…]: a key and a self-signed certificate for NAME, in FILE.pem. LABEL is its common name, by
# which two certificates for one name are told apart; KEY… what openssl req is told of the key.
pair() {
	local name=$1 file=$2 label=$3
	shift 3
	[ $# -gt 0 ] || set -- -newkey ec -pkeyopt ec_paramgen_curve:P-256
	openssl req -x509 "$@" -nodes -days 2 -subj "/CN=$label" -addext "subjectAltName=DNS:$name" -keyout "$file.key" -out "$file.crt" \
		2>/said || cannot "openssl made no certificate: $(cat /said)"
	cat "$file.key" "$file.crt" >"$file.pem"
}

# served PORT NAME [OPTION…]: the label of the certificate that is served there for NAME, or "none". OPTION… are openssl
# s_client's.
served() {
	local port=$1 name=$2
	shift 2
	timeout 10 openssl s_client -connect "127.0.0.1:$port" -servername "$name" "$@" </dev/null 2>/dev/null |
		openssl x509 -noout -subject -nameopt multiline 2>/dev/null | sed -n 's/.*commonName *= //p' | grep . || echo none
}

serves() { # LABEL PORT NAME [OPTION…]
	[ "$1" = "$(served "${@:2}")" ]
}

# ask SOCKET TEXT: what the server on that Unix socket answers.
ask() {
	# shellcheck disable=SC2016 # Perl's variables
	timeout 10 perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!\n";
		print $s "$ARGV[1]\n"; shutdown $s, 1; print while <$s>' "$@"
}

# ---- where it runs ----

# What this machine's apt has been told about the main part of a release, or of that release's security updates.
archive() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v release="$1" '$1 == release && $2 == "main" { print $3; exit }'
}

# COMMAND… in the root, in the namespaces of whoever calls it
inside() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive SUITE="$SUITE" chroot /mnt/root "$@"
}

root_make() { # PACKAGE=VERSION…
	local root=/mnt/root base=${BASES:+$BASES/$SUITE.tar} ours main security part
	# shellcheck disable=SC1091 # not ours
	ours=$(. /etc/os-release && echo "$VERSION_CODENAME")
	main=$(archive "$ours") security=$(archive "$ours-security")
	[ -n "$main" ] || return
	if [ -e "$base" ]; then
		mkdir "$root"
		tar -C "$root" --numeric-owner -xpf "$base" || return
	else
		timeout 1800 debootstrap --variant=minbase --include=iproute2 "$SUITE" "$root" "$main" || return
		if [ -n "$base" ]; then
			tar -C "$root" --one-file-system --numeric-owner -cf "$base.$$" . || return
			mv "$base.$$" "$base"
		fi
	fi
	for part in apt.conf.d auth.conf.d; do
		[ ! -e "/etc/apt/$part" ] || cp -a "/etc/apt/$part" "$root/etc/apt/" || return
	done
	{
		echo "deb $main $SUITE main"
		[ -z "$security" ] || echo "deb $security $SUITE-security main"
	} >"$root/etc/apt/sources.list"
	cp /etc/hosts "$root/etc/hosts"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing is started by its package
	chmod 755 "$root/usr/sbin/policy-rc.d"
	inside timeout 300 apt-get update || return
	inside timeout 900 apt-get install --yes --no-install-recommends "$@"
}

# make SUITE PACKAGE=VERSION…, as the first process of the namespaces
make_and_run() {
	local status=0
	SUITE=$1
	shift
	mount -t tmpfs -o mode=755 none /mnt
	root_make "$@" >/mnt/log 2>&1 </dev/null || {
		tail -n 15 /mnt/log >&2
		cannot "a root of $SUITE with $* could not be made; where apt says 'not found', the archive has gone on to newer versions"
	}
	printf '127.0.0.1 localhost\n' >/mnt/root/etc/hosts
	mkdir /mnt/root/finding
	cp "$0" "$(dirname "$0")/root.sh" /mnt/root/finding/
	mountpoint -q /mnt/root/proc || mount -t proc proc /mnt/root/proc
	export -f inside
	export SUITE
	# shellcheck disable=SC2016 # that shell's
	timeout --kill-after=5 "$LIMIT" unshare --net --ipc --uts bash -euc 'ip link set lo up; hostname finding; inside "$@"' - \
		bash "/finding/$FINDING.sh" run || status=$?
	[ $status -ne 124 ] || cannot "it was not done after $LIMIT s"
	exit $status
}

# SUITE PACKAGE=VERSION…, in namespaces which end with this process, whatever ends it
elsewhere() {
	local child
	echo "$FINDING: $1: installing ${*:2}"
	setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc bash "$0" make "$@" &
	child=$!
	# shellcheck disable=SC2064 # that child
	trap "kill -KILL $child; exit 130" INT TERM HUP
	wait $child
}

on_debian() {
	local group=() word status worst=0
	case ${STAGE[0]-} in
	'')
		[ "$(id -u)" -eq 0 ] || cannot 'debootstrap and namespaces need root'
		command -v debootstrap >/dev/null || cannot 'debootstrap is missing'
		for word in "$@" --; do
			if [ "$word" != -- ]; then
				group+=("$word")
				continue
			fi
			status=0
			elsewhere "${group[@]}" || status=$?
			[ $status -le $worst ] || worst=$status
			group=()
		done
		exit $worst
		;;
	make) make_and_run "${STAGE[@]:1}" ;;
	run) cd / && mkdir /t ;;
	*) cannot 'it takes no arguments' ;;
	esac
}
