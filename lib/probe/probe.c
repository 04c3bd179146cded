#include "lib/probe/probe.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"
#include "lib/probe/starttls_end.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* After everything has been said the server may close first, so that it does not see a reset. */
	CLOSE_WAIT_MS = 500,
	CHUNK = 4096,
	TLS_ALERT = 0x15,
	TLS_HANDSHAKE = 0x16,
};

enum phase { PHASE_CONNECT, PHASE_DIALOGUE, PHASE_HANDSHAKE, PHASE_FAREWELL, PHASE_CLOSE };

/* What a phase needs to go on; NEED_NEXT says that it has set the next phase. */
enum need { NEED_NEXT, NEED_READ, NEED_WRITE, NEED_NOTHING };

struct probe {
	struct endpoint endpoint;
	char *sni;
	enum probe_key key;
	int timeout_ms;
	int64_t started;
	int fd;
	SSL *ssl; /* NULL before the handshake: the transport is plain */
	struct event *readable, *writable, *deadline;
	enum phase phase;
	char heard[8]; /* the first bytes behind the ClientHello */
	size_t heard_len;
	bool wants_ours; /* the server has asked for a certificate of a client */
	bool settled;    /* nothing is left to be done but the callback */
	struct starttls talk;
	struct buf send;
	struct probe_result result;
	probe_done *done;
	void *context;
};

static int accept_any(X509_STORE_CTX *store, void *context)
{
	(void)store;
	(void)context;
	return 1;
}

/* The server has asked for a certificate of ours; there is none. */
static int has_none(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
	(void)certificate;
	(void)key;
	struct probe *p = (struct probe *)SSL_get_app_data(ssl);
	p->wants_ours = true;
	return 0;
}

/* Makes a context that verifies nothing and takes any version and cipher that OpenSSL still has, so that the
 * certificate of an old server is seen as well. */
static SSL_CTX *shared_context(void)
{
	static SSL_CTX *shared;
	if (shared)
		return shared;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		mem_abort(__func__);
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0");
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	/* Otherwise OpenSSL would build and verify a chain whose outcome is ignored. */
	SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
	SSL_CTX_set_client_cert_cb(ctx, has_none);
	shared = ctx;
	return shared;
}

