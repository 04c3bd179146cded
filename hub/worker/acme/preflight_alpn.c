#include "hub/worker/acme/preflight_visit.h"
#include "hub/worker/acme/alpn.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 443 };

struct visit {
	struct preflight_visit *at;
	SSL *ssl; /* NULL: over, or never begun */
	int fd;
	short waits; /* POLLIN or POLLOUT */
};

static void end(struct visit *v)
{
	SSL_free(steal(v->ssl));
	close(v->fd);
}

/* Connects without waiting. */
static int begin(struct visit *v, SSL_CTX *context)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	const bool is_four = inet_pton(AF_INET, v->at->address, &four.sin_addr) == 1;
	if (!is_four && inet_pton(AF_INET6, v->at->address, &six.sin6_addr) != 1)
		return -1;
	v->fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	v->ssl = v->fd < 0 ? NULL : SSL_new(context);
	if (!v->ssl) {
		preflight_say(v->at, "cannot be asked: %s", strerror(errno));
		return -1;
	}
	const struct sockaddr *where = is_four ? (const struct sockaddr *)&four : (const struct sockaddr *)&six;
	if ((connect(v->fd, where, is_four ? sizeof(four) : sizeof(six)) < 0 && errno != EINPROGRESS) ||
		SSL_set_fd(v->ssl, v->fd) != 1 || SSL_set_tlsext_host_name(v->ssl, v->at->name) != 1) {
		preflight_say(v->at, "port %d: %s", PORT, strerror(errno));
		end(v);
		return -1;
	}
	SSL_set_connect_state(v->ssl);
	v->waits = POLLOUT;
	preflight_say(v->at, "port %d: no answer within %d seconds", PORT, PREFLIGHT_TOTAL_S);
	return 0;
}

static void go_on(struct visit *v, const uint8_t digest[ALPN_DIGEST_SIZE])
{
	struct error err;
	int failure = 0;
	socklen_t len = sizeof(failure);
	if (getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0 && failure) {
		preflight_say(v->at, "port %d: %s", PORT, strerror(failure));
		end(v);
		return;
	}
	ERR_clear_error();
	int result = SSL_connect(v->ssl), reason = SSL_get_error(v->ssl, result);
	if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
		v->waits = reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return;
	}
	const char *said = ERR_reason_error_string(ERR_peek_last_error());
	v->at->ok = result == 1 && alpn_judge(v->ssl, digest, &err) == 0;
	if (v->at->ok)
		preflight_say(v->at, "answers");
	else if (result == 1)
		preflight_say(v->at, "port %d: %s", PORT, err.message);
	else
		preflight_say(
			v->at, "port %d: the handshake failed: %s", PORT, said ? said : "the connection was closed");
	SSL_shutdown(v->ssl);
	end(v);
}

static int visit_all(struct visit *visits, size_t count, const uint8_t digest[ALPN_DIGEST_SIZE], struct error *err)
{
	const int64_t deadline = clock_monotonic_ms() + PREFLIGHT_TOTAL_S * (int64_t)1000;
	struct pollfd ready[PREFLIGHT_VISITS_MAX];
	for (int64_t left; (left = deadline - clock_monotonic_ms()) > 0;) {
		size_t open = 0;
		for (size_t i = 0; i < count; i++) {
			ready[i] = (struct pollfd){.fd = visits[i].ssl ? visits[i].fd : -1, .events = visits[i].waits};
			open += visits[i].ssl != NULL;
		}
		if (!open)
			break;
		if (poll(ready, count, (int)left) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		for (size_t i = 0; i < count; i++)
			if (visits[i].ssl && ready[i].revents)
				go_on(&visits[i], digest);
	}
	return 0;
}

int preflight_by_alpn(struct preflight_visit *visits, size_t count, const char *authorization, struct error *err)
{
	uint8_t digest[ALPN_DIGEST_SIZE];
	SSL_CTX *context = alpn_client(err);
	if (!context)
		return -1;
	struct visit *mine = mem_array(count + 1, sizeof(*mine));
	int result = EVP_Digest(authorization, strlen(authorization), digest, NULL, EVP_sha256(), NULL) == 1
		? 0
		: error_set(err, ERROR_PERMANENT, "no SHA-256 of an answer");
	for (size_t i = 0; result == 0 && i < count; i++) {
		mine[i].at = &visits[i];
		if (visits[i].address[0])
			begin(&mine[i], context);
	}
	if (result == 0)
		result = visit_all(mine, count, digest, err);
	for (size_t i = 0; i < count; i++)
		if (mine[i].ssl)
			end(&mine[i]);
	free(mine);
	SSL_CTX_free(context);
	return result;
}
