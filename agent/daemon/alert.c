#include "agent/daemon/alert.h"
#include "agent/daemon/certificate.h"
#include "lib/alert/alert_text.h"
#include "lib/probe/check.h"
#include "lib/core/clock.h"
#include "lib/wire/json_file.h"
#include "lib/core/log.h"
#include "lib/core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	ALERT_ROUND = 30,    /* seconds between rounds */
	ALERT_FIRST = 5,     /* after the start */
	ALERT_GRACE = 60,    /* after the start, for the first connection of a node that was off */
	ALERT_CONTACT = 600, /* how stale the moment of the last contact may be on disk */
	ALERT_BACKOFF_MIN = 60,
	ALERT_BACKOFF_MAX = 3600,
	ALERT_QUEUE_MAX = 20,
	ALERT_RECORD_MAX = 4 * 1024 * 1024,
};

struct alerts {
	struct site *site;
	struct condition_book book;
	struct alert_message queue[ALERT_QUEUE_MAX + 1]; /* owned: those that are not delivered, the oldest first */
	size_t queue_count;
	int64_t opened;  /* monotonic seconds */
	int64_t contact; /* wall clock: when a hub was there; never 0 */
	int64_t saved_contact;
	uint32_t failures;
	int64_t next; /* monotonic seconds: the executable is not run before */
	struct event *timer;
	bool telling; /* the executable runs */
};

static int64_t seconds(void)
{
	return clock_monotonic_ms() / 1000;
}

/* ---- the record ---- */

static char *record_path(const struct alerts *a)
{
	return mem_printf("%s/alerts.json", a->site->config->state);
}

static cJSON *queue_encode(const struct alerts *a)
{
	cJSON *list = cJSON_CreateArray();
	for (size_t i = 0; i < a->queue_count; i++)
		cJSON_AddItemToArray(list, alert_message_encode(&a->queue[i]));
	return list;
}

static int queue_decode(const cJSON *record, struct alerts *a, struct error *err)
{
	const cJSON *element, *list = json_array(record, "queue", ALERT_QUEUE_MAX, err);
	if (!list)
		return -1;
	cJSON_ArrayForEach (element, list) {
		if (alert_message_decode(element, &a->queue[a->queue_count], err) < 0)
			return error_wrap(err, "queue");
		a->queue_count++;
	}
	return 0;
}

static void forget(struct alerts *a, size_t index)
{
	alert_message_release(&a->queue[index]);
	memmove(&a->queue[index], &a->queue[index + 1], (--a->queue_count - index) * sizeof(a->queue[0]));
}

static void save(struct alerts *a)
{
	struct error err;
	auto_free char *path = record_path(a);
	auto_json cJSON *record = condition_book_encode(&a->book);
	cJSON_AddItemToObject(record, "queue", queue_encode(a));
	cJSON_AddNumberToObject(record, "contact", (double)a->contact);
	if (json_file_write(AT_FDCWD, path, record, ALERT_RECORD_MAX, &err) == 0)
		a->saved_contact = a->contact;
	else
		log_event(LOG_LEVEL_ERROR, "alert", "error=\"%s\"", err.message);
}

static void restore(struct alerts *a)
{
	struct error err;
	auto_free char *path = record_path(a);
	auto_json cJSON *record = NULL;
	int64_t now = clock_wall();
	if (json_file_read(AT_FDCWD, path, ALERT_RECORD_MAX, &record, &err) == 0)
		return;
	if (!record || queue_decode(record, a, &err) < 0 || json_i64(record, "contact", &a->contact, &err) < 0 ||
		condition_book_decode(record, &a->book, &err) < 0) {
		log_event(LOG_LEVEL_WARNING, "alert", "error=\"%s: %s: what was told may be told again\"", path,
			err.message);
		a->contact = now;
		return;
	}
	a->contact = a->contact > now || a->contact <= 0 ? now : a->contact;
}

/* ---- running the executable ---- */

static void plan(struct alerts *a);

static void note(struct alerts *a, bool ok, const char *how)
{
	log_event(ok ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "alert", "result=%s command=%s subject=\"%s\" reason=\"%s\"",
		ok ? "delivered" : "failed", a->site->config->alert.command, a->queue[0].subject, how);
	int64_t wait = (int64_t)ALERT_BACKOFF_MIN << (a->failures < 6 ? a->failures : 6);
	a->failures = ok ? 0 : a->failures + 1;
	a->next = ok ? 0 : seconds() + (wait < ALERT_BACKOFF_MAX ? wait : ALERT_BACKOFF_MAX);
	if (ok) {
		forget(a, 0);
		save(a);
	}
}

static void on_told(bool delivered, const char *how, void *context)
{
	struct alerts *a = context;
	a->telling = false;
	note(a, delivered, how);
	plan(a);
}

static void run_next(struct alerts *a)
{
	auto_buf struct buf text = BUF_INIT(ALERT_RECORD_MAX);
	if (!a->queue_count || a->telling || a->next > seconds())
		return;
	auto_json cJSON *message = alert_message_encode(&a->queue[0]);
	if (json_print(message, &text) < 0) {
		note(a, false, "the message is too long");
		return;
	}
	a->telling = true;
	teller_run(a->site->teller, text.data, text.len, on_told, a);
}

/* ---- rounds ---- */

