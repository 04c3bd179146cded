#include "hub/worker/check.h"
#include "hub/worker/talk.h"
#include "hub/worker/confined.h"
#include "lib/probe/check_json.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct round {
	struct talk talk;
	cJSON *job; /* owned; addresses are borrowed from it */
	struct anchors *anchors;
	struct check_host hosts[CHECK_JOB_MAX];
	const char *at[CHECK_JOB_MAX][CHECK_ADDRESSES_MAX + 1];
	uint32_t ids[CHECK_JOB_MAX];
	size_t count;
};

static int read_ports(const cJSON *o, struct check_host *host, struct error *err)
{
	const cJSON *element, *ports = json_array(o, "ports", CHECK_PORTS_MAX, err);
	if (!ports)
		return -1;
	cJSON_ArrayForEach (element, ports) {
		const char *port = json_element(element, ENDPOINT_TEXT_MAX - 1, err);
		if (!port || check_host_add_port(host, port, err) < 0)
			return -1;
	}
	return 0;
}

static int read_addresses(const cJSON *o, const char **ret, struct error *err)
{
	const cJSON *element, *at = json_array(o, "at", CHECK_ADDRESSES_MAX, err);
	size_t count = 0;
	if (!at)
		return -1;
	cJSON_ArrayForEach (element, at) {
		ret[count] = json_element(element, ENDPOINT_TEXT_MAX - 1, err);
		if (!ret[count++])
			return -1;
	}
	return 0;
}

static int read_expected(const cJSON *o, struct check_host *host, struct error *err)
{
	const cJSON *element, *expected = json_array(o, "expected", CHECK_EXPECTED_MAX, err);
	if (!expected)
		return -1;
	cJSON_ArrayForEach (element, expected) {
		const char *hex = json_element(element, CHAIN_HEX_MAX - 1, err);
		if (!hex)
			return -1;
		if (chain_unhex(hex, host->expected[host->expected_count++]) < 0)
			return error_set(err, ERROR_PERMANENT, "expected: is not a SHA-256");
	}
	return 0;
}

static int read_endpoint(struct round *r, const cJSON *o, struct error *err)
{
	struct check_host *host = &r->hosts[r->count];
	const char *name = json_string(o, "name", sizeof(host->name) - 1, err);
	const char *certificate = name ? json_string(o, "certificate", sizeof(host->certificate) - 1, err) : NULL;
	if (!certificate)
		return -1;
	uint32_t timeout;
	if (json_u32(o, "timeout_ms", &timeout, err) < 0)
		return -1;
	host->timeout_ms = (int)timeout;
	strcpy(host->name, name);
	strcpy(host->certificate, certificate);
	host->at = r->at[r->count];
	if (json_u32(o, "id", &r->ids[r->count], err) < 0 || read_ports(o, host, err) < 0 ||
		read_addresses(o, r->at[r->count], err) < 0 || read_expected(o, host, err) < 0)
		return -1;
	r->count++;
	return 0;
}

static int read_job(struct round *r, struct check_run *run, struct error *err)
{
	uint32_t timeout;
	r->job = talk_receive(&r->talk, "job", err);
	worker_confine(r->job);
	const cJSON *element, *endpoints = r->job ? json_array(r->job, "endpoints", CHECK_JOB_MAX, err) : NULL;
	const cJSON *anchors = r->job ? json_get(r->job, "anchors") : NULL,
		    *helo = r->job ? json_get(r->job, "helo") : NULL;
	if (!endpoints || json_i64(r->job, "expiring_before", &run->expiring_before, err) < 0 ||
		json_u32(r->job, "timeout_ms", &timeout, err) < 0 ||
		json_bool(r->job, "both_keys", &run->both_keys, err) < 0)
		return -1;
	cJSON_ArrayForEach (element, endpoints) {
		if (read_endpoint(r, element, err) < 0)
			return -1;
	}
	r->anchors = anchors_load(anchors && cJSON_IsString(anchors) ? anchors->valuestring : NULL, err);
	run->anchors = r->anchors;
	run->timeout_ms = (int)timeout;
	run->helo = helo && cJSON_IsString(helo) ? helo->valuestring : NULL;
	run->hosts = r->hosts;
	run->host_count = r->count;
	return r->anchors ? 0 : -1;
}

static int say_row(struct round *r, const struct check_row *row, struct error *err)
{
	auto_json cJSON *message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "event", "row");
	cJSON_AddNumberToObject(message, "id", r->ids[row->host - r->hosts]);
	cJSON_AddItemToObject(message, "check", check_encode(row->host->name, row->endpoint.text, &row->check));
	return talk_send(&r->talk, message, err);
}

static int work(struct round *r, struct check_run *run, struct error *err)
{
	if (read_job(r, run, err) < 0 || check_run(run, err) < 0)
		return -1;
	for (size_t i = 0; i < run->row_count; i++)
		if (say_row(r, &run->rows[i], err) < 0)
			return -1;
	return 0;
}

int check_worker(void)
{
	static const char *const nowhere[] = {NULL};
	struct round *r = mem_alloc(sizeof(*r));
	struct check_run run = {.now = clock_wall(), .at = nowhere};
	struct error err, ignored;
	signal(SIGPIPE, SIG_IGN);
	talk_init(&r->talk);
	int result = work(r, &run, &err);
	if (result < 0) {
		auto_json cJSON *message = cJSON_CreateObject();
		cJSON_AddStringToObject(message, "event", "failed");
		cJSON_AddStringToObject(message, "text", err.message);
		talk_send(&r->talk, message, &ignored);
	}
	check_run_release(&run);
	anchors_free(r->anchors);
	cJSON_Delete(r->job);
	talk_release(&r->talk);
	free(r);
	return result < 0 ? 1 : 0;
}
