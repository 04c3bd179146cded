/* The status page and the metrics, made of an overview in which every text is hostile, and of one that is large. */
#include "hub/daemon/view/metrics.h"
#include "hub/daemon/view/page_html.h"
#include "lib/core/clock.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { OUT_MAX = 32 * 1024 * 1024, DAY = 86400, NOW = 1800000000 };

#define HOSTILE "</p><script>alert(1)</script>\" onload='x' & \\ \n\x01\xff\xe2\x80\xae"

static struct situation_place places[] = {{.row = {.certificate = HOSTILE,
						   .agent = HOSTILE,
						   .state = ROLLOUT_FAILED,
						   .step = HOSTILE,
						   .error = HOSTILE,
						   .waits_for = HOSTILE,
						   .since = NOW - 60}}};
static struct situation_certificate certificates[] = {{
	.name = HOSTILE,
	.source = SOURCE_ACME,
	.revision = {1, 7},
	.not_before = NOW - 80 * DAY,
	.not_after = NOW + 10 * DAY,
	.renewal.error = HOSTILE,
	.renewal.held = HOSTILE,
	.renewal.authority = HOSTILE,
	.renewal.instead = HOSTILE,
	.renewal.failures = 3,
	.watch_trouble = HOSTILE,
	.places = places,
	.place_count = 1,
}};
static struct situation_agent agents[] = {
	{.name = HOSTILE, .version = HOSTILE, .connected = true, .skew = -99, .certificates = 1}};
#define HOSTILE_TYPE "<b>' onl=\"&\\ \n"
static struct endpoint_row endpoints[] = {
	{.name = HOSTILE,
		.certificate = HOSTILE,
		.found = {.endpoint = HOSTILE ":993",
			.check = {.verdict = CHECK_MISMATCH,
				.reason = HOSTILE,
				.advice = HOSTILE,
				.served = true,
				.facts = {.key_type = HOSTILE_TYPE, .not_after = NOW + DAY}}},
		.since = NOW - 3600,
		.checked = NOW},
	{.name = HOSTILE,
		.found = {.endpoint = HOSTILE,
			.check = {.verdict = CHECK_UNREACHABLE,
				.reason = HOSTILE,
				.advice = HOSTILE,
				.facts = {.key_type = HOSTILE_TYPE}}},
		.since = NOW - 3600,
		.checked = NOW},
};
static const struct endpoint_row *rows[] = {&endpoints[0], &endpoints[1]};
static struct alert_told alerts[] = {
	{.told = {CONDITION_RAISED, {.kind = CONDITION_AWAY, .critical = true, .subject = HOSTILE, .text = HOSTILE}, 0},
		.when = NOW - 5 * DAY}};

static struct alert_channel channels[] = {{.name = HOSTILE, .error = HOSTILE, .failures = 3, .since = NOW - DAY}};

static struct overview hostile(void)
{
	return (struct overview){.is = {.now = NOW,
					 .started = NOW - DAY,
					 .version = HOSTILE,
					 .certificates = certificates,
					 .certificate_count = 1,
					 .agents = agents,
					 .agent_count = 1,
					 .endpoints = rows,
					 .endpoint_count = 2},
		.trouble = HOSTILE,
		.alerts = alerts,
		.alert_count = 1,
		.channels = channels,
		.channel_count = 1};
}

static size_t count(const char *text, const char *what)
{
	size_t found = 0;
	for (; (text = strstr(text, what)); text += strlen(what))
		found++;
	return found;
}

