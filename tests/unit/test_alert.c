/* What a hub keeps of its messages to a person: over a restart, with a record that is damaged, with more of them than
 * are kept, and with no way to tell that works. Its workers are not there, so that every delivery fails. */
#include "tests/unit/hub_scene.h"

#include "hub/daemon/alert/alert.h"
#include "lib/core/pass.h"

#include <signal.h>

struct scene {
	struct hub_scene of;
	struct hub *hub;
};

/* Runs the loop once, while the process that starts workers connects and is gone again at once. */
static void turn(struct scene *s)
{
	struct error err;
	int pair[2];
	assert_int_equal(pass_pair(pair, &err), 0);
	close(pair[1]);
	workers_connect(s->hub->workers, pair[0]);
	assert_int_equal(event_base_loop(s->hub->base, EVLOOP_ONCE), 0);
}

static int setup(void **state)
{
	struct scene *s = mem_alloc(sizeof(*s));
	if (!hub_scene_begin(&s->of, ""))
		return -1;
	s->hub = &s->of.hub;
	s->hub->config->alert.command = mem_strdup("/usr/local/bin/tell");
	fleet_open(s->hub);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	alert_close(s->hub);
	hub_scene_end(&s->of);
	free(s);
	return 0;
}

static void keep(struct scene *s, const char *record)
{
	struct error err;
	assert_int_equal(store_put(s->hub->store, "alerts", "hub", "state.json", record, strlen(record), &err), 0);
}

/* Returns a number of the one channel that is configured. */
static struct alert_channel way(const struct scene *s)
{
	size_t count;
	auto_free struct alert_channel *all = alert_channels(s->hub, &count);
	assert_int_equal(count, 1);
	return all[0];
}

static char *channel(const struct scene *s)
{
	return mem_strdup(way(s).name);
}

static void until_it_has_failed(struct scene *s, uint32_t failures)
{
	while (way(s).failures <= failures)
		turn(s);
}

static char *message(const char *id)
{
	return mem_printf(
		"{\"text\":\"t\",\"subject\":\"s\",\"hub\":\"h\",\"id\":\"%s\",\"time\":\"2026-11-30T09:00:00Z\","
		"\"critical\":true,\"more\":0,\"conditions\":[]}",
		id);
}

static void what_waits_and_what_failed_is_known_after_a_restart(void **state)
{
	struct scene *s = *state;
	alert_open(s->hub);
	auto_free char *name = channel(s);
	alert_close(s->hub);
	auto_free char *first = message("a"), *second = message("b");
	auto_free char *record = mem_printf(
		"{\"conditions\":[],\"told\":[{\"event\":\"raised\",\"kind\":\"away\",\"subject\":\"mail\",\"text\":\"gone\","
		"\"critical\":true,\"since\":\"2026-11-30T09:00:00Z\",\"lasted\":0,\"when\":7},{\"kind\":\"boredom\"},7],"
		"\"failures\":[{\"channel\":\"%s\",\"failures\":2,\"since\":7,\"error\":\"no\"},{\"channel\":\"gone\",\"failures\":1,\"since\":7},"
		"{\"channel\":\"%s\",\"failures\":\"many\"}],"
		"\"queue\":[{\"message\":%s,\"created\":%lld,\"pending\":[\"%s\",\"gone\",7]},"
		"{\"message\":%s,\"created\":%lld,\"pending\":[\"gone\"]},{\"created\":1},7]}",
		name, name, first, (long long)clock_wall(), name, second, (long long)clock_wall());
	keep(s, record);
	alert_open(s->hub);
	assert_int_equal(way(s).failures, 2);
	assert_int_equal(way(s).waiting, 1);
	size_t count;
	const struct alert_told *told = alert_told(s->hub, &count);
	assert_int_equal(count, 1);
	assert_int_equal(told->told.entry.kind, CONDITION_AWAY);
	assert_int_equal(told->when, 7);
	auto_free char *warning = alert_warning(s->hub);
	assert_non_null(strstr(warning, "fail (1 wait): no"));
	/* Somebody may have mended the channel, so a restart tries at once; the message waits until it was
	 * delivered. */
	until_it_has_failed(s, 2);
	assert_int_equal(way(s).waiting, 1);
}

