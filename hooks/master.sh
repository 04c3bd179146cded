# shellcheck shell=sh # sourced by the hooks that are scripts
# Whether a service's master process runs, by its pid file. Root believes only root's files and processes; another user
# believes its own, too. A hook whose service runs as a user of its own says so first: service_users="courier".
#
#   say TEXT…                where failures are shown
#   as_user USER COMMAND…    runs it as that user, if we are root; else as we are
#   readable_by USERS FILE   whether each of them can read it; else says so. Only root can tell: anybody else says yes
#   master_runs FILE NAME    0 it runs · 3 it surely does not · 1 that cannot be told, and why has been said

say() { echo "${0##*/}: $*" >&2; }

as_user() {
	user=$1
	shift
	[ "$(id -u)" -eq 0 ] || { "$@"; return; }
	setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"
}

readable_by() {
	[ -e "$2" ] || { say "$2 is configured and not there"; return 1; }
	[ "$(id -u)" -eq 0 ] || return 0
	for user in $1; do
		as_user "$user" test -r "$2" && continue
		say "user $user cannot read $2: give it owner, group and mode in agent.conf"
		return 1
	done
}

# Surely not there, as opposed to where we may not look.
absent() {
	[ ! -e "$1" ] && [ ! -L "$1" ] || return 1
	parent=${1%/*}
	[ -d "${parent:-/}" ] || { absent "$parent"; return; }
	[ -x "${parent:-/}" ]
}

believed() {
	[ "$1" -ne 0 ] && [ "$1" -ne "$(id -u)" ] || return 0
	for own in ${service_users-}; do
		[ "$(id -u "$own" 2>/dev/null)" != "$1" ] || return 0
	done
	return 1
}

# The four users of a process, or nothing when it has gone.
users_of() {
	sed -nE 's/^Uid:[[:space:]]+//p' "/proc/$1/status" 2>/dev/null
}

process_runs() {
	name=$(cat "/proc/$1/comm" 2>/dev/null)
	users=$(users_of "$1")
	if [ -z "$name" ] || [ -z "$users" ]; then
		# Where /proc hides the processes of others, init is hidden, too.
		[ -d "/proc/$1" ] || [ ! -d /proc/1 ] || return 3
		say "process $1 cannot be looked at by user $(id -u): run this hook as root"
		return 1
	fi
	[ "$name" = "$2" ] || return 3
	# It has ended; nobody has asked how.
	! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null || return 3
	for user in $users; do
		believed "$user" || { say "process $1 is user $user's and not the service's master"; return 3; }
	done
}

master_runs() {
	absent "$1" && return 3
	owner=$(stat -L -c %u -- "$1" 2>/dev/null)
	if [ -z "$owner" ] || [ ! -r "$1" ]; then
		absent "$1" && return 3
		say "$1 cannot be read by user $(id -u): run this hook as root"
		return 1
	fi
	believed "$owner" || { say "$1 is user $owner's: give this service that user in agent.conf, or chown it"; return 1; }
	pid=$(tr -cd 0-9 <"$1") || return 1
	# `nginx -t` leaves an empty one.
	[ -n "$pid" ] || return 3
	process_runs "$pid" "$2"
}