static enum need fail(struct probe *p, enum probe_state state, enum error_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static enum need fail(struct probe *p, enum probe_state state, enum error_kind kind, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	p->result.state = state;
	error_set(&p->result.error, kind, "%s", text);
	return NEED_NOTHING;
}

/* Names the commonest reason why a port that works for its clients says nothing to us, or hangs up. */
static const char *proxy_hint(const struct probe *p)
{
	bool silent = p->phase == PHASE_HANDSHAKE
		? p->endpoint.protocol == PROBE_TLS && !p->heard_len && BIO_number_read(SSL_get_rbio(p->ssl)) == 0
		: p->phase == PHASE_DIALOGUE && p->talk.step == STARTTLS_GREETING && !p->talk.step_bytes;
	if (!silent)
		return "";
	return p->endpoint.proxy ? "; perhaps this port does not expect the PROXY protocol (+proxy)"
				 : "; if this port expects the PROXY protocol, write +proxy behind it";
}

static const char *where(const struct probe *p)
{
	if (p->phase == PHASE_CONNECT)
		return "connecting";
	return p->phase == PHASE_HANDSHAKE ? "in the TLS handshake" : starttls_where(&p->talk);
}

static enum need fail_errno(struct probe *p, int code)
{
	if (p->phase != PHASE_CONNECT)
		return fail(p, PROBE_PROTOCOL, ERROR_RETRY, "the connection was lost (%s): %s%s", where(p),
			strerror(code), proxy_hint(p));
	if (code == ECONNREFUSED)
		return fail(p, PROBE_REFUSED, ERROR_RETRY, "nothing listens there: %s", strerror(code));
	if (code == ETIMEDOUT)
		return fail(p, PROBE_TIMEOUT, ERROR_RETRY, "no answer (connecting): %s", strerror(code));
	return fail(p, PROBE_REFUSED, ERROR_RETRY, "cannot be reached: %s", strerror(code));
}

/* ---- the transport: plain, then TLS ---- */

enum { IO_WAIT = -1, IO_BROKEN = -2 };

/* Says what OpenSSL's return value means: IO_WAIT with *need, 0 at the end, or IO_BROKEN. */
static int tls_outcome(struct probe *p, int rc, enum need *need)
{
	switch (SSL_get_error(p->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		*need = NEED_READ;
		return IO_WAIT;
	case SSL_ERROR_WANT_WRITE:
		*need = NEED_WRITE;
		return IO_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return IO_BROKEN;
	}
}

static int transport_read(struct probe *p, void *data, int size, enum need *need)
{
	if (p->ssl) {
		ERR_clear_error();
		int rc = SSL_read(p->ssl, data, size);
		return rc > 0 ? rc : tls_outcome(p, rc, need);
	}
	ssize_t got = recv(p->fd, data, (size_t)size, 0);
	if (got >= 0)
		return (int)got;
	*need = NEED_READ;
	return errno == EAGAIN || errno == EINTR ? IO_WAIT : IO_BROKEN;
}

static int transport_write(struct probe *p, const void *data, int len, enum need *need)
{
	if (p->ssl) {
		ERR_clear_error();
		int rc = SSL_write(p->ssl, data, len);
		return rc > 0 ? rc : tls_outcome(p, rc, need);
	}
	ssize_t put = send(p->fd, data, (size_t)len, MSG_NOSIGNAL);
	if (put >= 0)
		return (int)put;
	*need = NEED_WRITE;
	return errno == EAGAIN || errno == EINTR ? IO_WAIT : IO_BROKEN;
}

/* Sends and feeds until the dialogue has come to its end (NEED_NEXT) or has to wait. A broken connection ends it too,
 * and errno then says how. */
static enum need converse(struct probe *p)
{
	uint8_t chunk[CHUNK];
	enum need need = NEED_NEXT;
	while (p->talk.state == STARTTLS_MORE || (p->talk.state == STARTTLS_READY && p->send.len)) {
		errno = 0;
		int rc = p->send.len ? transport_write(p, p->send.data, (int)p->send.len, &need)
				     : transport_read(p, chunk, sizeof(chunk), &need);
		if (rc == IO_WAIT)
			return need;
		if (rc == IO_BROKEN)
			return NEED_NOTHING;
		if (p->send.len)
			buf_consume(&p->send, (size_t)rc);
		else if (rc == 0)
			starttls_closed(&p->talk);
		else
			starttls_feed(&p->talk, chunk, (size_t)rc, &p->send);
	}
	return NEED_NEXT;
}

/* ---- the phases ---- */

/* A client that has no name says its address (RFC 5321 section 4.1.3). */
static void own_literal(const struct probe *p, char *text, size_t size)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	char address[INET6_ADDRSTRLEN] = "127.0.0.1";
	getsockname(p->fd, (struct sockaddr *)&own, &len);
	if (own.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&own)->sin6_addr, address, sizeof(address));
		snprintf(text, size, "[IPv6:%s]", address);
		return;
	}
	if (own.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&own)->sin_addr, address, sizeof(address));
	snprintf(text, size, "[%s]", address);
}

/* The PROXY protocol's header for a connection that is not relayed: version 2, command LOCAL, no addresses. */
static const uint8_t proxy_local[16] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00};

static enum need phase_connect(struct probe *p)
{
	int code = 0;
	socklen_t len = sizeof(code);
	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code)
		return fail_errno(p, code);
	p->result.connected = true;
	char literal[64];
	own_literal(p, literal, sizeof(literal));
	const char *helo = p->endpoint.helo[0] ? p->endpoint.helo : literal;
	starttls_begin(&p->talk, p->endpoint.protocol, helo, p->sni, &p->send);
	p->phase = PHASE_DIALOGUE;
	/* A new socket's buffer always has room for sixteen bytes. */
	if (p->endpoint.proxy && send(p->fd, proxy_local, sizeof(proxy_local), MSG_NOSIGNAL) != sizeof(proxy_local))
		return fail_errno(p, errno);
	return NEED_NEXT;
}

