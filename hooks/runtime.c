#include "hooks/runtime.h"
#include "lib/core/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* BUFFER_SIZE is HAProxy's tune.bufsize where nothing is said; BUFFER_REST is what is left free of it; TRASH_MORE is what
 * its scratch buffers have besides. */
enum { BUFFER_SIZE = 16384, BUFFER_REST = 384, TRASH_MORE = 32 };
enum { TIMEOUT_SECONDS = 10, REPLY_MAX = 64 * 1024, SHA1_HEX_MAX = 41 };

/* The listener is about to be sent a private key, so it must be root, or whoever runs this. The kernel has kept its
 * user as of listen(), which HAProxy calls before it gives up root's rights. */
static int check_listener(int fd, const char *path, struct error *err)
{
	struct ucred listener;
	socklen_t len = sizeof(listener);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &len) < 0)
		return error_errno(err, "cannot tell who listens at %s", path);
	if (listener.uid == 0 || listener.uid == geteuid())
		return 0;
	return error_set(err, ERROR_UNTRUSTED, "user %d listens at %s, and is sent no key", (int)listener.uid, path);
}

/* *ret_absent says that nobody listens there. */
static int connect_to(const char *path, bool *ret_absent, struct error *err)
{
	*ret_absent = false;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ERROR_USAGE, "the stats socket's path %s is too long", path);
	strcpy(address.sun_path, path);
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return error_errno(err, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		*ret_absent = errno == ENOENT || errno == ECONNREFUSED;
		return error_errno(err, "cannot connect to HAProxy's stats socket %s", path);
	}
	if (check_listener(fd, path, err) < 0)
		return -1;
	return steal_fd(&fd);
}

int runtime_is_there(const char *socket_path, struct error *err)
{
	bool absent;
	auto_close int fd = connect_to(socket_path, &absent, err);
	if (fd >= 0)
		return 1;
	return absent ? 0 : -1;
}

