#include "hub/worker/acme/preflight.h"
#include "hub/worker/acme/preflight_visit.h"
#include "hub/worker/acme/lookup.h"
#include "hub/worker/talk.h"
#include "hub/worker/confined.h"
#include "lib/core/mem.h"

#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ADDRESSES_MAX = 16 /* of one name */ };

struct preflight {
	struct talk talk;
	cJSON *job; /* owned */
	const char *token, *authorization;
	struct preflight_visit *visits; /* PREFLIGHT_VISITS_MAX of them; owned */
	size_t count;
};

/* ---- whom to ask ---- */

static struct preflight_visit *add_visit(struct preflight *p, const char *name, const char *address)
{
	if (p->count == PREFLIGHT_VISITS_MAX)
		return NULL;
	struct preflight_visit *v = &p->visits[p->count++];
	snprintf(v->name, sizeof(v->name), "%s", name);
	snprintf(v->address, sizeof(v->address), "%s", address);
	return v;
}

static void add_by_system(struct preflight *p, const char *name)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char address[LOOKUP_ADDRESS_MAX];
	int failed = getaddrinfo(name, NULL, &hints, &list), found = 0;
	for (const struct addrinfo *a = list; a && found < ADDRESSES_MAX; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		add_visit(p, name, address);
		found++;
	}
	if (list)
		freeaddrinfo(list);
	struct preflight_visit *v = found ? NULL : add_visit(p, name, "");
	if (v)
		preflight_say(v, "the DNS gives no address: %s", failed ? gai_strerror(failed) : "none");
}

static void add_by_resolvers(struct preflight *p, const char *name, const struct lookup *l)
{
	struct error err;
	char found[ADDRESSES_MAX][LOOKUP_ADDRESS_MAX];
	size_t count = 0;
	int result = lookup_addresses(l, name, found, ADDRESSES_MAX, &count, &err);
	for (size_t i = 0; i < count; i++)
		add_visit(p, name, found[i]);
	struct preflight_visit *v = count ? NULL : add_visit(p, name, "");
	if (v)
		preflight_say(v, "the DNS gives no address: %s", result < 0 ? err.message : "none");
}

/* ---- the job ---- */

static int add_names(struct preflight *p, struct error *err)
{
	const char *resolvers[LOOKUP_RESOLVERS_MAX + 1] = {NULL};
	size_t count = 0;
	const cJSON *element, *list = json_array(p->job, "resolvers", LOOKUP_RESOLVERS_MAX, err);
	const cJSON *names = list ? json_array(p->job, "names", ACME_NAMES_MAX, err) : NULL;
	if (!names)
		return -1;
	cJSON_ArrayForEach (element, list) {
		resolvers[count] = json_element(element, LOOKUP_ADDRESS_MAX, err);
		if (!resolvers[count++])
			return error_wrap(err, "resolvers");
	}
	const struct lookup l = {.resolvers = resolvers};
	cJSON_ArrayForEach (element, names) {
		const char *name = json_element(element, 253, err);
		if (!name)
			return error_wrap(err, "names");
		if (count)
			add_by_resolvers(p, name, &l);
		else
			add_by_system(p, name);
	}
	return 0;
}

static int tell(struct preflight *p, struct error *err)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct preflight_visit *v = &p->visits[i];
		auto_json cJSON *message = cJSON_CreateObject();
		cJSON_AddStringToObject(message, "event", "finding");
		cJSON_AddStringToObject(message, "name", v->name);
		cJSON_AddStringToObject(message, "address", v->address);
		cJSON_AddBoolToObject(message, "ok", v->ok);
		cJSON_AddStringToObject(message, "text", v->text);
		if (talk_send(&p->talk, message, err) < 0)
			return -1;
	}
	return 0;
}

static int run(struct preflight *p, struct error *err)
{
	p->job = talk_receive(&p->talk, "job", err);
	worker_confine(p->job);
	p->token = p->job ? json_string(p->job, "token", 256, err) : NULL;
	p->authorization = p->token ? json_string(p->job, "authorization", 1024, err) : NULL;
	if (!p->authorization)
		return -1;
	p->visits = mem_array(PREFLIGHT_VISITS_MAX, sizeof(*p->visits));
	if (add_names(p, err) < 0)
		return -1;
	int result = cJSON_IsTrue(json_get(p->job, "tls_alpn"))
		? preflight_by_alpn(p->visits, p->count, p->authorization, err)
		: preflight_by_http(p->visits, p->count, p->token, p->authorization, err);
	return result < 0 ? -1 : tell(p, err);
}

static void release(struct preflight *p)
{
	free(p->visits);
	cJSON_Delete(p->job);
	talk_release(&p->talk);
}

int acme_preflight_worker(void)
{
	struct preflight p = {.count = 0};
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&p.talk);
	int result = run(&p, &err);
	if (result < 0)
		fprintf(stderr, "certsync-worker preflight: %s\n", err.message);
	release(&p);
	return result < 0 ? 1 : 0;
}
