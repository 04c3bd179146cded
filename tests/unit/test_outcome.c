/* What became of a revision: this is kept from its first offer until the next one takes its place. */
#include "hub/daemon/rollout/history.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000LL

static struct history_book book;
static struct rollout rollout;

static int two_agents(void **state)
{
	(void)state;
	const struct hub_certificate certificate = {.name = (char[]){"a.pl"}};
	rollout_init(&rollout, &certificate);
	rollout_add_agent(&rollout, "mail", false);
	rollout_add_agent(&rollout, "web", false);
	rollout.desired.revision = (struct revision){1, 1};
	rollout.started = NOW;
	book.count = 0;
	return 0;
}

static int no_agents(void **state)
{
	(void)state;
	rollout_release(&rollout);
	return 0;
}

static void all(enum rollout_state state)
{
	for (size_t i = 0; i < rollout.agent_count; i++)
		rollout.agents[i].state = state;
}

static const char *text_of(struct revision r)
{
	static char text[1024];
	history_text(history_find(&book, r), text, sizeof(text));
	return text;
}

static void one_that_arrives_says_when(void **state)
{
	(void)state;
	assert_true(history_update(&book, &rollout, NOW));
	assert_false(history_update(&book, &rollout, NOW + 1));
	assert_string_equal(text_of(rollout.desired.revision), "not everywhere yet");
	all(ROLLOUT_VERIFIED);
	assert_true(history_update(&book, &rollout, NOW + 12));
	assert_string_equal(text_of(rollout.desired.revision), "everywhere since 2027-01-15T08:00:12Z, after 12 s");
	/* What comes later does not change when it was. */
	rollout.agents[0].state = ROLLOUT_IDLE;
	assert_false(history_update(&book, &rollout, NOW + 20));
	all(ROLLOUT_VERIFIED);
	assert_false(history_update(&book, &rollout, NOW + 30));
}

static void one_that_is_superseded_says_so(void **state)
{
	(void)state;
	history_update(&book, &rollout, NOW);
	rollout.desired.revision.number = 2;
	assert_true(history_update(&book, &rollout, NOW + 5));
	assert_string_equal(
		text_of((struct revision){1, 1}), "superseded 2027-01-15T08:00:05Z before it was everywhere");
	assert_string_equal(text_of((struct revision){1, 2}), "not everywhere yet");
}

static void the_first_failure_is_kept(void **state)
{
	(void)state;
	rollout.agents[1].state = ROLLOUT_FAILED;
	snprintf(rollout.agents[1].step, sizeof(rollout.agents[1].step), "test");
	snprintf(rollout.agents[1].text, sizeof(rollout.agents[1].text), "it is broken\nthere");
	assert_true(history_update(&book, &rollout, NOW));
	assert_string_equal(
		text_of(rollout.desired.revision), "not everywhere yet; failed on web at test: it is broken there");
	rollout.agents[0].state = ROLLOUT_FAILED;
	assert_false(history_update(&book, &rollout, NOW));
	all(ROLLOUT_VERIFIED);
	history_update(&book, &rollout, NOW + 60);
	assert_non_null(strstr(text_of(rollout.desired.revision), "after 60 s; failed on web at test"));
}

static void nothing_published_is_nothing(void **state)
{
	(void)state;
	rollout.desired.revision = (struct revision){0, 0};
	assert_false(history_update(&book, &rollout, NOW));
	assert_null(history_find(&book, rollout.desired.revision));
}

static void the_book_is_bounded_and_reads_back(void **state)
{
	(void)state;
	static struct history_book again;
	struct error err;
	for (uint32_t i = 1; i <= OUTCOMES_MAX + 10; i++) {
		rollout.desired.revision.number = i;
		history_update(&book, &rollout, NOW + i);
	}
	assert_int_equal(book.count, OUTCOMES_MAX);
	assert_null(history_find(&book, (struct revision){1, 10}));
	auto_json cJSON *record = history_encode(&book);
	assert_int_equal(history_decode(record, &again, &err), 0);
	assert_int_equal(again.count, OUTCOMES_MAX);
	assert_memory_equal(&again.list[7], &book.list[7], sizeof(book.list[7]));
}

static void a_damaged_record_is_empty(void **state)
{
	(void)state;
	struct error err;
	static const char text[] =
		"{\"outcomes\":[{\"revision\":\"x\",\"started\":1,\"verified\":0,\"superseded\":0,\"failed\":\"\"}]}";
	auto_json cJSON *record = json_parse(text, strlen(text), &err);
	assert_int_equal(history_decode(record, &book, &err), -1);
	assert_int_equal(book.count, 0);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, two_agents, no_agents)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(one_that_arrives_says_when),
		STORY(one_that_is_superseded_says_so),
		STORY(the_first_failure_is_kept),
		STORY(nothing_published_is_nothing),
		STORY(the_book_is_bounded_and_reads_back),
		STORY(a_damaged_record_is_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
