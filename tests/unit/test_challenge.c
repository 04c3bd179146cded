/* The http-01 responder and its clients: the responder is a process of its own, which the test attacks over
 * loopback. */
#include "hub/daemon/acme/challenge.h"
#include "lib/core/clock.h"
#include "tests/unit/range.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN "DGyRejmCefe7v4NfDGDKfA"
#define AUTHORIZATION TOKEN ".LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: mail.domain.pl\r\n\r\n"
#define PATH "/.well-known/acme-challenge/"

enum { ANSWER_MAX = 8192, PIECE = 64 * 1024 };

static pid_t responder;
static uint16_t port;

/* ---- the responder's process ---- */

static void on_signal(evutil_socket_t number, short what, void *base)
{
	(void)number;
	(void)what;
	event_base_loopbreak(base);
}

static int respond(int report)
{
	struct error err;
	struct event_base *base = event_base_new();
	struct event *end = evsignal_new(base, SIGTERM, on_signal, base);
	struct challenge *c = challenge_new(base, "127.0.0.1:0", &err);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!c || challenge_add(c, TOKEN, AUTHORIZATION, &err) < 0 || event_add(end, NULL) < 0)
		return 1;
	uint16_t number = challenge_port(c);
	if (write(report, &number, sizeof(number)) != sizeof(number))
		return 1;
	close(report);
	event_base_dispatch(base);
	challenge_free(c);
	event_free(end);
	event_base_free(base);
	return 0;
}

static int start(void **state)
{
	int pair[2];
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (pipe(pair) < 0)
		return -1;
	responder = fork();
	if (responder == 0)
		exit(respond(pair[1]));
	close(pair[1]);
	int result = read(pair[0], &port, sizeof(port)) == sizeof(port) ? 0 : -1;
	close(pair[0]);
	return result;
}

static int finish(void **state)
{
	int status = -1;
	(void)state;
	kill(responder, SIGTERM);
	return waitpid(responder, &status, 0) == responder && status == 0 ? 0 : -1;
}

static long resident_kib(void)
{
	char path[64], line[256];
	long kib = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)responder);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &kib);
	fclose(f);
	assert_true(kib > 0);
	return kib;
}

static int descriptors(void)
{
	char path[64];
	int count = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)responder);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Waits until the responder, too, has closed the connections of those who hung up. */
static void settle(int wanted)
{
	int64_t until = clock_monotonic_ms() + 10000;
	while (descriptors() != wanted && clock_monotonic_ms() < until)
		usleep(10 * 1000);
	assert_int_equal(descriptors(), wanted);
}

/* ---- clients ---- */

static int connect_to(void)
{
	const struct sockaddr_in where = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timeval patience = {.tv_sec = 15};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&where, sizeof(where)), 0);
	return fd;
}

/* Reads until the end or a reset, both of which end a connection, and fails when neither comes. */
static void read_to_end(int fd, char answer[ANSWER_MAX])
{
	size_t len = 0;
	ssize_t got;
	while ((got = recv(fd, answer + len, ANSWER_MAX - 1 - len, 0)) > 0)
		len += (size_t)got;
	answer[len] = '\0';
	if (got < 0)
		assert_int_equal(errno, ECONNRESET);
	close(fd);
}

static void ask(const char *request, char answer[ANSWER_MAX])
{
	int fd = connect_to();
	assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	read_to_end(fd, answer);
}

static void assert_still_answers(void)
{
	char answer[ANSWER_MAX];
	ask(GET(PATH TOKEN), answer);
	assert_non_null(strstr(answer, "200 OK"));
	assert_non_null(strstr(answer, "\r\n\r\n" AUTHORIZATION));
}

/* Sends `piece` again and again. Returns how many bytes went out before the responder hung up. */
static size_t flood(int fd, const char *piece, size_t len, size_t limit)
{
	size_t sent = 0;
	while (sent < limit) {
		ssize_t put = send(fd, piece, len, 0);
		if (put <= 0)
			break;
		sent += (size_t)put;
	}
	return sent;
}

/* ---- stories ---- */

static void the_authority_gets_its_answer(void **state)
{
	(void)state;
	char answer[ANSWER_MAX];
	ask(GET(PATH TOKEN), answer);
	assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	assert_non_null(strstr(answer, "Content-Type: application/octet-stream\r\n"));
	assert_string_equal(strstr(answer, "\r\n\r\n") + 4, AUTHORIZATION);
}