/* Allows the signatures (TLS 1.2 and later) and the ciphers (up to TLS 1.2) of one kind of key; for RSA, PKCS #1 beside
 * PSS. */
static bool restrict_key(SSL *ssl, enum probe_key key)
{
	static const char rsa[] = "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:"
				  "RSA+SHA512:RSA+SHA1";
	static const char ecdsa[] = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA1";
	if (key == PROBE_ANY_KEY)
		return true;
	return SSL_set1_sigalgs_list(ssl, key == PROBE_RSA_KEY ? rsa : ecdsa) == 1 &&
		SSL_set_cipher_list(ssl, key == PROBE_RSA_KEY ? "aRSA:@SECLEVEL=0" : "aECDSA:@SECLEVEL=0") == 1;
}

/* Keeps the first bytes that OpenSSL reads: text where a TLS record should be is shown as that text. */
static long on_bio(BIO *bio, int operation, const char *data, size_t len, int argi, long argl, int ret,
	size_t *processed) /* NOLINT(readability-non-const-parameter): OpenSSL's type */
{
	(void)len;
	(void)argi;
	(void)argl;
	struct probe *p = (struct probe *)BIO_get_callback_arg(bio);
	if (operation != (BIO_CB_READ | BIO_CB_RETURN) || ret <= 0 || p->heard_len || !processed)
		return ret;
	p->heard_len = *processed < sizeof(p->heard) ? *processed : sizeof(p->heard);
	memcpy(p->heard, data, p->heard_len);
	return ret;
}

static bool is_plain_text(struct probe *p, char *text, size_t size)
{
	if (!p->heard_len || p->heard[0] == TLS_HANDSHAKE || p->heard[0] == TLS_ALERT)
		return false;
	memcpy(text, p->heard, p->heard_len);
	ssize_t more = recv(p->fd, text + p->heard_len, size - 1 - p->heard_len, MSG_PEEK | MSG_DONTWAIT);
	text[p->heard_len + (more > 0 ? (size_t)more : 0)] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	return true;
}

static enum need phase_dialogue(struct probe *p)
{
	enum need need = converse(p);
	if (need == NEED_NOTHING && p->talk.reason.kind == ERROR_NONE)
		return fail_errno(p, errno);
	if (need == NEED_NOTHING || p->talk.state == STARTTLS_REFUSED)
		return fail(p, PROBE_PROTOCOL, p->talk.reason.kind, "%s", p->talk.reason.message);
	if (need != NEED_NEXT)
		return need;
	p->ssl = SSL_new(shared_context());
	if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1 || (p->sni && SSL_set_tlsext_host_name(p->ssl, p->sni) != 1) ||
		!restrict_key(p->ssl, p->key)) {
		openssl_error(&p->result.error, ERROR_PERMANENT, "cannot begin TLS with the name \"%s\"",
			p->sni ? p->sni : "");
		p->result.state = PROBE_PROTOCOL;
		return NEED_NOTHING;
	}
	SSL_set_app_data(p->ssl, p);
	BIO_set_callback_ex(SSL_get_rbio(p->ssl), on_bio);
	BIO_set_callback_arg(SSL_get_rbio(p->ssl), (char *)p);
	p->phase = PHASE_HANDSHAKE;
	return NEED_NEXT;
}

static enum need fail_text(struct probe *p, const char *text)
{
	const char *what = p->endpoint.protocol == PROBE_TLS
		? "plain text where TLS was expected, is it a port for STARTTLS?"
		: "text before the handshake";
	return fail(p, PROBE_PROTOCOL, ERROR_PERMANENT, "%s: \"%s\"", what, text);
}

