# shellcheck shell=bash disable=SC2034,SC2154,SC2016 # sourced; the rest of each is in the other
# What runs in the nodes of the topology (topology.sh, which is sourced before), for examples/demo/demo.sh and tests/e2e.
#
#   ca_up        Pebble and its DNS; every node then has the CA's root in /etc/certsync/anchors.pem
#   agents_up    each agent's root half, which leaves placeholder certificates, so that the servers can start
#   servers_up   HAProxy, sshd, Postfix and Dovecot; not those of backup2, which is a cold standby
#   hub_up       the hub
#   agents_join  each agent pinned by hand
#   renewed_everywhere, converged CERTIFICATE, served ADDRESS PORT SNI …

AGENT_NODES="haproxy $TOPOLOGY_MAIL"
CERTIFICATES="mail.domain.pl watched.domain.pl"

ca_up() {
	local name
	node_do ca sh -eu -c '
		cd /etc/pebble
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=the CA of the ACME API" \
			-keyout api-ca.key -out api-ca.pem
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=acme.domain.pl -keyout api.key -out api.csr
		printf "subjectAltName=DNS:acme.domain.pl\n" >api.ext
		openssl x509 -req -in api.csr -CA api-ca.pem -CAkey api-ca.key -CAcreateserial -days 30 -extfile api.ext -out api.pem
		' >"$topology_scratch/ca.log" 2>&1 || { cat "$topology_scratch/ca.log" >&2; return 1; }
	node_start ca challtestsrv /usr/local/lib/node/challtestsrv 127.0.0.1:8053 -defaultIPv4 "${TOPOLOGY_ADDRESS[haproxy]}" \
		-defaultIPv6 ""
	node_start ca pebble env PEBBLE_VA_NOSLEEP=1 pebble -strict -config /etc/pebble/pebble.json -dnsserver 127.0.0.1:8053
	wait_until 20 "Pebble" ca_answers
	for name in $AGENT_NODES client; do
		node_write "$name" /etc/certsync/anchors.pem <"$topology_scratch/root.pem"
	done
	node_do ca cat /etc/pebble/api-ca.pem | node_write haproxy /etc/certsync/acme-api.pem
}

ca_answers() {
	node_do ca curl -sf --cacert /etc/pebble/api-ca.pem https://acme.domain.pl:15000/roots/0 >"$topology_scratch/root.pem"
}

agents_up() {
	local name
	for name in $AGENT_NODES; do
		node_start "$name" certsync-agent-root certsync-agent-root
	done
	for name in $AGENT_NODES; do
		wait_until 20 "the placeholders of cs-$name" has_certificates "$name"
	done
}

has_certificates() {
	local certificate
	for certificate in $CERTIFICATES; do
		node_do "$1" test -s "/etc/certsync/live/$certificate/combined.pem" || return 1
	done
}

# Whether something listens on all of these TCP ports of a node.
listening() {
	local name=$1 port
	shift
	for port; do
		[ -n "$(node_do "$name" ss -Hltn "sport = :$port")" ] || return 1
	done
}

mail_servers_up() {
	# Daemons that they leave must not hold our standard output.
	node_do "$1" sh -c 'postmap -F /etc/postfix/sni && postfix start && dovecot' >>"$topology_scratch/$1.log" 2>&1 || {
		tail "$topology_scratch/$1.log" >&2
		return 1
	}
	wait_until 20 "Postfix and Dovecot in cs-$1" listening "$1" 25 110 143 465 587 993 995 10025 10110 10143 10587
}

servers_up() {
	local name
	node_start haproxy sshd /usr/sbin/sshd -D -e
	node_start haproxy haproxy haproxy -W -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid
	for name in mail backup1; do
		mail_servers_up "$name"
	done
	wait_until 20 "HAProxy and sshd in cs-haproxy" listening haproxy 22 25 80 110 143 443 465 587 993 995 8443
}

hub_up() {
	node_start haproxy certsync-hub-root certsync-hub-root
	wait_until 20 "the hub" node_do haproxy test -S /run/certsync-hub/control.sock
}

# The way without a one-time secret: the node prints its line, the hub takes it and prints its own, the node pins that.
agents_join() {
	local name line
	for name in $AGENT_NODES; do
		line=$(node_do "$name" certsync-agent identity)
		line=$(node_do haproxy certsync agent add "$name" --key - <<<"$line")
		node_do "$name" certsync-agent join <<<"$line"
	done
}

# Exit 3 says that not all has converged, which is what we ask for.
hub_status() {
	node_do haproxy certsync status --json || [ $? -eq 3 ]
}

# Whether every agent has been seen serving (or has installed, its services being stopped) the current revision.
converged() {
	local status
	# jq takes no input at all for a yes.
	status=$(hub_status 2>/dev/null) && [ -n "$status" ] && jq -e --arg certificate "$1" '
		any(.certificates[]; .certificate == $certificate and .converged and .fingerprint) and
		all(.agents[] | select(.certificate == $certificate); (.state == "verified" or .stopped and .state == "installed") and .served == .desired)' \
		<<<"$status" >/dev/null
}

# The fingerprint that the hub wants to be served, as `served` writes it.
wanted() {
	hub_status | jq -r --arg certificate "$1" '(.certificates[] | select(.certificate == $certificate) | .fingerprint) // "-"' | tr a-f A-F
}

# What a client in cs-client is served.
served() {
	node_do client /usr/local/lib/node/served "$@"
}

# Every place where TLS is reached from outside, as "ADDRESS PORT" a line; with an argument, of that node only.
endpoints() {
	local name port
	for port in 25 110 143 443 465 587 993 995 8443; do
		[ "${1:-haproxy}" != haproxy ] || echo "mail.domain.pl $port"
	done
	for name in $TOPOLOGY_MAIL; do
		[ "${1:-$name}" = "$name" ] || continue
		for port in 25 110 143 465 587 993 995; do
			echo "$name $port"
		done
	done
}

# Whether all of the lines "ADDRESS PORT" serve this certificate's name something; HAProxy's checks need a moment.
all_answer() {
	local address port
	while read -r address port; do
		[ "$(served "$address" "$port" mail.domain.pl)" != - ] || return 1
	done
}

every_door_answers() {
	endpoints haproxy | all_answer
}

# certbot, a stranger to certsync, gets or renews watched.domain.pl in the hub's node.
# Pebble refuses one nonce in twenty, and certbot asks once more and then gives up.
certbot_run() {
	certbot_once "$@" || certbot_once "$@"
}
certbot_once() {
	node_do haproxy env REQUESTS_CA_BUNDLE=/etc/certsync/acme-api.pem certbot "$@" --non-interactive --agree-tos \
		--register-unsafely-without-email --server https://acme.domain.pl:14000/dir --standalone --http-01-address 127.0.0.1 \
		--http-01-port 8403 --domain watched.domain.pl
}