static int send_all(int fd, const struct buf *b, struct error *err)
{
	for (size_t sent = 0; sent < b->len;) {
		ssize_t put = send(fd, b->data + sent, b->len - sent, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(err, "cannot send to HAProxy's stats socket");
		sent += (size_t)put;
	}
	return 0;
}

/* Each command takes a connection: HAProxy answers and closes. */
static int dialogue(const char *socket_path, const struct buf *request, struct buf *reply, struct error *err)
{
	bool absent;
	auto_close int fd = connect_to(socket_path, &absent, err);
	if (fd < 0 || send_all(fd, request, err) < 0)
		return -1;
	for (;;) {
		uint8_t *room = buf_reserve(reply, 4096);
		if (!room)
			return error_set(err, ERROR_PERMANENT, "HAProxy's reply is longer than %zu bytes", reply->max);
		ssize_t got = recv(fd, room, 4096, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, "HAProxy's stats socket %s did not answer", socket_path);
		if (got == 0)
			return 0;
		buf_added(reply, (size_t)got);
	}
}

int runtime_ask(const char *socket_path, const char *command, struct buf *reply, struct error *err)
{
	auto_buf struct buf request = BUF_INIT(RUNTIME_COMMAND_MAX);
	if (buf_addf(&request, "%s\n", command) < 0)
		return error_set(err, ERROR_PERMANENT, "a command of more than %d bytes", RUNTIME_COMMAND_MAX);
	return dialogue(socket_path, &request, reply, err);
}

/* Makes an error of a refusal in HAProxy's words, on one line and without the payload. */
static int refused(struct error *err, const char *what, struct buf *reply)
{
	const char *text = buf_text(reply);
	while (isspace((unsigned char)*text))
		text++;
	return error_set(err, ERROR_PERMANENT, "%s: HAProxy answered \"%.300s\"", what, *text ? text : "nothing");
}

int runtime_files(const char *socket_path, struct buf *ret_listing, struct error *err)
{
	auto_buf struct buf reply = BUF_INIT(RUNTIME_LISTING_MAX);
	if (runtime_ask(socket_path, "show ssl cert", &reply, err) < 0)
		return -1;
	const char *text = buf_text(&reply);
	/* Without `level admin` HAProxy says "Can't allocate memory!" or "Permission denied". */
	if (text[0] != '#')
		return refused(err, "the list of certificates (is the stats socket at level admin?)", &reply);
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len && *text != '#')
			buf_addf(ret_listing, "%.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
	return 0;
}

int runtime_lists(const char *socket_path, struct buf *ret_listing, struct error *err)
{
	auto_buf struct buf reply = BUF_INIT(RUNTIME_LISTING_MAX);
	if (runtime_ask(socket_path, "show ssl crt-list", &reply, err) < 0)
		return -1;
	const char *text = buf_text(&reply);
	if (strstr(text, "Permission denied") || strstr(text, "Unknown command"))
		return refused(err, "show ssl crt-list", &reply);
	return buf_add(ret_listing, reply.data, reply.len);
}

static int fingerprint_sha1(const X509 *certificate, char hex[SHA1_HEX_MAX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	if (!X509_digest(certificate, EVP_sha1(), digest, &len) || len != 20)
		return -1;
	for (unsigned int k = 0; k < len; k++)
		snprintf(hex + 2 * k, 3, "%02X", digest[k]);
	return 0;
}

static size_t count_lines(const char *text, const char *beginning)
{
	size_t count = 0;
	for (const char *at = strstr(text, beginning); at; at = strstr(at + 1, beginning))
		count++;
	return count;
}

/* Compares `name` ("*FILE" in the transaction, "FILE" in use) with this leaf and all of its chain. HAProxy shows no
 * other digest than SHA-1, which is enough to tell our own certificates from one another. */
static int compare(const char *socket_path, const char *name, const struct chain *chain, struct error *err)
{
	auto_buf struct buf reply = BUF_INIT(REPLY_MAX);
	auto_free char *command = mem_printf("show ssl cert %s", name);
	char expected[SHA1_HEX_MAX], line[80];
	if (runtime_ask(socket_path, command, &reply, err) < 0)
		return -1;
	if (fingerprint_sha1(chain->leaf, expected) < 0)
		return openssl_error(err, ERROR_PERMANENT, "cannot digest the leaf of %s", name);
	const char *text = buf_text(&reply);
	snprintf(line, sizeof(line), "SHA1 FingerPrint: %s\n", expected);
	if (!strstr(text, line))
		return refused(err, "what HAProxy holds is not the new certificate", &reply);
	size_t shown = count_lines(text, "\nChain Subject: "), given = (size_t)sk_X509_num(chain->rest);
	if (shown != given)
		return error_set(err, ERROR_PERMANENT,
			"HAProxy holds %zu of the chain's %zu certificates behind the leaf", shown, given);
	return 0;
}

static unsigned long pool_size(const char *pools, const char *mark)
{
	const char *at = strstr(pools, mark);
	return at ? strtoul(at + strlen(mark), NULL, 10) : 0;
}

/* Returns how many bytes of command and payload HAProxy takes at once: its buffers are of this size. Pools of one size
 * share a name, which may be another's (quic_conn_r at 65536); "trash" has some bytes more than a buffer. */
static size_t read_limit(const char *socket_path)
{
	struct error ignored;
	auto_buf struct buf reply = BUF_INIT(RUNTIME_LISTING_MAX);
	const char *pools = runtime_ask(socket_path, "show pools", &reply, &ignored) < 0 ? "" : buf_text(&reply);
	unsigned long size = pool_size(pools, "Pool buffer (");
	if (!size && pool_size(pools, "Pool trash (") > TRASH_MORE)
		size = pool_size(pools, "Pool trash (") - TRASH_MORE;
	if (size < 2 * BUFFER_REST || size > RUNTIME_COMMAND_MAX)
		size = BUFFER_SIZE;
	return size - BUFFER_REST;
}

static int set(const char *socket_path, const char *file, const struct chain *chain, struct error *err)
{
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf request = BUF_INIT(RUNTIME_COMMAND_MAX);
	auto_buf struct buf reply = BUF_INIT(REPLY_MAX);
	if (chain_write_pem(chain, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST, &pem, err) < 0)
		return -1;
	if (buf_addf(&request, "set ssl cert %s <<\n", file) < 0 || buf_add(&request, pem.data, pem.len) < 0 ||
		buf_addf(&request, "\n") < 0 || request.len > read_limit(socket_path))
		return error_set(
			err, ERROR_PERMANENT, "%zu bytes are more than HAProxy's runtime API takes at once", pem.len);
	if (dialogue(socket_path, &request, &reply, err) < 0)
		return -1;
	const char *text = buf_text(&reply);
	if (!strstr(text, "Transaction created for certificate ") &&
		!strstr(text, "Transaction updated for certificate "))
		return refused(err, "set ssl cert", &reply);
	return 0;
}

static int commit(const char *socket_path, const char *file, struct error *err)
{
	auto_buf struct buf reply = BUF_INIT(REPLY_MAX);
	auto_free char *command = mem_printf("commit ssl cert %s", file);
	if (runtime_ask(socket_path, command, &reply, err) < 0)
		return -1;
	return strstr(buf_text(&reply), "Success!") ? 0 : refused(err, "commit ssl cert", &reply);
}

/* Ends a transaction that must not stay: ours after a fault, or one that a killed predecessor left. A failure here
 * changes nothing: the caller reports the first one, and the next `set` meets the transaction again. */
static void forget(const char *socket_path, const char *file)
{
	struct error ignored;
	auto_buf struct buf reply = BUF_INIT(REPLY_MAX);
	auto_free char *command = mem_printf("abort ssl cert %s", file);
	runtime_ask(socket_path, command, &reply, &ignored);
}

/* HAProxy has one transaction at a time. We hold the lock, so a transaction that exists has no owner that we know. */
static int forget_stale(const char *socket_path, struct error *err)
{
	auto_buf struct buf listing = BUF_INIT(RUNTIME_LISTING_MAX);
	if (runtime_files(socket_path, &listing, err) < 0)
		return -1;
	buf_text(&listing);
	char *rest = (char *)listing.data, *line;
	while ((line = strsep(&rest, "\n")))
		if (line[0] == '*')
			forget(socket_path, line + 1);
	return 0;
}

int runtime_check_name(const char *file, struct error *err)
{
	if (strpbrk(file, " \t\r\n;\\"))
		return error_set(err, ERROR_USAGE, "the runtime API has no way to write the name \"%s\"", file);
	return 0;
}

int runtime_replace(const char *socket_path, const char *file, const struct chain *chain, struct error *err)
{
	if (runtime_check_name(file, err) < 0)
		return -1;
	auto_free char *pending = mem_printf("*%s", file);
	if (forget_stale(socket_path, err) < 0)
		return -1;
	if (set(socket_path, file, chain, err) < 0 || compare(socket_path, pending, chain, err) < 0 ||
		commit(socket_path, file, err) < 0) {
		forget(socket_path, file);
		return error_wrap(err, "%s", file);
	}
	if (compare(socket_path, file, chain, err) < 0)
		return error_wrap(err, "%s after its commit", file);
	return 0;
}
