/* Does the work that no fleet can do without, each part by itself, so many times, by so many processes at a time. It is
 * for measurements, which take wall and CPU time from outside.
 *
 *   floor_tool verify COUNT WORKERS KEY CHAIN ANCHORS    a bundle opened, its signature and its chain verified
 *   floor_tool seal COUNT WORKERS KEY CHAIN              a bundle sealed to one agent and signed
 *   floor_tool record COUNT WORKERS DIRECTORY            a record of a journal's size that survives: written beside,
 *                                                       synced, renamed, synced
 *   floor_tool set COUNT WORKERS DIRECTORY KEY CHAIN     a set of six files, each synced, then one rename of a link, synced
 *   floor_tool hook COUNT WORKERS HOOK                   one fork and exec of it, and its end
 *   floor_tool probe COUNT WORKERS ENDPOINT NAME         one handshake, and a polite end
 *   floor_tool channel COUNT WORKERS COMMAND…            COMMAND gives 6 KiB for each byte; each worker starts it once
 *   floor_tool pump                                      is such a command, for the far end
 */
#include "lib/crypto/bundle.h"
#include "lib/core/clock.h"
#include "lib/core/fs.h"
#include "lib/service/hook.h"
#include "lib/core/mem.h"
#include "lib/probe/probe.h"
#include "lib/crypto/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLOOR_MESSAGE = 6144, FLOOR_RECORD = 744 };

static void fail(const char *what, const struct error *err)
{
	fprintf(stderr, "floor_tool: %s: %s\n", what, err ? err->message : strerror(errno));
	exit(1);
}

static void load(const char *key_path, const char *chain_path, struct chain *ret)
{
	struct error err;
	auto_buf struct buf key = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf chain = BUF_INIT(CHAIN_PEM_MAX);
	if (fs_read(AT_FDCWD, key_path, true, &key, &err) < 0 ||
		fs_read(AT_FDCWD, chain_path, true, &chain, &err) < 0 ||
		chain_parse_pem(chain.data, chain.len, key.data, key.len, ret, &err) < 0)
		fail("load", &err);
}

static void part_verify(int count, char **arg)
{
	struct error err;
	struct bundle_keys keys = {.signer_count = 1};
	uint8_t sign_private[SEAL_KEY_SIZE];
	struct bundle b = {.revision = {1, 1}, .pair_count = 1, .certificate = "mail.domain.pl"};
	auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
	struct anchors *anchors = anchors_load(arg[2], &err);
	load(arg[0], arg[1], &b.pairs[0]);
	if (!anchors || seal_keypair(keys.seal_private, keys.seal_public, &err) < 0 ||
		sign_keypair(sign_private, keys.signers[0], &err) < 0 ||
		bundle_seal(&b, keys.seal_public, sign_private, &sealed, &err) < 0)
		fail("seal", &err);
	const struct verify_policy policy = {.anchors = anchors, .now = clock_wall()};
	while (count-- > 0) {
		auto_bundle struct bundle opened = {0};
		if (bundle_open(sealed.data, sealed.len, &keys, &opened, &err) < 0 ||
			verify_chain(&opened.pairs[0], &policy, &err) < 0)
			fail("verify", &err);
	}
}

static void part_seal(int count, char **arg)
{
	struct error err;
	struct bundle b = {.revision = {1, 1}, .pair_count = 1, .certificate = "mail.domain.pl"};
	uint8_t agent_private[SEAL_KEY_SIZE], agent_public[SEAL_KEY_SIZE], sign_private[SEAL_KEY_SIZE],
		sign_public[SEAL_KEY_SIZE];
	load(arg[0], arg[1], &b.pairs[0]);
	if (seal_keypair(agent_private, agent_public, &err) < 0 || sign_keypair(sign_private, sign_public, &err) < 0)
		fail("keys", &err);
	while (count-- > 0) {
		auto_buf struct buf sealed = BUF_INIT(BUNDLE_MAX);
		if (bundle_seal(&b, agent_public, sign_private, &sealed, &err) < 0)
			fail("seal", &err);
	}
}

static void put(int directory, const char *name, const struct buf *content)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, content->data, content->len) != (ssize_t)content->len || fsync(fd) < 0 || close(fd) < 0)
		fail(name, NULL);
}