static void every_text_is_escaped(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT(OUT_MAX);
	assert_int_equal(page_escape("<a href=\"x\">&'\x01\xff</a>\n", &out), 0);
	assert_string_equal(buf_text(&out), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;??&lt;/a&gt; ");
}

static void a_hostile_text_adds_no_element(void **state)
{
	(void)state;
	const struct overview o = hostile();
	auto_buf struct buf out = BUF_INIT(OUT_MAX);
	assert_int_equal(page_write(&o, &out), 0);
	const char *html = buf_text(&out);
	assert_int_equal(count(html, "<script"), 0);
	assert_int_equal(count(html, "onload='"), 0);
	assert_true(count(html, "&lt;/p&gt;&lt;script&gt;") > 15);
	assert_int_equal(count(html, "\x01") + count(html, "\xff"), 0);
	assert_int_equal(count(html, "<bdi>"), count(html, "</bdi>"));
	assert_int_equal(count(html, "<table"), count(html, "</table>"));
	assert_int_equal(count(html, "<p"), count(html, "</p>"));
	assert_int_equal(count(html, "<tr>"), count(html, "</tr>"));
	assert_int_equal(count(html, "<td"), count(html, "</td>"));
	assert_int_equal(count(html, "<div"), count(html, "</div>"));
	assert_int_equal(count(html, "<style>"), 1);
}

/* No such text may end a label's value, or its line. */
static void a_hostile_text_ends_no_label(void **state)
{
	(void)state;
	const struct overview o = hostile();
	auto_buf struct buf out = BUF_INIT(OUT_MAX);
	assert_int_equal(metrics_write(&o, &out), 0);
	auto_free char *text = mem_strdup(buf_text(&out));
	char *save = NULL;
	assert_non_null(
		strstr(text, "certsync_build_info{version=\"</p><script>alert(1)</script>\\\" onload='x' & \\\\  ??"));
	for (const char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool quoted = false;
		for (const char *at = line; *at && *line != '#'; at++) {
			if (quoted && *at == '\\')
				at++;
			else if (*at == '"')
				quoted = !quoted;
			assert_true(quoted || !strchr("<>'", *at));
		}
		assert_false(quoted);
		assert_true(strncmp(line, "certsync_", 9) == 0 || strncmp(line, "# HELP certsync_", 16) == 0 ||
			strncmp(line, "# TYPE certsync_", 16) == 0);
	}
}

static void each_metric_says_once_what_it_is(void **state)
{
	(void)state;
	const struct overview o = hostile();
	auto_buf struct buf out = BUF_INIT(OUT_MAX);
	assert_int_equal(metrics_write(&o, &out), 0);
	const char *text = buf_text(&out);
	assert_int_equal(count(text, "# HELP "), count(text, "# TYPE "));
	assert_int_equal(count(text, "# TYPE certsync_endpoint_ok gauge\n"), 1);
	assert_non_null(strstr(text, "certsync_hub_start_time_seconds 1799913600\n"));
	assert_non_null(strstr(text, "certsync_hub_healthy 0\n"));
	assert_non_null(strstr(text, "revision=\"1.7\",source=\"acme\"} 1\n"));
	assert_int_equal(count(text, "certsync_endpoint_not_after_timestamp_seconds{"),
		1); /* only one endpoint serves something */
}

/* A hub with nothing in it, and a page that would be longer than it may be. */
static void nothing_and_too_much(void **state)
{
	(void)state;
	const struct overview empty = {.is = {.now = NOW, .started = NOW, .version = "0"}}, o = hostile();
	auto_buf struct buf out = BUF_INIT(OUT_MAX), small = BUF_INIT(9000);
	assert_int_equal(page_write(&empty, &out), 0);
	assert_non_null(strstr(buf_text(&out), "All is well"));
	buf_reset(&out);
	assert_int_equal(metrics_write(&empty, &out), 0);
	assert_int_equal(page_write(&o, &small), -1);
	buf_reset(&small);
	small.max = 500;
	assert_int_equal(metrics_write(&o, &small), -1);
}

static struct overview large(size_t endpoint_count, size_t certificate_count)
{
	struct overview o = hostile();
	o.is.endpoints = mem_array(endpoint_count, sizeof(const struct endpoint_row *));
	o.is.endpoint_count = endpoint_count;
	for (size_t i = 0; i < endpoint_count; i++)
		o.is.endpoints[i] = rows[i % 2];
	o.is.certificates = mem_array(certificate_count, sizeof(*o.is.certificates));
	o.is.certificate_count = certificate_count;
	for (size_t i = 0; i < certificate_count; i++) {
		o.is.certificates[i] = certificates[0];
		o.is.certificates[i].name = i ? "another" : HOSTILE;
	}
	return o;
}

/* A hub with as much in it as can be: what is shown is bounded, and says so. */
static void a_large_hub_fits(void **state)
{
	(void)state;
	struct overview o = large(5000, 10000);
	auto_buf struct buf page = BUF_INIT(8 * 1024 * 1024), metrics = BUF_INIT(OUT_MAX);
	o.is.endpoints[4999] = &endpoints[1];
	int64_t begun = clock_monotonic_ms();
	assert_int_equal(page_write(&o, &page), 0);
	int64_t middle = clock_monotonic_ms();
	assert_int_equal(metrics_write(&o, &metrics), 0);
	printf("5,000 endpoints, 10,000 certificates: page %zu KiB in %lld ms, metrics %zu KiB in %lld ms\n",
		page.len / 1024, (long long)(middle - begun), metrics.len / 1024,
		(long long)(clock_monotonic_ms() - middle));
	assert_non_null(strstr(buf_text(&page), "and 9500 more"));
	assert_non_null(strstr(buf_text(&page), "and 500 more")); /* endpoints of one certificate */
	free(o.is.endpoints);
	free(o.is.certificates);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_text_is_escaped),
		cmocka_unit_test(a_hostile_text_adds_no_element),
		cmocka_unit_test(a_hostile_text_ends_no_label),
		cmocka_unit_test(each_metric_says_once_what_it_is),
		cmocka_unit_test(nothing_and_too_much),
		cmocka_unit_test(a_large_hub_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