static bool is_known_away(const struct alerts *a)
{
	for (size_t i = 0; i < a->book.count; i++)
		if (a->book.entries[i].kind == CONDITION_AWAY)
			return true;
	return false;
}

static void collect_hub(struct alerts *a, int64_t now, struct conditions *out)
{
	char since[CLOCK_TEXT_MAX];
	struct session_status status;
	session_status(a->site->session, &status);
	if (session_is_ready(a->site->session))
		a->contact = now;
	a->contact = a->contact > now ? now : a->contact;
	int64_t away = a->site->config->alert.hub_away, grace = away < ALERT_GRACE ? away : ALERT_GRACE;
	if (seconds() < a->opened + grace && !is_known_away(a))
		return;
	if (now - a->contact > away)
		conditions_add(out, CONDITION_AWAY, true, "hub",
			"no hub was reached since %s%s%s; what is installed here stays, and is not renewed: "
			"look after the hub, and the way to it",
			clock_text(a->contact, since), status.failure[0] ? ": " : "", status.failure);
}

/* This holds until the root half takes a list: somebody poses as the hub, or the hub lost its keys, or this node has
 * pinned others. */
static void collect_signers(const struct alerts *a, struct conditions *out)
{
	if (a->site->signers_refused[0])
		conditions_add(out, CONDITION_SIGNING, true, "hub",
			"the list of signing keys that was told in the hub's name is refused: %s. `certsync keys` on the hub shows what it says of "
			"this node; if the hub really has other keys, `certsync agent add` there prints a line for certsync-agent join --replace",
			a->site->signers_refused);
}

static void collect_certificate(
	struct alerts *a, const struct daemon_certificate *w, int64_t now, struct conditions *out)
{
	char when[CLOCK_TEXT_MAX];
	struct message have;
	daemon_certificate_inventory(w, &have);
	int64_t configured = a->site->config->alert.expiring, left = have.content.not_after - now;
	int64_t needed =
		configured ? configured : check_expiring_before(have.content.not_before, have.content.not_after);
	if (have.content.not_after && (have.content.revision.epoch || have.content.revision.number) && left < needed)
		conditions_add(out, CONDITION_EXPIRING, left < needed / 3, daemon_certificate_name(w),
			"what is installed here %s %s, and the hub has sent no "
			"successor: certsync status there says why",
			left < 0 ? "expired" : "expires", clock_text(have.content.not_after, when));
	message_release(&have);
}

static void queue_notice(struct alerts *a, const struct condition_notice *n, int64_t now)
{
	char id[ALERT_ID_MAX], host[256] = "";
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		mem_abort(__func__);
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	gethostname(host, sizeof(host) - 1);
	text_clean(host, 0);
	struct alert_message *m = &a->queue[a->queue_count++];
	alert_message_make(n, host, id, now, m);
	log_event(LOG_LEVEL_WARNING, "alert", "conditions=%zu subject=\"%s\"", n->count, m->subject);
	/* The oldest message is dropped, unless it is just being delivered. */
	if (a->queue_count > ALERT_QUEUE_MAX)
		forget(a, a->telling ? 1 : 0);
}

static void do_round(struct alerts *a)
{
	int64_t now = clock_wall();
	auto_conditions struct conditions seen = {0};
	auto_notice struct condition_notice notice = {0};
	const struct condition_policy policy = {.hold = 0, .repeat = a->site->config->alert.repeat};
	collect_hub(a, now, &seen);
	collect_signers(a, &seen);
	for (size_t i = 0; i < a->site->certificate_count; i++)
		collect_certificate(a, a->site->certificates[i], now, &seen);
	bool changed = condition_round(&a->book, &seen, &policy, now, &notice);
	if (notice.count)
		queue_notice(a, &notice, now);
	if (changed || a->contact - a->saved_contact > ALERT_CONTACT)
		save(a);
}

static void arm(struct alerts *a, int64_t wait)
{
	const struct timeval delay = {wait > 1 ? wait : 1, 0};
	event_add(a->timer, &delay);
}

static void plan(struct alerts *a)
{
	int64_t wait = ALERT_ROUND, away = a->contact + a->site->config->alert.hub_away + 1 - clock_wall();
	int64_t again = a->queue_count && !a->telling ? a->next - seconds() : ALERT_ROUND;
	if (!session_is_ready(a->site->session) && away > 0 && away < wait)
		wait = away;
	arm(a, again < wait ? again : wait);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	struct alerts *a = context;
	do_round(a);
	run_next(a);
	plan(a);
}

void agent_alert_connection(struct alerts *a)
{
	if (a)
		arm(a, 1);
}

/* ---- life ---- */

struct alerts *agent_alert_open(struct site *site)
{
	if (!site->config->alert.command)
		return NULL;
	struct alerts *a = mem_alloc(sizeof(*a));
	a->site = site;
	a->opened = seconds();
	a->contact = a->saved_contact = clock_wall();
	a->timer = evtimer_new(site->base, on_timer, a);
	if (!a->timer)
		mem_abort(__func__);
	restore(a);
	arm(a, ALERT_FIRST);
	return a;
}

void agent_alert_close(struct alerts *a)
{
	if (!a)
		return;
	teller_stop(a->site->teller);
	save(a);
	condition_book_release(&a->book);
	while (a->queue_count)
		forget(a, a->queue_count - 1);
	event_free(a->timer);
	free(a);
}
