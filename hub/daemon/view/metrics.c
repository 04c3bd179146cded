#include "hub/daemon/view/metrics.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

struct metrics {
	struct buf *out;
	const char *name; /* of the metric being written, without its prefix */
	bool full;
};

static void put(struct metrics *m, const char *text, size_t len)
{
	m->full = buf_add(m->out, text, len) < 0 || m->full;
}

static void put_text(struct metrics *m, const char *text)
{
	put(m, text, strlen(text));
}

static void metric(struct metrics *m, const char *name, const char *type, const char *help)
{
	m->name = name;
	int added = buf_addf(m->out, "# HELP certsync_%s %s\n# TYPE certsync_%s %s\n", name, help, name, type);
	m->full = added < 0 || m->full;
}

/* Peers choose some of these texts, so they are cleaned. */
static void put_label(struct metrics *m, const char *text)
{
	auto_free char *clean = mem_strdup(text);
	text_clean(clean, 0);
	for (const char *at = clean; *at;) {
		size_t plain = strcspn(at, "\\\"");
		put(m, at, plain);
		at += plain;
		if (*at) {
			put(m, "\\", 1);
			put(m, at++, 1);
		}
	}
}

/* `labels` are name, value, … and NULL. */
static void sample(struct metrics *m, const char *const *labels, int64_t value)
{
	const char *separator = "{";
	put_text(m, "certsync_");
	put_text(m, m->name);
	for (size_t i = 0; labels[i]; i += 2, separator = ",") {
		put_text(m, separator);
		put_text(m, labels[i]);
		put_text(m, "=\"");
		put_label(m, labels[i + 1]);
		put_text(m, "\"");
	}
	int added = buf_addf(m->out, "%s %lld\n", labels[0] ? "}" : "", (long long)value);
	m->full = added < 0 || m->full;
}
#define SAMPLE(m, value, ...) sample(m, (const char *const[]){__VA_ARGS__, NULL}, value)

/* ---- the hub ---- */

static void write_hub(struct metrics *m, const struct overview *o)
{
	static const char *const none[] = {NULL};
	metric(m, "build_info", "gauge", "The version of this hub.");
	SAMPLE(m, 1, "version", o->is.version);
	metric(m, "hub_start_time_seconds", "gauge", "When this hub was started.");
	sample(m, none, o->is.started);
	metric(m, "hub_healthy", "gauge", "1: /healthz says that all is well with the hub itself.");
	sample(m, none, !o->trouble[0]);
}

/* ---- certificates ---- */

