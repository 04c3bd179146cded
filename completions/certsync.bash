# shellcheck shell=bash
# Completion of certsync and certsync-agent in bash. What may come next is told by the program itself, from the table of its help.

_certsync() {
	local line lines
	mapfile -t lines < <("${1/#\~/$HOME}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)
	COMPREPLY=()
	case ${lines[0]-} in
	:files) compopt -o default ;;
	:directories) compopt -o dirnames ;;
	*) for line in "${lines[@]}"; do COMPREPLY+=("${line%%$'\t'*}"); done ;;
	esac
}
complete -F _certsync certsync certsync-agent
