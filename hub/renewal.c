#include "hub/renewal.h"
#include "hub/control.h"
#include "hub/fleet.h"
#include "hub/order.h"
#include "hub/publish.h"
#include "hub/schedule.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { RENEWAL_WAKE_MAX = 3600, RENEWAL_RECORD_MAX = 8192 };

struct renewal {
	struct renewal *next;
	struct hub *hub;
	const struct hub_certificate *certificate;
	struct order *order; /* NULL: none runs */
	struct event *timer;
	struct schedule_state state;
	char step[128];
	char error[ERROR_MESSAGE_MAX];
	bool refused; /* by the gate to publish, for what the certificate is: its order is kept, unless an operator orders anew */
};

/* The record: encoder and decoder. */

static void save(const struct renewal *r)
{
	struct error err;
	auto_buf struct buf text = BUF_INIT(RENEWAL_RECORD_MAX);
	auto_json cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "failures", r->state.failures);
	cJSON_AddNumberToObject(o, "last_failure", (double)r->state.last_failure);
	cJSON_AddNumberToObject(o, "retry_after", (double)r->state.retry_after);
	cJSON_AddStringToObject(o, "error", r->error);
	if (json_print(o, &text) < 0 || store_put(r->hub->store, "renewals", r->certificate->name, "state.json",
						text.data, text.len, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"cannot keep the state of its renewal\"",
			r->certificate->name);
}

static int restore(struct renewal *r, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(RENEWAL_RECORD_MAX);
	int got = store_get(r->hub->store, "renewals", r->certificate->name, "state.json", &text, err);
	if (got <= 0)
		return got;
	auto_json cJSON *o = json_parse(text.data, text.len, err);
	const char *reason = o ? json_string(o, "error", sizeof(r->error) - 1, err) : NULL;
	if (!reason || json_u32(o, "failures", &r->state.failures, err) < 0 ||
		json_i64(o, "last_failure", &r->state.last_failure, err) < 0)
		return -1;
	snprintf(r->error, sizeof(r->error), "%s", reason);
	return json_i64(o, "retry_after", &r->state.retry_after, err);
}

static void draw_jitter(struct renewal *r)
{
	if (getrandom(&r->state.jitter, sizeof(r->state.jitter), 0) != sizeof(r->state.jitter))
		abort();
}

/* What is published decides when the next one is due. */
static void look_at_current(struct renewal *r)
{
	struct error err;
	auto_manifest struct manifest m = {0};
	int had = store_current(r->hub->store, r->certificate->name, &m, &err);
	if (had < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, err.message);
	r->state.not_before = had > 0 ? m.not_before : 0;
	r->state.not_after = had > 0 ? m.not_after : 0;
}

static void wake_later(struct renewal *r)
{
	int64_t now = clock_wall();
	int64_t wait = schedule_due(&r->state, now) - now;
	/* The wall clock may be set in between: look again within the hour. */
	wait = wait < 0 ? 0 : wait > RENEWAL_WAKE_MAX ? RENEWAL_WAKE_MAX : wait;
	const struct timeval delay = {wait, 0};
	event_add(r->timer, &delay);
}

static void succeed(struct renewal *r)
{
	r->state.failures = 0;
	r->state.last_failure = r->state.retry_after = 0;
	r->error[0] = '\0';
	draw_jitter(r);
	look_at_current(r);
	save(r);
	wake_later(r);
}

static void fail(struct renewal *r, const struct error *err, int64_t retry_after)
{
	char when[CLOCK_TEXT_MAX];
	r->state.failures++;
	r->state.last_failure = clock_wall();
	r->state.retry_after = retry_after;
	snprintf(r->error, sizeof(r->error), "%s", err->message);
	save(r);
	wake_later(r);
	log_event(LOG_LEVEL_ERROR, "renewal", "certificate=%s failures=%u next=%s error=\"%s\"", r->certificate->name,
		r->state.failures, clock_text(schedule_due(&r->state, clock_wall()), when), err->message);
}

/* An order's events. */

static struct renewal *of(void *context, const char *certificate)
{
	return renewal_find(context, certificate);
}

static void changed(struct renewal *r)
{
	control_changed(r->hub, fleet_find(r->hub, r->certificate->name));
}