static void everything_else_is_not_found(void **state)
{
	(void)state;
	static const char *const requests[] = {
		GET("/"),
		GET(PATH),
		GET(PATH "unknown"),
		GET(PATH TOKEN "x"),
		GET(PATH TOKEN "/"),
		GET(PATH "../x"),
		GET(PATH "../../../../etc/passwd"),
		GET(PATH "%2e%2e/x"),
		GET(PATH "$(id)"),
		GET("/.well-known/acme-challenge"),
		GET("/" TOKEN),
		GET("//.well-known/acme-challenge/" TOKEN),
	};
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		char answer[ANSWER_MAX];
		ask(requests[i], answer);
		assert_int_equal(strncmp(answer, "HTTP/1.1 404 ", 13), 0);
		assert_null(strstr(answer, "LPJNul"));
	}
}

static void other_methods_are_refused(void **state)
{
	(void)state;
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"};
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		char request[256], answer[ANSWER_MAX];
		snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", methods[i],
			PATH TOKEN);
		ask(request, answer);
		assert_null(strstr(answer, "200 OK"));
		assert_null(strstr(answer, "LPJNul"));
	}
}

static void rubbish_is_not_answered(void **state)
{
	(void)state;
	static const char *const requests[] = {
		"\r\n\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET " PATH TOKEN "\r\n\r\n",
		"\x16\x03\x01\x02\xfc\x03\x03\r\n\r\n",
		"GET " PATH TOKEN " HTTP/9.9.9\r\n\r\n",
		PATH TOKEN "\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		char answer[ANSWER_MAX];
		ask(requests[i], answer);
		assert_null(strstr(answer, "LPJNul"));
	}
	assert_still_answers();
}

static void twenty_megabytes_of_headers_are_cut_off(void **state)
{
	(void)state;
	static char piece[PIECE];
	char answer[ANSWER_MAX];
	long before = resident_kib();
	for (size_t i = 0; i < sizeof(piece); i += 64)
		memcpy(piece + i, "X-Filler: 0123456789012345678901234567890123456789012345678901\r\n", 64);
	for (int one_line = 0; one_line < 2; one_line++) {
		int fd = connect_to();
		assert_int_equal(send(fd, "GET / HTTP/1.1\r\nX: ", 19, 0), 19);
		if (one_line)
			memset(piece, 'a', sizeof(piece));
		assert_true(flood(fd, piece, sizeof(piece), 20 << 20) < 20 << 20);
		read_to_end(fd, answer);
		assert_null(strstr(answer, "200 OK"));
	}
	assert_true(resident_kib() - before < 2048);
	assert_still_answers();
}

static void bodies_are_not_read(void **state)
{
	(void)state;
	static const char *const heads[] = {
		"GET " PATH TOKEN " HTTP/1.1\r\nHost: x\r\nContent-Length: 52428800\r\n\r\n",
		"POST " PATH TOKEN " HTTP/1.1\r\nHost: x\r\nContent-Length: 52428800\r\n\r\n",
		"POST " PATH TOKEN " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3200000\r\n",
	};
	static char piece[PIECE];
	long before = resident_kib();
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		char answer[ANSWER_MAX];
		int fd = connect_to();
		assert_int_equal(send(fd, heads[i], strlen(heads[i]), 0), (ssize_t)strlen(heads[i]));
		assert_true(flood(fd, piece, sizeof(piece), 50 << 20) < 50 << 20);
		read_to_end(fd, answer);
	}
	assert_true(resident_kib() - before < 2048);
	assert_still_answers();
}

/* The client sends a byte every 100 ms, which evhttp's own time-out would never end. */
static void a_slow_client_has_five_seconds(void **state)
{
	(void)state;
	int64_t began = clock_monotonic_ms(), over = 0;
	int slow = connect_to();
	while (!over && clock_monotonic_ms() - began < 12000) {
		char byte;
		usleep(100 * 1000); /* this is the pace of the client, and not a wait for an event */
		if (send(slow, "G", 1, 0) < 0 || recv(slow, &byte, 1, MSG_DONTWAIT) == 0)
			over = clock_monotonic_ms() - began;
	}
	close(slow);
	assert_uint_in_range(over, 4000, 7000);
	assert_still_answers();
}

/* The authority must get its answer at once, even while somebody holds all places and asks for nothing. */
static void who_holds_all_places_keeps_nobody_from_an_answer(void **state)
{
	(void)state;
	enum { HELD = 900 };
	static int held[HELD];
	int before = descriptors();
	for (int i = 0; i < HELD; i++) {
		held[i] = connect_to();
		if (i % 2) /* half of the clients send the beginning of a request, which is none yet */
			assert_int_equal(send(held[i], "GET ", 4, 0), 4);
	}
	for (int i = 0; i < 20; i++) {
		int64_t began = clock_monotonic_ms();
		assert_still_answers();
		assert_true(clock_monotonic_ms() - began < 3000);
	}
	assert_true(descriptors() - before <= 260);
	for (int i = 0; i < HELD; i++)
		close(held[i]);
	settle(before);
}

