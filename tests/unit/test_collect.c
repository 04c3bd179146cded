/* What a person must know of: each thing that can be wrong is found by itself, is told in its own words, and is not
 * found when all is well. The modules are the hub's own, with a store on the disk and without sockets. */
#include "tests/unit/hub_scene.h"

#include "hub/daemon/alert/collect.h"
#include "hub/daemon/record.h"

#define NOW ISSUE_NOW

struct scene {
	struct hub_scene of;
	struct hub *hub;
	struct rollout *r;
	struct rollout_agent *a, *b;
	struct condition_book book;
	struct conditions found;
	int64_t next;
};

static int setup(void **state)
{
	struct scene *s = mem_alloc(sizeof(*s));
	if (!hub_scene_begin(&s->of, ""))
		return -1;
	s->hub = &s->of.hub;
	hub_scene_store(&s->of);
	fleet_open(s->hub);
	s->r = fleet_find(s->hub, NAME);
	s->a = rollout_find(s->r, "here");
	s->b = rollout_find(s->r, "mail");
	/* From here all is well: each agent is verified. */
	s->r->started = NOW;
	for (size_t i = 0; i < s->r->agent_count; i++) {
		s->r->agents[i].state = ROLLOUT_VERIFIED;
		s->r->agents[i].served.revision = s->r->desired.revision;
		s->r->agents[i].last_seen = NOW;
		s->r->agents[i].since = NOW;
	}
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	hub_scene_end(&s->of);
	conditions_release(&s->found);
	condition_book_release(&s->book);
	free(s);
	return 0;
}

static void look(struct scene *s, int64_t now)
{
	conditions_release(&s->found);
	auto_situation struct situation situation;
	situation_take(s->hub, now, false, &situation);
	alert_collect(&situation, &s->book, NOW, &s->found, &s->next);
}

static void look_at_manifests(struct scene *s)
{
	auto_situation struct situation situation;
	conditions_release(&s->found);
	situation_take(s->hub, NOW, true, &situation);
	alert_collect_manifests(&situation, &s->found);
}

static const struct condition *find(const struct scene *s, enum condition_kind kind, const char *subject)
{
	for (size_t i = 0; i < s->found.count; i++)
		if (s->found.list[i].kind == kind && strcmp(s->found.list[i].subject, subject) == 0)
			return &s->found.list[i];
	return NULL;
}

static void is_told(
	const struct scene *s, enum condition_kind kind, const char *subject, bool critical, const char *text)
{
	const struct condition *c = find(s, kind, subject);
	if (!c || !strstr(c->text, text))
		print_error("%s %s: \"%s\"\n", condition_kind_name(kind), subject, c ? c->text : "nothing");
	assert_true(c && strstr(c->text, text));
	assert_int_equal(c->critical, critical);
}

static void nothing_is_wrong_when_all_is_well(void **state)
{
	struct scene *s = *state;
	look(s, NOW + 60);
	assert_int_equal(s->found.count, 0);
}

static void a_certificate_that_ends(void **state)
{
	struct scene *s = *state;
	s->a->connected = s->b->connected = true;
	look(s, NOW + 60);
	assert_int_equal(s->found.count, 0);
	s->hub->config->alert.expiring = 20 * ISSUE_DAY;
	s->a->last_seen = s->b->last_seen = NOW + 75 * ISSUE_DAY;
	look(s, NOW + 71 * ISSUE_DAY);
	is_told(s, CONDITION_EXPIRING, NAME, false, "the current revision expires ");
	look(s, NOW + 85 * ISSUE_DAY);
	is_told(s, CONDITION_EXPIRING, NAME, true, "the current revision expires ");
	look(s, NOW + 91 * ISSUE_DAY);
	is_told(s, CONDITION_EXPIRING, NAME, true, "the current revision expired ");
	/* The next look is set for when this will have to be told. */
	look(s, NOW + 69 * ISSUE_DAY);
	assert_null(find(s, CONDITION_EXPIRING, NAME));
	assert_true(s->next > NOW + 69 * ISSUE_DAY && s->next <= NOW + 71 * ISSUE_DAY);

	/* One agent is behind and still serves the old revision. */
	s->a->served.revision = (struct revision){1, 0};
	s->a->served.not_before = NOW - 89 * ISSUE_DAY;
	s->a->served.not_after = NOW + ISSUE_DAY;
	look(s, NOW);
	is_told(s, CONDITION_EXPIRING, NAME " here", true, "this agent serves an old revision, which expires ");
	assert_null(find(s, CONDITION_EXPIRING, NAME " mail"));
}

