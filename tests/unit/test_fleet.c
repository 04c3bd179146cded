/* The rollouts of a hub: what happens when their records are damaged, and when the store cannot give what it is asked
 * for. */
#include "tests/unit/hub_scene.h"

#include <fcntl.h>
#include <unistd.h>

struct scene {
	struct hub_scene of;
	struct hub *hub;
	struct rollout *r;
	struct rollout_agent *a;
	int agent; /* the agent's end of the stream */
	struct frame_stream hears;
};

static void open_fleet(struct scene *s)
{
	fleet_open(s->hub);
	s->r = fleet_find(s->hub, NAME);
	s->a = rollout_find(s->r, "here");
}

static struct scene *begin(const char *settings)
{
	struct scene *s = mem_alloc(sizeof(*s));
	assert_true(hub_scene_begin(&s->of, settings));
	s->hub = &s->of.hub;
	s->agent = -1;
	hub_scene_store(&s->of);
	return s;
}

static void end(struct scene *s)
{
	if (s->agent >= 0) {
		frame_stream_release(&s->hears);
		close(s->agent);
	}
	hub_scene_end(&s->of);
	free(s);
}

/* Returns the next message of that type that the agent hears. */
static struct message heard(struct scene *s, enum message_type type)
{
	struct error err;
	struct frame frame;
	struct message m = {0};
	do {
		int found;
		while ((found = frame_next(&s->hears, &frame, &err)) == 0) {
			assert_true(event_base_loop(s->hub->base, EVLOOP_NONBLOCK) >= 0);
			assert_int_equal(frame_fill(&s->hears, &err), 1);
		}
		assert_int_equal(found, 1);
		message_release(&m);
		assert_int_equal(message_decode(frame.data, frame.len, &m, &err), 0);
	} while (m.type != type);
	return m;
}

/* Lets the agent `here` come in with nothing installed. */
static void come(struct scene *s)
{
	struct message inventory = {.type = MESSAGE_INVENTORY};
	s->agent = hub_scene_come(&s->of, 0, 0);
	frame_stream_init(&s->hears, s->agent, FRAMES_NETWORK);
	strcpy(inventory.certificate, NAME);
	fleet_inventory(s->hub, "here", &inventory);
}

static void answer(struct scene *s, enum message_type type)
{
	struct message m = {.type = type, .content.revision = s->r->desired.revision, .attempt = s->a->attempt};
	strcpy(m.certificate, NAME);
	strcpy(m.step, "reload");
	strcpy(m.text, "postfix said no");
	fleet_answer(s->hub, "here", &m);
}

/* ---- records ---- */

#define PLACE \
	"\"last_seen\":5,\"failed\":true,\"failed_staging\":true,\"failed_activation\":false,\"rolled_back\":true," \
	"\"failures\":3,\"next_try\":9,\"step\":\"test\",\"text\":\"no\""
#define REST "\"started\":1000,\"open\":true,\"proceed\":true,\"old_not_before\":1,\"old_not_after\":2000000000"

static void keep(struct scene *s, const char *record)
{
	struct error err;
	assert_int_equal(store_put(s->hub->store, "rollouts", NAME, "state.json", record, strlen(record), &err), 0);
}