static void on_progress(const char *certificate, const char *step, void *context)
{
	struct renewal *r = of(context, certificate);
	snprintf(r->step, sizeof(r->step), "%s", step);
	log_event(LOG_LEVEL_INFO, "order", "certificate=%s step=\"%s\"", certificate, step);
	changed(r);
}

static int on_issued(const char *certificate, const struct chain *pairs, size_t count, void *context)
{
	struct renewal *r = of(context, certificate);
	struct manifest meta = {.source = "acme"};
	struct revision revision;
	struct error err;
	bool unchanged;
	snprintf(meta.reason, sizeof(meta.reason), "%.100s", r->certificate->acme->name);
	r->order = NULL;
	int result = publish(r->hub, r->certificate, pairs, count, &meta, &revision, &unchanged, &err);
	r->refused = result < 0 && err.kind == ERROR_UNTRUSTED;
	if (result < 0) {
		error_wrap(&err, "issued, but not published");
		fail(r, &err, 0);
	} else {
		succeed(r);
	}
	changed(r);
	/* Refused: the order stays (N2), so that the next try judges the same certificate again. Ordering anew each time
	 * would spend the CA's limit of duplicates while, say, an anchor is missing here. */
	return result;
}

static void on_failed(const char *certificate, const struct error *err, int64_t retry_after, void *context)
{
	struct renewal *r = of(context, certificate);
	r->order = NULL;
	fail(r, err, retry_after);
	changed(r);
}

static void on_warning(const char *certificate, const char *text, void *context)
{
	(void)context;
	log_event(LOG_LEVEL_WARNING, "order", "certificate=%s warning=\"%s\"", certificate, text);
}

static const struct order_handler order_handler = {on_progress, on_issued, on_failed, on_warning};

static void start(struct renewal *r)
{
	struct error err;
	snprintf(r->step, sizeof(r->step), "starting");
	const struct order_options options = {
		.resolvers = r->hub->config->resolvers, .anchors = r->hub->config->anchors};
	r->order = order_start(r->hub->base, r->hub->store, r->hub->challenge, r->certificate, &options, &order_handler,
		r->hub, &err);
	if (!r->order)
		fail(r, &err, 0);
}

void renewal_now(struct renewal *r)
{
	struct error err;
	if (r->order)
		return;
	if (r->refused && order_forget(r->hub->store, r->certificate->name, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store", "certificate=%s error=\"%s\"", r->certificate->name, err.message);
	start(r);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct renewal *r = context;
	if (r->order)
		return;
	if (schedule_due(&r->state, clock_wall()) <= clock_wall())
		start(r);
	else
		wake_later(r);
}

static void open_one(struct hub *hub, const struct hub_certificate *certificate)
{
	struct error err;
	struct renewal *r = mem_alloc(sizeof(*r));
	r->next = hub->renewals;
	hub->renewals = r;
	r->hub = hub;
	r->certificate = certificate;
	r->timer = event_new(hub->base, -1, 0, on_timer, r);
	if (!r->timer)
		abort();
	if (restore(r, &err) < 0) {
		log_event(LOG_LEVEL_WARNING, "store", "certificate=%s error=\"%s\"", certificate->name, err.message);
		r->state = (struct schedule_state){0};
	}
	r->state.renew_before = certificate->renew_before;
	draw_jitter(r);
	look_at_current(r);
	wake_later(r);
}

void renewal_open(struct hub *hub)
{
	for (size_t i = 0; i < hub->config->certificate_count; i++)
		if (hub->config->certificates[i].acme)
			open_one(hub, &hub->config->certificates[i]);
}

void renewal_close(struct hub *hub)
{
	while (hub->renewals) {
		struct renewal *r = hub->renewals;
		hub->renewals = r->next;
		if (r->order)
			order_cancel(r->order);
		event_free(r->timer);
		free(r);
	}
}

struct renewal *renewal_find(struct hub *hub, const char *certificate)
{
	for (struct renewal *r = hub->renewals; r; r = r->next)
		if (strcmp(r->certificate->name, certificate) == 0)
			return r;
	return NULL;
}

void renewal_status(const struct renewal *r, struct renewal_status *ret)
{
	*ret = (struct renewal_status){.running = r->order != NULL, .step = r->step, .error = r->error,
		.failures = r->state.failures, .due = schedule_due(&r->state, clock_wall())};
}