static enum need fail_handshake(struct probe *p, int rc, int code)
{
	if (SSL_get_error(p->ssl, rc) == SSL_ERROR_SYSCALL && code)
		return fail_errno(p, code);
	openssl_error(&p->result.error, ERROR_RETRY, "the TLS handshake failed%s", proxy_hint(p));
	return NEED_NOTHING;
}

static void keep_certificates(struct probe *p)
{
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(p->ssl); /* the leaf first */
	p->result.leaf = SSL_get1_peer_certificate(p->ssl);
	p->result.rest = sk_X509_new_null();
	if (!p->result.rest)
		mem_abort(__func__);
	for (int i = 1; i < sk_X509_num(sent); i++) {
		X509 *certificate = sk_X509_value(sent, i);
		if (X509_up_ref(certificate) != 1 || sk_X509_push(p->result.rest, certificate) == 0)
			mem_abort(__func__);
	}
}

static enum need note_served(struct probe *p)
{
	chain_fingerprint(p->result.leaf, p->result.fingerprint);
	p->result.state = PROBE_SERVED;
	p->result.version = SSL_get_version(p->ssl);
	p->result.milliseconds = clock_monotonic_ms() - p->started;
	return NEED_NOTHING;
}

/* A server that wants a certificate of its clients (TLS 1.2 and before) has shown its own, and signed for it, when it ends the
 * handshake for want of ours. */
static bool was_shown(struct probe *p)
{
	if (!p->wants_ours || !SSL_get0_peer_certificate(p->ssl))
		return false;
	ERR_clear_error();
	keep_certificates(p);
	return true;
}

static enum need phase_handshake(struct probe *p)
{
	char text[128];
	enum need need;
	ERR_clear_error();
	errno = 0;
	int rc = SSL_connect(p->ssl);
	int code = errno;
	if (rc != 1 && is_plain_text(p, text, sizeof(text)))
		return fail_text(p, text);
	if (rc != 1 && tls_outcome(p, rc, &need) == IO_WAIT)
		return need;
	if (rc != 1)
		return was_shown(p) ? note_served(p) : fail_handshake(p, rc, code);
	keep_certificates(p);
	if (!p->result.leaf)
		return fail(p, PROBE_PROTOCOL, ERROR_PERMANENT, "TLS is served without a certificate");
	note_served(p);
	/* ManageSieve tells its capabilities once more, unasked, once TLS is there. */
	bool greeting = p->endpoint.protocol == PROBE_TLS || p->endpoint.inner == PROBE_SIEVE;
	starttls_leave(&p->talk, p->endpoint.inner, p->sni, greeting, &p->send);
	p->phase = PHASE_FAREWELL;
	return NEED_NEXT;
}

static void set_deadline(struct probe *p, int64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
	event_add(p->deadline, &tv);
}

static enum need phase_farewell(struct probe *p)
{
	enum need need = converse(p);
	ERR_clear_error();
	if (need != NEED_NEXT)
		return need; /* broken off or not: the certificate is known */
	SSL_shutdown(p->ssl);
	ERR_clear_error();
	shutdown(p->fd, SHUT_WR);
	int64_t left = p->timeout_ms - (clock_monotonic_ms() - p->started);
	set_deadline(p, left < 0 ? 0 : left < CLOSE_WAIT_MS ? left : CLOSE_WAIT_MS);
	p->phase = PHASE_CLOSE;
	return NEED_READ;
}

static enum need phase_close(struct probe *p)
{
	char chunk[CHUNK];
	ssize_t got = recv(p->fd, chunk, sizeof(chunk), 0);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)) ? NEED_READ : NEED_NOTHING;
}

/* ---- the probe ---- */

static void probe_free(struct probe *p)
{
	struct event *events[] = {p->readable, p->writable, p->deadline};
	for (size_t i = 0; i < COUNT(events); i++)
		if (events[i])
			event_free(events[i]);
	SSL_free(p->ssl);
	if (p->fd >= 0)
		close(p->fd);
	X509_free(p->result.leaf);
	sk_X509_pop_free(p->result.rest, X509_free);
	buf_release(&p->send);
	free(p->sni);
	free(p);
}