static void one_that_is_whole_is_gone_on_with(void **state)
{
	(void)state;
	struct scene *s = begin("");
	keep(s,
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{" PLACE
		"}}}"); /* an older version wrote neither drifts nor what is old */
	open_fleet(s);
	assert_int_equal(s->r->started, 1000);
	assert_true(s->r->open && s->r->proceed);
	assert_int_equal(s->a->state, ROLLOUT_FAILED);
	assert_int_equal(s->a->failures, 3);
	assert_false(content_is_set(&s->a->served));
	end(s);
}

#define SERVED(revision) \
	"\"served\":{\"revision\":\"" revision "\",\"digest\":\"\",\"fingerprint\":" \
	"\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"not_before\":4,\"not_after\":8}"

static void what_was_served_before_is_known_of_another_revision_too(void **state)
{
	(void)state;
	struct scene *s = begin("");
	keep(s, "{\"revision\":\"1.0\"," REST ",\"agents\":{\"here\":{" PLACE "," SERVED("1.0") "}}}");
	open_fleet(s);
	assert_int_equal(s->a->state, ROLLOUT_IDLE);
	assert_true(content_is_set(&s->a->served));
	assert_int_equal(s->a->served.revision.epoch, 1);
	assert_int_equal(s->a->served.revision.number, 0);
	assert_int_equal(s->a->served.not_after, 8);
	come(s);
	assert_false(content_is_set(&s->a->served));
	end(s);
}

static void one_that_is_damaged_begins_the_rollout_anew(void **state)
{
	static const char *const records[] = {
		"{\"revision\":",
		"{}",
		"{\"revision\":\"1.1\"," REST "}",
		"{\"revision\":\"soon\"," REST ",\"agents\":{}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{\"last_seen\":\"now\"}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{\"last_seen\":5}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{\"last_seen\":5,\"drifts\":1}}}",
		"{\"revision\":\"1.1\"," REST
		",\"agents\":{\"here\":{\"last_seen\":5,\"drifts\":-1,\"drift\":\"x\",\"drifted\":1,\"repaired\":1}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{\"served\":1," PLACE "}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{" PLACE "," SERVED("none") "}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{\"passed\":1," PLACE "}}}",
		"{\"revision\":\"1.1\"," REST ",\"agents\":{\"here\":{" PLACE
		"},\"mail\":{\"last_seen\":5,\"step\":\"test\",\"text\":\"no\",\"failed\":true}}}",
		"{\"revision\":\"1.1\",\"started\":1000,\"agents\":{\"here\":{" PLACE "}}}",
		"{\"revision\":\"1.1\"," REST ",\"old\":7,\"agents\":{\"here\":{" PLACE "}}}",
		"{\"revision\":\"1.1\"," REST ",\"old\":\"older\",\"agents\":{\"here\":{" PLACE "}}}",
		"{\"revision\":\"1.1\"," REST ",\"old\":\"1.0\",\"agents\":{\"here\":{" PLACE "}}}",
	};
	(void)state;
	struct scene *s = begin("");
	for (size_t i = 0; i < COUNT(records); i++) {
		int64_t now = clock_wall();
		keep(s, records[i]);
		open_fleet(s);
		assert_int_equal(s->r->desired.revision.number, 1);
		assert_true(s->r->started >= now && !s->r->proceed);
		for (size_t k = 0; k < s->r->agent_count; k++) {
			assert_int_equal(s->r->agents[k].state, ROLLOUT_IDLE);
			assert_int_equal(s->r->agents[k].failures, 0);
		}
		fleet_close(s->hub);
	}
	end(s);
}

/* ---- what the store cannot give ---- */

static void a_bundle_for_one_without_a_key_fails_with_the_remedy(void **state)
{
	(void)state;
	struct scene *s = begin("");
	open_fleet(s);
	come(s);
	fleet_hello_done(s->hub, "here");
	struct message offer = heard(s, MESSAGE_OFFER);
	struct message fetch = {
		.type = MESSAGE_FETCH, .content.revision = offer.content.revision, .attempt = offer.attempt};
	strcpy(fetch.certificate, NAME);
	fleet_fetch(s->hub, session_find(s->hub, "here"), &fetch);
	assert_int_equal(s->a->state, ROLLOUT_FAILED);
	assert_string_equal(s->a->step, "fetch");
	assert_non_null(strstr(s->a->text, "certsync agent add here --key -"));
	message_release(&offer);

	/* A fetch with another attempt's number changes nothing, nor does one of a certificate that the agent is not
	 * assigned. */
	uint32_t failures = s->a->failures;
	fleet_fetch(s->hub, session_find(s->hub, "here"), &fetch);
	strcpy(fetch.certificate, "other.domain.pl");
	fleet_fetch(s->hub, session_find(s->hub, "here"), &fetch);
	assert_int_equal(s->a->failures, failures);
	end(s);
}

static void a_revision_that_has_gone_is_not_offered(void **state)
{
	(void)state;
	struct error err;
	struct scene *s = begin("");
	open_fleet(s);
	auto_free char *path = scratch_path(s->of.scratch, "state/certificates/" NAME "/1.1");
	assert_int_equal(fs_remove_tree(AT_FDCWD, path, &err), 0);
	come(s);
	fleet_hello_done(s->hub, "here");
	assert_true(event_base_loop(s->hub->base, EVLOOP_NONBLOCK) >= 0);
	/* The agent hears the hub's own hello and no offer. */
	struct frame frame;
	assert_int_equal(frame_fill(&s->hears, &err), 1);
	while (frame_next(&s->hears, &frame, &err) == 1) {
		auto_message struct message m = {0};
		assert_int_equal(message_decode(frame.data, frame.len, &m, &err), 0);
		assert_int_not_equal(m.type, MESSAGE_OFFER);
	}
	end(s);

	/* The revision was damaged before the hub's start: the certificate is shown so, and the hub runs. */
	s = begin("");
	scratch_write(s->of.scratch, "state/certificates/" NAME "/1.1/manifest.json", "{", 0600);
	open_fleet(s);
	assert_int_equal(s->r->desired.revision.number, 0);
	end(s);
}

static void a_manifest_is_read_once_for_all_agents(void **state)
{
	(void)state;
	struct scene *s = begin("");
	open_fleet(s);
	come(s);
	auto_message struct message first = heard(s, MESSAGE_OFFER);
	/* Whoever reads it again finds nothing. */
	auto_free char *path = scratch_path(s->of.scratch, "state/certificates/" NAME "/1.1/manifest.json");
	assert_int_equal(unlink(path), 0);
	answer(s, MESSAGE_FAILED);
	fleet_retry(s->hub, s->r, "here", false);
	assert_int_equal(fcntl(s->agent, F_SETFL, O_NONBLOCK), 0);
	auto_message struct message again = heard(s, MESSAGE_OFFER);
	assert_true(content_same(&again.content, &first.content));
	assert_int_equal(again.content.not_after, first.content.not_after);
	assert_int_equal(again.name_count, first.name_count);
	assert_int_not_equal(again.attempt, first.attempt);
	end(s);
}

static void all_go_back_unless_there_is_nothing_to_go_back_to(void **state)
{
	(void)state;
	struct scene *s = begin("rollout = immediate on_failure = rollback_all");
	hub_scene_store(&s->of);
	open_fleet(s);
	scratch_write(s->of.scratch, "state/certificates/" NAME "/1.1/fullchain.pem", "nothing\n", 0600);
	/* The revision replaces one that has a long life left. */
	s->r->old.revision = (struct revision){1, 1};
	s->r->old.not_before = clock_wall() - ISSUE_DAY;
	s->r->old.not_after = clock_wall() + 60 * ISSUE_DAY;
	come(s);
	fleet_hello_done(s->hub, "here");
	answer(s, MESSAGE_STAGED);
	struct message activate = heard(s, MESSAGE_ACTIVATE);
	message_release(&activate);
	answer(s, MESSAGE_INSTALLED);
	answer(s, MESSAGE_FAILED);
	assert_true(event_base_loop(s->hub->base, EVLOOP_NONBLOCK) >= 0);
	assert_non_null(strstr(s->r->no_rollback, "1.1"));
	assert_int_equal(s->r->desired.revision.number, 2);
	end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_whole_is_gone_on_with),
		cmocka_unit_test(what_was_served_before_is_known_of_another_revision_too),
		cmocka_unit_test(one_that_is_damaged_begins_the_rollout_anew),
		cmocka_unit_test(a_bundle_for_one_without_a_key_fails_with_the_remedy),
		cmocka_unit_test(a_revision_that_has_gone_is_not_offered),
		cmocka_unit_test(a_manifest_is_read_once_for_all_agents),
		cmocka_unit_test(all_go_back_unless_there_is_nothing_to_go_back_to),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