static void an_agent_that_is_away(void **state)
{
	struct scene *s = *state;
	s->b->last_seen = 0;
	look(s, NOW + 3600);
	assert_null(find(s, CONDITION_AWAY, "mail"));
	assert_true(s->next == NOW + 3601);
	look(s, NOW + 3601);
	is_told(s, CONDITION_AWAY, "mail", true, "it has never been seen: was it joined?");
	is_told(s, CONDITION_AWAY, "here", true, "that is longer than its away_after of 1h0m");
	/* The agent had gone long before this hub was started, so it is given a while to come back. */
	s->a->last_seen = NOW - 30 * ISSUE_DAY;
	look(s, NOW + 899);
	assert_null(find(s, CONDITION_AWAY, "here"));
	look(s, NOW + 901);
	is_told(s, CONDITION_AWAY, "here", true, "it was last seen ");
}

static void a_rollout_that_goes_wrong(void **state)
{
	struct scene *s = *state;
	rollout_no_rollback(s->r, "there is nothing older", NOW);
	s->a->connected = s->b->connected = true;
	s->a->state = ROLLOUT_FAILED;
	s->a->failures = 1;
	s->a->rolled_back = true;
	strcpy(s->a->step, "reload");
	strcpy(s->a->text, "postfix said no");
	s->b->state = ROLLOUT_AHEAD;
	look(s, NOW + 60);
	is_told(s, CONDITION_ROLLOUT, NAME, true, "a failed activation was not rolled back: there is nothing older");
	is_told(s, CONDITION_ROLLOUT, NAME " here", false,
		"it failed at reload (the old files are back): postfix said no");
	is_told(s, CONDITION_AHEAD, NAME " mail", true, "a newer revision than this hub ever made");
	s->a->rolled_back = false;
	look(s, NOW + 60);
	is_told(s, CONDITION_ROLLOUT, NAME " here", true, "it failed at reload: postfix said no");
	s->a->stopped = true; /* no client is served by a service that is stopped */
	look(s, NOW + 60);
	is_told(s, CONDITION_ROLLOUT, NAME " here", false, "it failed at reload: postfix said no");
}

/* stage_timeout and activate_timeout add up to fifteen minutes. */
static void a_rollout_that_does_not_end(void **state)
{
	struct scene *s = *state;
	s->a->connected = s->b->connected = true;
	s->a->state = ROLLOUT_STAGED;
	s->b->state = ROLLOUT_OFFERED;
	s->r->open = false;
	look(s, NOW + 900);
	assert_int_equal(s->found.count, 0);
	assert_int_equal(s->next, NOW + 901);
	look(s, NOW + 901);
	is_told(s, CONDITION_ROLLOUT, NAME " here", false,
		"its rollout is stuck: it is staged and waits for the others to stage; certsync push " NAME
		" --proceed");
	is_told(s, CONDITION_ROLLOUT, NAME " mail", false, "its rollout is stuck: it is offered; certsync push");
	s->b->state = ROLLOUT_UNVERIFIED;
	look(s, NOW + 901);
	is_told(s, CONDITION_ROLLOUT, NAME " mail", false,
		"the new revision is installed, but not every port was seen serving it");
	/* A rollout that waits for its window at night is not stuck. */
	static const struct hub_window night[] = {{180, 300}};
	s->r->open = true;
	s->r->windows = night;
	s->r->window_count = COUNT(night);
	s->r->local_minute = NULL;
	s->r->old.revision = (struct revision){1, 0};
	s->r->old.not_before = NOW - 30 * ISSUE_DAY;
	s->r->old.not_after = NOW + 60 * ISSUE_DAY;
	s->a->served.revision = s->r->old.revision;
	s->a->served.not_before = s->r->old.not_before;
	s->a->served.not_after = s->r->old.not_after;
	look(s, NOW + 901);
	assert_null(find(s, CONDITION_ROLLOUT, NAME " here"));
	s->r->windows = NULL;
	s->r->window_count = 0;
}

