# shellcheck shell=sh # sourced by the hooks that are scripts
# What all hooks that are scripts need. The program `master` beside this file says whether a service's master process runs, by its pid file, and
# signals it: root believes only root's files and processes, for the reasons that its source names. A hook whose service runs as a user of its own
# says so first: service_user=courier.
#
#   say TEXT…                  prints where failures are shown
#   as_user USER COMMAND…      runs it as that user, if we are root; else as we are
#   readable_by USER FILE      whether he can read it; else says so. Only root can tell, so for anybody else it is yes
#   master_runs FILE NAMES     0 it runs · 3 it surely does not · 1 that cannot be told, and why has been said
#   master_told SIGNAL FILE NAMES     that very process has been sent HUP or USR1; else 1, and why has been said
#   master_serves NAMES [WORDS]       as master_runs, of any process of these names that root has started, or opened the port of
#   pair_fits CERTIFICATE KEY  whether the key is the certificate's; else says so. Also yes where that cannot be told: without
#                              openssl(1), or where one of them cannot be read
#   is_roots PATH [USER]       whether nobody but root, or the service's own user, can change what it names; else says so

say() { echo "${0##*/}: $*" >&2; }

own() { "$(dirname "$(readlink -f "$0")")/master" "${0##*/}" "$@"; }
master_runs() { own running "$1" "$2" "${service_user-}"; }
master_told() {
	own signal "$1" "$2" "$3" "${service_user-}"
	case $? in
	0) ;;
	3) say "it is not running any more"; return 1 ;;
	*) return 1 ;;
	esac
}
master_serves() { own serves "$1" "${2-}"; }
is_roots() { own owned "$1" "${2-}"; }

# Each of these hooks knows its instance by its own configuration, or by the service's name.
[ -z "${CERTSYNC_INSTANCE-}" ] || { say "instance in agent.conf is not for this hook: take it out"; exit 1; }

pair_fits() {
	command -v openssl >/dev/null || return 0
	of_certificate=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) &&
		of_key=$(openssl pkey -in "$2" -pubout -passin pass: 2>/dev/null) || return 0
	[ "$of_certificate" != "$of_key" ] || return 0
	say "the key in $2 is not that of the certificate in $1"
	return 1
}

as_user() {
	user=$1
	shift
	[ "$(id -u)" -eq 0 ] || { "$@"; return; }
	setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"
}

readable_by() {
	[ -e "$2" ] || { say "$2 is configured and not there"; return 1; }
	[ "$(id -u)" -eq 0 ] || return 0
	[ -n "$1" ] || return 0
	as_user "$1" test -r "$2" && return
	say "user $1 cannot read $2: give it owner, group and mode in agent.conf"
	return 1
}
