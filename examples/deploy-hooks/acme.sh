#!/usr/bin/env sh
# acme.sh's deploy hook: hands a certificate to certsync, which brings it to every agent.
#   install -m 644 acme.sh ~/.acme.sh/deploy/certsync.sh
#   acme.sh --deploy -d mail.domain.pl --deploy-hook certsync
# acme.sh then calls it after each renewal as well. Its user must be in the group certsync-admin.
#
# The certificate in hub.conf is called as the domain is; where not (a wildcard), say so once, and acme.sh remembers it:
#   CERTSYNC_CERTIFICATE=domain.pl acme.sh --deploy -d '*.domain.pl' --deploy-hook certsync
# For an ECDSA and an RSA certificate of one name list both directories in `watch` of hub.conf instead: each deployment here
# replaces what was there before.

# domain keyfile certfile cafile fullchain
certsync_deploy() {
	_cdomain="$1"
	_ckey="$2"
	_cfullchain="$5"

	_getdeployconf CERTSYNC_CERTIFICATE
	if [ -n "$CERTSYNC_CERTIFICATE" ]; then
		_savedeployconf CERTSYNC_CERTIFICATE "$CERTSYNC_CERTIFICATE"
	fi
	_name="${CERTSYNC_CERTIFICATE:-$_cdomain}"

	_code=0
	certsync import "$_name" --key "$_ckey" --chain "$_cfullchain" || _code=$?
	case $_code in
	0)
		_info "certsync: every endpoint serves the new certificate of $_name"
		;;
	3) # published, and the hub goes on by itself with the agents that are away or slow
		_info "certsync: $_name is published, but not every endpoint has it yet: certsync status shows which"
		;;
	4)
		_err "certsync: the hub cannot be reached: deploy again when certsync-hub runs"
		return 1
		;;
	*)
		_err "certsync: $_name was not imported (exit code $_code)"
		return 1
		;;
	esac
	return 0
}