static void write_validity(struct metrics *m, const struct overview *o)
{
	metric(m, "certificate_not_before_timestamp_seconds", "gauge", "From when the current revision is valid.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].not_before)
			SAMPLE(m, o->is.certificates[i].not_before, "certificate", o->is.certificates[i].name);
	metric(m, "certificate_not_after_timestamp_seconds", "gauge",
		"When the current revision expires; absent before the first one.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].not_after)
			SAMPLE(m, o->is.certificates[i].not_after, "certificate", o->is.certificates[i].name);
}

static void write_certificates(struct metrics *m, const struct overview *o)
{
	char text[REVISION_TEXT_MAX];
	write_validity(m, o);
	metric(m, "certificate_revision_info", "gauge",
		"The revision that every agent should serve, and where it comes from.");
	for (size_t i = 0; i < o->is.certificate_count; i++) {
		const struct situation_certificate *c = &o->is.certificates[i];
		SAMPLE(m, 1, "certificate", c->name, "revision", revision_text(c->revision, text), "source",
			situation_source_name(c->source));
	}
	metric(m, "certificate_converged", "gauge", "1: every agent that has it is verified.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		SAMPLE(m, o->is.certificates[i].converged, "certificate", o->is.certificates[i].name);
	metric(m, "certificate_watch_ok", "gauge", "1: nothing is wrong with the watched paths that it comes from.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].source == SOURCE_WATCH)
			SAMPLE(m, !o->is.certificates[i].watch_trouble[0], "certificate", o->is.certificates[i].name);
}

static void write_renewals(struct metrics *m, const struct overview *o)
{
	metric(m, "renewal_failures", "gauge", "Renewals that have failed in a row.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].source == SOURCE_ACME)
			SAMPLE(m, o->is.certificates[i].renewal.failures, "certificate", o->is.certificates[i].name);
	metric(m, "renewal_due_timestamp_seconds", "gauge", "When the next renewal is due.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].source == SOURCE_ACME)
			SAMPLE(m, o->is.certificates[i].renewal.due, "certificate", o->is.certificates[i].name);
	metric(m, "renewal_running", "gauge", "1: an order is under way.");
	for (size_t i = 0; i < o->is.certificate_count; i++)
		if (o->is.certificates[i].source == SOURCE_ACME)
			SAMPLE(m, o->is.certificates[i].renewal.running, "certificate", o->is.certificates[i].name);
}

/* ---- rollouts and agents ---- */

/* Each writes one metric of an agent with one of its certificates. */
static void write_state(struct metrics *m, const struct agent_row *row)
{
	char text[REVISION_TEXT_MAX];
	SAMPLE(m, 1, "certificate", row->certificate, "agent", row->agent, "state", rollout_state_name(row->state),
		"served", revision_text(row->served, text));
}

static void write_since(struct metrics *m, const struct agent_row *row)
{
	if (row->since)
		SAMPLE(m, row->since, "certificate", row->certificate, "agent", row->agent);
}

static void write_failures(struct metrics *m, const struct agent_row *row)
{
	SAMPLE(m, row->failures, "certificate", row->certificate, "agent", row->agent);
}

static void write_drifts(struct metrics *m, const struct agent_row *row)
{
	SAMPLE(m, row->drifts, "certificate", row->certificate, "agent", row->agent);
}

static void write_rollouts(struct metrics *m, const struct overview *o)
{
	static const struct {
		const char *name, *type, *help;
		void (*write)(struct metrics *m, const struct agent_row *row);
	} metrics[] = {
		{"rollout_state", "gauge",
			"1: the state of this agent with this certificate, and the revision that it serves.",
			write_state},
		{"rollout_state_since_timestamp_seconds", "gauge", "When that state began.", write_since},
		{"rollout_failures", "gauge", "Tries that have failed in a row.", write_failures},
		{"rollout_drifts_total", "counter", "How often something had changed there behind the agent's back.",
			write_drifts},
	};
	for (size_t n = 0; n < COUNT(metrics); n++) {
		metric(m, metrics[n].name, metrics[n].type, metrics[n].help);
		for (size_t i = 0; i < o->is.certificate_count; i++)
			for (size_t k = 0; k < o->is.certificates[i].place_count; k++)
				metrics[n].write(m, &o->is.certificates[i].places[k].row);
	}
}

static void write_agents(struct metrics *m, const struct overview *o)
{
	metric(m, "agent_connected", "gauge", "1: the agent is connected.");
	for (size_t i = 0; i < o->is.agent_count; i++)
		SAMPLE(m, o->is.agents[i].connected, "agent", o->is.agents[i].name);
	metric(m, "agent_overdue", "gauge", "1: it has been away for longer than away_after.");
	for (size_t i = 0; i < o->is.agent_count; i++)
		SAMPLE(m, o->is.agents[i].overdue, "agent", o->is.agents[i].name);
	metric(m, "agent_last_seen_timestamp_seconds", "gauge", "When it was last connected; absent: never.");
	for (size_t i = 0; i < o->is.agent_count; i++)
		if (o->is.agents[i].last_seen)
			SAMPLE(m, o->is.agents[i].last_seen, "agent", o->is.agents[i].name);
	metric(m, "agent_clock_skew_seconds", "gauge", "Its clock minus the hub's, while it is connected.");
	for (size_t i = 0; i < o->is.agent_count; i++)
		if (o->is.agents[i].connected)
			SAMPLE(m, o->is.agents[i].skew, "agent", o->is.agents[i].name);
}

/* ---- endpoints ---- */

#define OF_ENDPOINT(e) \
	"name", (e)->name, "endpoint", (e)->found.endpoint, "certificate", (e)->certificate, "key_type", \
		(e)->found.check.facts.key_type

static void write_times(struct metrics *m, const struct overview *o)
{
	metric(m, "endpoint_state_since_timestamp_seconds", "gauge", "When that state began.");
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		SAMPLE(m, o->is.endpoints[i]->since, OF_ENDPOINT(o->is.endpoints[i]));
	metric(m, "endpoint_checked_timestamp_seconds", "gauge", "When it was last looked at.");
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		SAMPLE(m, o->is.endpoints[i]->checked, OF_ENDPOINT(o->is.endpoints[i]));
	metric(m, "endpoint_not_after_timestamp_seconds", "gauge",
		"When the certificate that is served there expires; absent: none was.");
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		if (o->is.endpoints[i]->found.check.facts.not_after)
			SAMPLE(m, o->is.endpoints[i]->found.check.facts.not_after, OF_ENDPOINT(o->is.endpoints[i]));
}

static void write_endpoints(struct metrics *m, const struct overview *o)
{
	metric(m, "endpoint_ok", "gauge",
		"1: clients get the right certificate there and trust it, if perhaps not for long.");
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		SAMPLE(m, check_is_good(o->is.endpoints[i]->found.check.verdict), OF_ENDPOINT(o->is.endpoints[i]));
	metric(m, "endpoint_state", "gauge",
		"1: what the last check has found: ok, expiring, mismatch, untrusted or unreachable.");
	for (size_t i = 0; i < o->is.endpoint_count; i++)
		SAMPLE(m, 1, OF_ENDPOINT(o->is.endpoints[i]), "state",
			check_verdict_text(o->is.endpoints[i]->found.check.verdict));
	write_times(m, o);
}

/* ---- alerts ---- */

static void write_channels(struct metrics *m, const struct overview *o)
{
	metric(m, "alert_channel_failures", "gauge",
		"Deliveries by this way to tell a person that have failed in a row.");
	for (size_t i = 0; i < o->channel_count; i++)
		SAMPLE(m, o->channels[i].failures, "channel", o->channels[i].name);
}

int metrics_write(const struct overview *o, struct buf *out)
{
	struct metrics m = {.out = out};
	write_hub(&m, o);
	write_certificates(&m, o);
	write_renewals(&m, o);
	write_rollouts(&m, o);
	write_agents(&m, o);
	write_endpoints(&m, o);
	write_channels(&m, o);
	return m.full ? -1 : 0;
}