static void probe_finish(struct probe *p)
{
	p->done(p->context, &p->result);
	probe_free(p);
}

static void probe_run(struct probe *p)
{
	static enum need (*const phases[])(struct probe *) = {
		[PHASE_CONNECT] = phase_connect,
		[PHASE_DIALOGUE] = phase_dialogue,
		[PHASE_HANDSHAKE] = phase_handshake,
		[PHASE_FAREWELL] = phase_farewell,
		[PHASE_CLOSE] = phase_close,
	};
	enum need need = NEED_NEXT;
	while (need == NEED_NEXT)
		need = phases[p->phase](p);
	if (need == NEED_NOTHING)
		probe_finish(p);
	else
		event_add(need == NEED_READ ? p->readable : p->writable, NULL);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	probe_run(context);
}

/* Of a greeting of several lines of SMTP's the first is there. */
static bool is_greeting(const struct probe *p)
{
	return p->phase == PHASE_DIALOGUE && p->talk.step == STARTTLS_GREETING && p->talk.protocol == PROBE_SMTP &&
		p->talk.step_bytes && strncmp(p->talk.line, "220-", 4) == 0;
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct probe *p = context;
	char span[CLOCK_TEXT_MAX];
	if (p->settled || p->result.state == PROBE_SERVED)
		; /* the result stands */
	else if (p->phase == PHASE_DIALOGUE && p->talk.reason.kind != ERROR_NONE)
		fail(p, PROBE_PROTOCOL, p->talk.reason.kind, "%s", p->talk.reason.message);
	else if (is_greeting(p))
		fail(p, PROBE_TIMEOUT, ERROR_RETRY,
			"still in its greeting after %s, which begins with \"%.100s\": it lets strangers wait, as postscreen does "
			"(postscreen_greet_wait): allow more time, by timeout",
			clock_span(p->timeout_ms, span), p->talk.line);
	else
		fail(p, PROBE_TIMEOUT, ERROR_RETRY, "no answer within %s (%s)%s", clock_span(p->timeout_ms, span),
			where(p), proxy_hint(p));
	probe_finish(p);
}

/* Begins to connect. An address that refuses at once is reported from the loop like all others. */
static void probe_connect(struct probe *p, struct event_base *base)
{
	p->fd = socket(p->endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc =
		p->fd < 0 ? -1 : connect(p->fd, (const struct sockaddr *)&p->endpoint.address, p->endpoint.address_len);
	if (rc < 0 && errno != EINPROGRESS) {
		fail_errno(p, errno);
		p->settled = true;
		return;
	}
	p->readable = event_new(base, p->fd, EV_READ, on_ready, p);
	p->writable = event_new(base, p->fd, EV_WRITE, on_ready, p);
	if (!p->readable || !p->writable)
		mem_abort(__func__);
	event_add(p->writable, NULL);
}

struct probe *probe_start(struct event_base *base, const struct endpoint *endpoint, const char *sni, int timeout_ms,
	probe_done *done, void *context)
{
	return probe_start_key(base, endpoint, sni, PROBE_ANY_KEY, timeout_ms, done, context);
}

struct probe *probe_start_key(struct event_base *base, const struct endpoint *endpoint, const char *sni,
	enum probe_key key, int timeout_ms, probe_done *done, void *context)
{
	struct probe *p = mem_alloc(sizeof(*p));
	p->endpoint = *endpoint;
	p->sni = sni ? mem_strdup(sni) : NULL;
	p->key = key;
	p->timeout_ms = timeout_ms;
	p->started = clock_monotonic_ms();
	p->send = BUF_INIT(STARTTLS_SEND_MAX);
	p->result.state = PROBE_PROTOCOL;
	p->done = done;
	p->context = context;
	p->deadline = evtimer_new(base, on_deadline, p);
	if (!p->deadline)
		mem_abort(__func__);
	probe_connect(p, base);
	set_deadline(p, p->settled ? 0 : timeout_ms);
	return p;
}

void probe_cancel(struct probe *p)
{
	if (p)
		probe_free(p);
}
