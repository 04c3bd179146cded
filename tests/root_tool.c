/* A double that plays certsync-agent for certsync-agent-root, so that a story can speak to the root half alone.
 *
 *   root_tool run -c FILE   installed as `certsync-agent`: relays bytes between descriptor 3, where the root half is,
 *                           and whoever connects to run/tool.sock beside FILE, one at a time
 *   root_tool hub FILE      makes a hub's signing key, writes it to FILE, prints the public half in base64
 *   root_tool bundle SIGNKEY RECIPIENT NAME EPOCH NUMBER FLAGS PEM…
 *                           writes a bundle to standard output; each PEM holds a key and its chain
 */
#include "lib/core/base64.h"
#include "lib/crypto/bundle.h"
#include "lib/core/fs.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOT_FD = 3 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void write_whole(int fd, const void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t put = write(fd, (const char *)data + at, len - at);
		must(put > 0, "write");
		at += (size_t)put;
	}
}

/* Relays what `from` has to say. Returns false at its end. */
static bool pass(int from, int to)
{
	char chunk[65536];
	ssize_t got = read(from, chunk, sizeof(chunk));
	if (got > 0)
		write_whole(to, chunk, (size_t)got);
	return got > 0;
}

static void relay(int peer)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = ROOT_FD, .events = POLLIN}, {.fd = peer, .events = POLLIN}};
		must(poll(fds, 2, -1) > 0, "poll");
		if (fds[0].revents && !pass(ROOT_FD, peer))
			exit(0);
		if (fds[1].revents && !pass(peer, ROOT_FD))
			return;
	}
}

static int play(const char *config)
{
	/* The root half sends this so that the daemon looks at its ports, which this double does not have. */
	signal(SIGUSR1, SIG_IGN);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_free char *copy = mem_strdup(config);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/tool.sock", dirname(copy));
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(address.sun_path);
	must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0, address.sun_path);
	must(listen(listener, 4) == 0, "listen");
	for (;;) {
		struct pollfd fds[] = {{.fd = ROOT_FD, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
		must(poll(fds, 2, -1) > 0, "poll");
		if (fds[0].revents)
			return 0; /* the root half has ended, since it says nothing unasked */
		int peer = accept(listener, NULL, NULL);
		if (peer < 0)
			continue;
		relay(peer);
		close(peer);
	}
}

static int fail(const struct error *err)
{
	fprintf(stderr, "root_tool: %s\n", err->message);
	return 1;
}

static int make_hub(const char *path)
{
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
	auto_buf struct buf text = BUF_INIT(128);
	struct error err;
	if (sign_keypair(private_key, public_key, &err) < 0 ||
		fs_write(AT_FDCWD, path, private_key, sizeof(private_key), FS_PRIVATE, &err) < 0)
		return fail(&err);
	base64_encode(public_key, sizeof(public_key), &text);
	puts(buf_text(&text));
	return 0;
}

static int read_pairs(struct bundle *b, char **paths, int count, struct error *err)
{
	for (int i = 0; i < count && i < BUNDLE_PAIRS_MAX; i++) {
		auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
		if (fs_read(AT_FDCWD, paths[i], true, &pem, err) < 0 ||
			chain_parse_pem(pem.data, pem.len, pem.data, pem.len, &b->pairs[i], err) < 0)
			return -1;
		b->pair_count++;
	}
	return 0;
}

static int make_bundle(char **argv, int argc)
{
	auto_bundle struct bundle b = {0};
	auto_buf struct buf sign_key = BUF_INIT(SEAL_KEY_SIZE);
	auto_buf struct buf recipient = BUF_INIT(SEAL_KEY_SIZE);
	auto_buf struct buf out = BUF_INIT(BUNDLE_MAX);
	struct error err;
	snprintf(b.certificate, sizeof(b.certificate), "%s", argv[2]);
	b.revision.epoch = (uint32_t)strtoul(argv[3], NULL, 10);
	b.revision.number = (uint32_t)strtoul(argv[4], NULL, 10);
	b.flags = (uint16_t)strtoul(argv[5], NULL, 10);
	if (fs_read(AT_FDCWD, argv[0], false, &sign_key, &err) < 0 || base64_decode(argv[1], &recipient, &err) < 0 ||
		read_pairs(&b, argv + 6, argc - 6, &err) < 0 ||
		bundle_seal(&b, recipient.data, sign_key.data, &out, &err) < 0)
		return fail(&err);
	write_whole(STDOUT_FILENO, out.data, out.len);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "run") == 0 && strcmp(argv[2], "-c") == 0)
		return play(argv[3]);
	if (argc == 3 && strcmp(argv[1], "hub") == 0)
		return make_hub(argv[2]);
	if (argc >= 9 && strcmp(argv[1], "bundle") == 0)
		return make_bundle(argv + 2, argc - 2);
	fputs("usage: see the head of tests/root_tool.c\n", stderr);
	return 2;
}