static void part_set(int count, char **arg)
{
	static const char *const names[] = {
		"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem", "haproxy.pem"};
	static const unsigned parts[] = {CHAIN_KEY, CHAIN_LEAF, CHAIN_REST, CHAIN_LEAF | CHAIN_REST,
		CHAIN_KEY | CHAIN_LEAF | CHAIN_REST, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST};
	struct error err;
	struct buf pem[COUNT(names)];
	auto_chain struct chain chain = {0};
	char name[64];
	auto_free char *base = mem_printf("%s/%d", arg[0], (int)getpid());
	load(arg[1], arg[2], &chain);
	for (size_t i = 0; i < COUNT(names); i++) {
		pem[i] = BUF_INIT(CHAIN_PEM_MAX);
		if (chain_write_pem(&chain, parts[i], &pem[i], &err) < 0)
			fail("pem", &err);
	}
	if (mkdir(base, 0700) < 0)
		fail(base, NULL);
	int parent = fs_open_directory(AT_FDCWD, base, &err);
	for (int k = 0; k < count; k++) {
		snprintf(name, sizeof(name), "%d", k);
		if (mkdirat(parent, name, 0700) < 0)
			fail(name, NULL);
		int directory = fs_open_directory(parent, name, &err);
		for (size_t i = 0; i < COUNT(names); i++)
			put(directory, names[i], &pem[i]);
		if (fsync(directory) < 0 || symlinkat(name, parent, "new") < 0 ||
			renameat(parent, "new", parent, "live") < 0 || fsync(parent) < 0)
			fail("rename", NULL);
		close(directory);
	}
	close(parent);
	for (size_t i = 0; i < COUNT(names); i++)
		buf_release(&pem[i]);
}

static void part_record(int count, char **arg)
{
	static uint8_t bytes[FLOOR_RECORD];
	const struct buf record = {.data = bytes, .len = sizeof(bytes), .max = sizeof(bytes)};
	struct error err;
	auto_free char *base = mem_printf("%s/%d", arg[0], (int)getpid());
	if (mkdir(base, 0700) < 0)
		fail(base, NULL);
	auto_close int directory = fs_open_directory(AT_FDCWD, base, &err);
	while (count-- > 0) {
		put(directory, "new", &record);
		if (renameat(directory, "new", directory, "journal") < 0 || fsync(directory) < 0)
			fail("record", NULL);
	}
}

static void part_hook(int count, char **arg)
{
	const char *const words[] = {arg[0], "test", NULL};
	const char *const environment[] = {PROC_PATH, NULL};
	const struct hook_call call = {.argv = words, .envp = environment, .timeout = 10, .stop_fd = -1};
	struct hook_result *result = mem_alloc(sizeof(*result));
	struct error err;
	while (count-- > 0)
		if (hook_run(&call, result, &err) < 0)
			fail(arg[0], &err);
	free(result);
}

static void on_probed(void *context, const struct probe_result *result)
{
	int *left = context;
	if (result->state != PROBE_SERVED)
		fail("probe", &result->error);
	--*left;
}

static void part_probe(int count, char **arg)
{
	struct error err;
	struct endpoint endpoint;
	struct event_base *base = event_base_new();
	if (endpoint_parse(arg[0], &endpoint, &err) < 0)
		fail(arg[0], &err);
	while (count > 0) {
		probe_start(base, &endpoint, arg[1], 10000, on_probed, &count);
		event_base_dispatch(base);
	}
	event_base_free(base);
}

/* Sends a message for each byte that comes in, until the input ends. */
static int pump(void)
{
	static char message[FLOOR_MESSAGE];
	char byte;
	while (read(0, &byte, 1) == 1)
		if (write(1, message, sizeof(message)) != sizeof(message))
			return 1;
	return 0;
}

static void part_channel(int count, char **arg)
{
	char chunk[FLOOR_MESSAGE];
	int to[2], from[2];
	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		fail("pipe", NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execv(arg[0], arg);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	for (int i = 0; i < count; i++) {
		if (write(to[1], "x", 1) != 1)
			fail("channel", NULL);
		for (ssize_t all = 0, got; all < FLOOR_MESSAGE; all += got)
			if ((got = read(from[0], chunk, sizeof(chunk))) <= 0)
				fail("channel", NULL);
	}
	close(to[1]);
	waitpid(pid, NULL, 0);
	close(from[0]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(int count, char **arg);
		int args;
	} parts[] = {{"seal", part_seal, 2}, {"verify", part_verify, 3}, {"record", part_record, 1},
		{"set", part_set, 3}, {"hook", part_hook, 1}, {"probe", part_probe, 2}, {"channel", part_channel, 1}};
	int failed = 0, status;
	if (argc == 2 && strcmp(argv[1], "pump") == 0)
		return pump();
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 4 && i < COUNT(parts); i++) {
		if (strcmp(argv[1], parts[i].name) != 0 || argc < 4 + parts[i].args)
			continue;
		int count = atoi(argv[2]), workers = atoi(argv[3]);
		for (int k = 0; k < workers; k++) {
			if (fork() != 0)
				continue;
			parts[i].run(count / workers, argv + 4);
			exit(0);
		}
		while (wait(&status) > 0)
			failed |= status != 0;
		return failed;
	}
	fprintf(stderr, "floor_tool: usage: PART COUNT WORKERS ARGUMENT…\n");
	return 2;
}