static void a_hold_that_outlives_what_is_served(void **state)
{
	struct scene *s = *state;
	s->a->served.not_before = NOW - 60 * ISSUE_DAY;
	s->a->served.not_after = NOW + 30 * ISSUE_DAY;
	s->a->held_until = NOW + 10 * ISSUE_DAY;
	look(s, NOW);
	assert_int_equal(s->found.count, 0);
	s->a->held_until = NOW + 29 * ISSUE_DAY;
	look(s, NOW);
	is_told(s, CONDITION_ROLLOUT, NAME " here", true, "certsync hold here --end ends that");
}

static void what_an_agent_says_that_cannot_be(void **state)
{
	struct scene *s = *state;
	s->a->contradicted = NOW - 10;
	strcpy(s->a->contradiction, "it says what is not so");
	look(s, NOW);
	is_told(s, CONDITION_CONTRADICTION, NAME " here", false, "it says what is not so, last at ");
	look(s, NOW + 3600);
	assert_int_equal(s->found.count, 0);
}

static void what_an_agent_saw_by_itself(void **state)
{
	struct scene *s = *state;
	s->a->connected = true;
	s->a->drifted = NOW - 10;
	strcpy(s->a->drift, "files were changed");
	s->a->probes = mem_array(2, sizeof(*s->a->probes));
	s->a->probe_count = 2;
	for (size_t i = 0; i < 2; i++) {
		strcpy(s->a->probes[i].endpoint, i ? "127.0.0.1:993" : "127.0.0.1:25");
		strcpy(s->a->probes[i].service, "dovecot");
		strcpy(s->a->probes[i].text, "nothing listens");
	}
	s->a->probes[0].stopped = true; /* somebody stopped this service on purpose */
	look(s, NOW);
	assert_int_equal(s->found.count, 2);
	is_told(s, CONDITION_DRIFT, NAME " here", false, "files were changed, last at ");
	is_told(s, CONDITION_UNREACHABLE, NAME " 127.0.0.1:993, seen from inside by here", true,
		"dovecot does not serve there: nothing listens");
	assert_int_equal(s->next, NOW - 10 + 3600); /* the drift is forgotten by then */
	s->a->connected = false;
	look(s, NOW + 3600);
	assert_null(find(s, CONDITION_DRIFT, NAME " here"));
	/* A condition that only this agent could see does not count as over because the agent is gone. */
	auto_conditions struct conditions before = {0};
	auto_notice struct condition_notice notice = {0};
	const struct condition_policy policy = {0};
	conditions_add(&before, CONDITION_CLOCK, false, "here", "its clock");
	conditions_add(&before, CONDITION_ROLLOUT, true, NAME " here", "it failed");
	conditions_add(&before, CONDITION_ROLLOUT, true, NAME " mail2", "it failed");
	conditions_add(&before, CONDITION_AWAY, true, "here", "it was last seen");
	condition_round(&s->book, &before, &policy, NOW, &notice);
	look(s, NOW + 60);
	is_told(s, CONDITION_CLOCK, "here", false, "its clock");
	is_told(s, CONDITION_ROLLOUT, NAME " here", true, "it failed");
	assert_null(find(s, CONDITION_ROLLOUT, NAME " mail2"));
}