static void a_damaged_record_is_begun_anew(void **state)
{
	static const char *const records[] = {
		"{", "{}", "{\"conditions\":[{\"kind\":\"boredom\"}]}", "{\"conditions\":[7]}"};
	struct scene *s = *state;
	for (size_t i = 0; i < COUNT(records); i++) {
		keep(s, records[i]);
		alert_open(s->hub);
		assert_int_equal(alert_book(s->hub)->count, 0);
		assert_int_equal(way(s).waiting, 0);
		alert_close(s->hub);
	}
}

/* When nobody could be told for a week, the newest messages are kept, and no more of them than anybody reads. */
static void what_waits_is_bounded_in_number_and_age(void **state)
{
	struct scene *s = *state;
	alert_open(s->hub);
	auto_free char *name = channel(s);
	alert_close(s->hub);
	auto_json cJSON *record = cJSON_CreateObject();
	cJSON_AddArrayToObject(record, "conditions");
	cJSON *queue = cJSON_AddArrayToObject(record, "queue");
	for (int i = 0; i < ALERT_QUEUE_MAX + 30; i++) {
		cJSON *item = cJSON_CreateObject();
		auto_free char *id = mem_printf("%d", i), *text = message(id);
		cJSON_AddItemToObject(item, "message", cJSON_Parse(text));
		cJSON_AddNumberToObject(item, "created", (double)(clock_wall() - (i < 10 ? ALERT_KEEP + 1 : 60)));
		cJSON_AddItemToArray(cJSON_AddArrayToObject(item, "pending"), cJSON_CreateString(name));
		cJSON_AddItemToArray(queue, item);
	}
	auto_buf struct buf text = BUF_INIT(1024 * 1024);
	assert_int_equal(json_print(record, &text), 0);
	keep(s, buf_text(&text));
	alert_open(s->hub);
	assert_int_equal(way(s).waiting, ALERT_QUEUE_MAX + 30);
	until_it_has_failed(s, 0);
	assert_int_equal(way(s).waiting, ALERT_QUEUE_MAX);
}

struct answers {
	int answered, ended;
};

static void on_answered(const char *name, bool ok, const char *text, void *context)
{
	(void)name, (void)text;
	assert_false(ok);
	((struct answers *)context)->answered++;
}

static void on_ended(bool ok, void *context)
{
	assert_false(ok);
	((struct answers *)context)->ended++;
}

static void a_test_is_one_at_a_time_and_needs_a_way(void **state)
{
	static const struct alert_test_handler handler = {on_answered, on_ended};
	struct scene *s = *state;
	struct error err;
	struct answers answers = {0};
	alert_open(s->hub);
	assert_int_equal(alert_test(s->hub, &handler, &answers, &err), 0);
	assert_int_equal(alert_test(s->hub, &handler, &answers, &err), -1);
	assert_non_null(strstr(err.message, "a test is under way already"));
	while (!answers.ended)
		turn(s);
	assert_int_equal(answers.answered, 1);
	/* Whoever asked for the second test has gone, so that nobody is told its answers. */
	assert_int_equal(alert_test(s->hub, &handler, &answers, &err), 0);
	alert_test_forget(s->hub);
	while (alert_test(s->hub, &handler, &answers, &err) < 0)
		turn(s);
	assert_int_equal(answers.ended, 1);
	alert_close(s->hub);
	free(steal(s->hub->config->alert.command));
	alert_open(s->hub);
	assert_int_equal(alert_test(s->hub, &handler, &answers, &err), -1);
	assert_non_null(strstr(err.message, "neither email nor webhook nor command"));
}

/* A record that cannot be written ends nothing; it is reported as trouble of the store. */
static void a_record_that_cannot_be_written(void **state)
{
	struct scene *s = *state;
	scratch_write(s->of.scratch, "state/records/alerts", "", 0600); /* a file stands where a directory should be */
	strcpy(s->hub->root_error, "read-only file system");
	alert_open(s->hub);
	while (alert_book(s->hub)->count == 0)
		turn(s);
	assert_int_equal(alert_book(s->hub)->entries[0].kind, CONDITION_STORE);
	assert_string_not_equal(store_trouble(s->hub->store), "");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_waits_and_what_failed_is_known_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_is_begun_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_bounded_in_number_and_age, setup, teardown),
		cmocka_unit_test_setup_teardown(a_test_is_one_at_a_time_and_needs_a_way, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_that_cannot_be_written, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
