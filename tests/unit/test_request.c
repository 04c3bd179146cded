/* What passes between certsync-agent and its root half comes out as it went in, and nothing else is taken. */
#include "agent/common/root_request.h"
#include "lib/core/frame.h"
#include "lib/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct request sample = {
	.op = REQUEST_ACTIVATE,
	.certificate = "mail.domain.pl",
	.revision = {2, 17},
	.timeout = 90,
};

static void a_request_arrives_as_it_was_sent(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct request got;
	struct error err;
	assert_int_equal(request_encode(&sample, &out), 0);
	assert_int_equal(request_decode(out.data, out.len, &got, &err), 0);
	assert_int_equal(got.op, sample.op);
	assert_string_equal(got.certificate, sample.certificate);
	assert_int_equal(revision_compare(got.revision, sample.revision), 0);
	assert_int_equal(got.timeout, 90);
}

static void a_request_cut_anywhere_or_with_more_behind_it_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct request got;
	struct error err;
	request_encode(&sample, &out);
	for (size_t len = 0; len < out.len; len++)
		assert_int_equal(request_decode(out.data, len, &got, &err), -1);
	buf_put_u8(&out, 0);
	assert_int_equal(request_decode(out.data, out.len, &got, &err), -1);
}

static void assert_refused(struct request r)
{
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct request got;
	struct error err;
	assert_int_equal(request_encode(&r, &out), 0);
	assert_int_equal(request_decode(out.data, out.len, &got, &err), -1);
}

static void a_request_for_a_path_an_unknown_op_or_an_impossible_revision_is_refused(void **state)
{
	(void)state;
	struct request r = sample;
	strcpy(r.certificate, "../../etc");
	assert_refused(r);
	strcpy(r.certificate, "");
	assert_refused(r);
	r = sample;
	r.op = (enum request_op)0;
	assert_refused(r);
	r.op = (enum request_op)(REQUEST_READING + 1);
	assert_refused(r);
	r.op = REQUEST_STAGE; /* this one arrives as a bundle instead */
	assert_refused(r);
	r = sample;
	r.revision.number = UINT32_C(0x80000000);
	assert_refused(r);
}

static struct reply *sample_reply(void)
{
	struct reply *r = mem_alloc(sizeof(*r));
	r->op = REQUEST_RELOAD;
	strcpy(r->certificate, "mail.domain.pl");
	r->revision = (struct revision){1, 2};
	r->rolled_back = true;
	strcpy(r->step, "reload");
	strcpy(r->text, "hook postfix reload: exited 1");
	memset(r->output, 'x', sizeof(r->output) - 1);
	strcpy(r->stopped[0], "dovecot");
	strcpy(r->stopped[1], "nginx");
	r->stopped_count = 2;
	memset(r->instance, 0xa5, sizeof(r->instance));
	r->inventory = mem_array(REQUEST_CERTIFICATES_MAX, sizeof(*r->inventory));
	r->inventory_count = REQUEST_CERTIFICATES_MAX;
	for (size_t i = 0; i < r->inventory_count; i++) {
		struct inventory *v = &r->inventory[i];
		memset(v->certificate, 'a', 63);
		v->certificate[0] = (char)('a' + i % 26);
		v->served.revision = (struct revision){1, (uint32_t)i};
		v->high_water = (struct revision){1, (uint32_t)i + 1};
		v->served.not_after = INT64_C(1) << 33;
		v->served.not_before = -1;
		v->pending_seconds = 30;
		v->staged.digest[31] = (uint8_t)i;
	}
	return r;
}

static void the_longest_reply_fits_a_frame_and_arrives_as_it_was_sent(void **state)
{
	(void)state;
	auto_free struct reply *sent = sample_reply();
	auto_free struct reply *got = mem_alloc(sizeof(*got));
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct error err;
	assert_int_equal(reply_encode(sent, &out), 0);
	assert_int_equal(reply_decode(out.data, out.len, got, &err), 0);
	assert_int_equal(got->op, REQUEST_RELOAD);
	assert_false(got->ok);
	assert_true(got->rolled_back);
	assert_string_equal(got->step, "reload");
	assert_string_equal(got->output, sent->output);
	assert_int_equal(got->stopped_count, 2);
	assert_string_equal(got->stopped[1], "nginx");
	assert_memory_equal(got->instance, sent->instance, sizeof(got->instance));
	assert_int_equal(got->inventory_count, REQUEST_CERTIFICATES_MAX);
	assert_memory_equal(got->inventory, sent->inventory, got->inventory_count * sizeof(*got->inventory));
	reply_release(sent);
	reply_release(got);
}

static void a_reply_cut_anywhere_is_refused(void **state)
{
	(void)state;
	auto_free struct reply *sent = sample_reply();
	auto_free struct reply *got = mem_alloc(sizeof(*got));
	auto_buf struct buf out = BUF_INIT(FRAME_RECORD_MAX);
	struct error err;
	sent->output[20] = '\0';
	sent->inventory_count = 1;
	reply_encode(sent, &out);
	for (size_t len = 0; len < out.len; len++)
		assert_int_equal(reply_decode(out.data, len, got, &err), -1);
	reply_release(sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_arrives_as_it_was_sent),
		cmocka_unit_test(a_request_cut_anywhere_or_with_more_behind_it_is_refused),
		cmocka_unit_test(a_request_for_a_path_an_unknown_op_or_an_impossible_revision_is_refused),
		cmocka_unit_test(the_longest_reply_fits_a_frame_and_arrives_as_it_was_sent),
		cmocka_unit_test(a_reply_cut_anywhere_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