/* Starts a process that connects again and again as fast as it can, and holds what it gets. */
static pid_t start_flood(void)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	enum { HELD = 600 };
	static int held[HELD];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0;; i++) {
		if (held[i % HELD] > 0)
			close(held[i % HELD]);
		held[i % HELD] = connect_to();
		if (i % 3)
			send(held[i % HELD], "G", 1, 0);
	}
}

static void a_flood_of_connections_keeps_nobody_from_an_answer(void **state)
{
	(void)state;
	int before = descriptors();
	pid_t flooder = start_flood();
	assert_true(flooder > 0);
	for (int i = 0; i < 50; i++) {
		int64_t began = clock_monotonic_ms();
		assert_still_answers();
		assert_true(clock_monotonic_ms() - began < 3000);
	}
	kill(flooder, SIGKILL);
	assert_int_equal(waitpid(flooder, NULL, 0), flooder);
	settle(before);
}

static void a_thousand_idle_connections_cost_little_and_pass(void **state)
{
	(void)state;
	enum { IDLE = 1000, STAYING = 200 };
	static int idle[IDLE];
	int descriptors_before = descriptors();
	long before = resident_kib();
	int64_t began = clock_monotonic_ms();
	for (int i = 0; i < IDLE; i++)
		idle[i] = connect_to();
	assert_true(descriptors() - descriptors_before <= 260);
	assert_true(resident_kib() - before < 8192);
	for (int i = 0; i < IDLE - STAYING; i++)
		close(idle[i]);
	assert_still_answers();
	assert_true(clock_monotonic_ms() - began < 3000);
	for (int i = IDLE - STAYING; i < IDLE; i++) {
		char answer[ANSWER_MAX];
		read_to_end(idle[i], answer);
		assert_string_equal(answer, "");
	}
	assert_int_equal(descriptors(), descriptors_before);
}

static void only_tokens_of_base64url_are_served(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "../x", "$(id)", "a b", "a.b", "a/b", "a\r\nb", "a%2e", "\xc3\xa9"};
	struct error err;
	struct event_base *base = event_base_new();
	struct challenge *c = challenge_new(base, "[::1]:0", &err);
	assert_non_null(c);
	assert_true(challenge_port(c) != 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char authorization[64];
		snprintf(authorization, sizeof(authorization), "%s.LPJNul", bad[i]);
		assert_int_equal(challenge_add(c, bad[i], authorization, &err), -1);
		assert_int_equal(err.kind, ERROR_PERMANENT);
	}
	assert_int_equal(challenge_add(c, "token", "other.LPJNul", &err), -1);
	assert_int_equal(challenge_add(c, "token", "token", &err), -1);
	assert_int_equal(challenge_add(c, "token", "token.a b", &err), -1);
	assert_int_equal(challenge_add(c, "token", "token.LPJNul", &err), 0);
	challenge_remove(c, "token");
	challenge_remove(c, "token");
	challenge_free(c);
	event_base_free(base);
}

static void it_listens_on_loopback_alone(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"0.0.0.0:0", "[::]:0", "192.0.2.1:80", "localhost:80", "127.0.0.1:99999", "x"};
	struct error err;
	struct event_base *base = event_base_new();
	char taken[32];
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(challenge_new(base, bad[i], &err));
		assert_int_equal(err.kind, ERROR_USAGE);
		assert_non_null(strstr(err.message, bad[i]));
	}
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
	assert_null(challenge_new(base, taken, &err));
	assert_non_null(strstr(err.message, "in use"));
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_authority_gets_its_answer),
		cmocka_unit_test(everything_else_is_not_found),
		cmocka_unit_test(other_methods_are_refused),
		cmocka_unit_test(rubbish_is_not_answered),
		cmocka_unit_test(twenty_megabytes_of_headers_are_cut_off),
		cmocka_unit_test(bodies_are_not_read),
		cmocka_unit_test(a_slow_client_has_five_seconds),
		cmocka_unit_test(who_holds_all_places_keeps_nobody_from_an_answer),
		cmocka_unit_test(a_flood_of_connections_keeps_nobody_from_an_answer),
		cmocka_unit_test(a_thousand_idle_connections_cost_little_and_pass),
		cmocka_unit_test(only_tokens_of_base64url_are_served),
		cmocka_unit_test(it_listens_on_loopback_alone),
	};
	return cmocka_run_group_tests(tests, start, finish);
}