/* The agent that says hello is the one on the hub's own node. */
static void a_clock_that_is_wrong(void **state)
{
	struct scene *s = *state;
	static const struct {
		int64_t ahead;
		const char *text;
	} clocks[] = {{-400, "its clock was 400 seconds behind the hub's"},
		{400, "its clock was 400 seconds ahead of the hub's"}, {0, NULL}};
	for (size_t i = 0; i < COUNT(clocks); i++) {
		int agent = hub_scene_come(&s->of, clocks[i].ahead, 0);
		look(s, NOW);
		if (clocks[i].text)
			is_told(s, CONDITION_CLOCK, "here", false, clocks[i].text);
		else
			assert_null(find(s, CONDITION_CLOCK, "here"));
		session_close_all(s->hub);
		close(agent);
	}
}

static void the_hub_s_own_disk(void **state)
{
	struct scene *s = *state;
	struct error err;
	strcpy(s->hub->root_error, "read-only file system");
	/* a file stands where a directory of records should be */
	scratch_write(s->of.scratch, "state/records/things", "", 0600);
	assert_int_equal(store_put(s->hub->store, "things", "a", "b", "c", 1, &err), -1);
	look(s, NOW);
	is_told(s, CONDITION_STORE, "records", true, "the last write failed: ");
	is_told(s, CONDITION_STORE, s->hub->config->authorized_keys, true,
		"it could not be written: read-only file system");
	char *state_directory = s->hub->config->state;
	s->hub->config->state = (char[]){"/nonexistent"};
	look(s, NOW);
	is_told(s, CONDITION_STORE, "/nonexistent", true, "its disk cannot be asked: No such file");
	s->hub->config->state = state_directory;

	auto_free char *manifest = mem_printf("state/certificates/" NAME "/1.1/manifest.json");
	look_at_manifests(s);
	assert_int_equal(s->found.count, 0);
	scratch_write(s->of.scratch, manifest, "{", 0600);
	look_at_manifests(s);
	is_told(s, CONDITION_STORE, NAME, true, "its current revision cannot be read: ");
}

static void a_record_that_was_damaged(void **state)
{
	struct scene *s = *state;
	static const struct record record = {"things", "a", "b.json", 100, "all is done anew"};
	struct error err;
	cJSON *o;
	int64_t now = clock_wall();
	assert_int_equal(record_get(s->hub->store, &record, &o, &err), 0);
	assert_int_equal(store_put(s->hub->store, "things", "a", "b.json", "{\"x\":", 5, &err), 0);
	assert_int_equal(record_get(s->hub->store, &record, &o, &err), -1);
	look(s, now);
	assert_null(find(s, CONDITION_STORE, "things/a/b.json"));
	assert_int_equal(record_find(s->hub->store, &record, &o, &err), 0);
	assert_null(o);
	look(s, now);
	is_told(s, CONDITION_STORE, "things/a/b.json", false, ": all is done anew");
	assert_true(s->next <= now + STORE_DAMAGE_TOLD + 10);

	/* That it is whole again ends nothing: a person has to know that something was lost. */
	auto_json cJSON *whole = cJSON_CreateObject();
	assert_true(record_keep(s->hub->store, &record, whole));
	assert_int_equal(record_find(s->hub->store, &record, &o, &err), 1);
	cJSON_Delete(o);
	look(s, now + STORE_DAMAGE_TOLD - 10);
	assert_non_null(find(s, CONDITION_STORE, "things/a/b.json"));
	look(s, now + STORE_DAMAGE_TOLD + 10);
	assert_null(find(s, CONDITION_STORE, "things/a/b.json"));

	auto_free char *much = mem_printf("%0200d", 1);
	cJSON_AddStringToObject(whole, "text", much);
	assert_int_equal(record_put(s->hub->store, &record, whole, &err), -1);
	assert_string_equal(err.message, "the record things/a/b.json is over 100 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_wrong_when_all_is_well, setup, teardown),
		cmocka_unit_test_setup_teardown(a_certificate_that_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(an_agent_that_is_away, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rollout_that_goes_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rollout_that_does_not_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hold_that_outlives_what_is_served, setup, teardown),
		cmocka_unit_test_setup_teardown(what_an_agent_says_that_cannot_be, setup, teardown),
		cmocka_unit_test_setup_teardown(what_an_agent_saw_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(a_clock_that_is_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_that_was_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(the_hub_s_own_disk, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
