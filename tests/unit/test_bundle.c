/* Bundles: what the hub seals and signs arrives as it was sent, and nothing else is opened by the agent. */
#include "lib/crypto/bundle.h"
#include "lib/core/mem.h"
#include "tests/unit/issue.h"

static struct error err;
static struct issued root, middle, leaf, second;
static struct bundle_keys keys;
static uint8_t sign_private[SEAL_KEY_SIZE];

static int make_world(void **state)
{
	(void)state;
	root = issue((struct wish){.subject = "Root", .authority = true});
	middle = issue((struct wish){.subject = "Middle", .issuer = &root, .authority = true});
	leaf = issue((struct wish){.subject = "x", .issuer = &middle, .san = "DNS:mail.domain.pl"});
	second = issue(
		(struct wish){.subject = "x", .issuer = &middle, .san = "DNS:mail.domain.pl", .key_type = "rsa-2048"});
	keys.signer_count = 1;
	assert_int_equal(seal_keypair(keys.seal_private, keys.seal_public, &err), 0);
	assert_int_equal(sign_keypair(sign_private, keys.signers[0], &err), 0);
	return 0;
}

static int free_world(void **state)
{
	(void)state;
	issued_release(&root);
	issued_release(&middle);
	issued_release(&leaf);
	issued_release(&second);
	return 0;
}

static struct bundle content(size_t pairs)
{
	const struct issued *rest[] = {&middle};
	struct bundle b = {.certificate = "mail.domain.pl",
		.revision = {1, 7},
		.flags = BUNDLE_MAY_EXPIRE_SOONER,
		.pair_count = pairs};
	b.pairs[0] = issued_chain(&leaf, rest, 1);
	if (pairs > 1)
		b.pairs[1] = issued_chain(&second, rest, 1);
	return b;
}

static struct buf sealed(size_t pairs)
{
	struct buf out = BUF_INIT(BUNDLE_MAX);
	auto_bundle struct bundle b = content(pairs);
	assert_int_equal(bundle_seal(&b, keys.seal_public, sign_private, &out, &err), 0);
	return out;
}

static void assert_refused(const uint8_t *data, size_t len, const struct bundle_keys *with, const char *rule)
{
	struct bundle b = {0};
	assert_int_equal(bundle_open(data, len, with, &b, &err), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	if (rule && strncmp(err.message, rule, strlen(rule)) != 0)
		fail_msg("\"%s\" does not begin with \"%s\"", err.message, rule);
	assert_int_equal(b.pair_count, 0);
	assert_null(b.pairs[0].key);
}

/* Signs anew what the test has changed, because without the hub's own signature nothing gets further than this
 * check. */
static void sign_again(struct buf *b)
{
	size_t len = b->len - SEAL_SIGNATURE_SIZE;
	assert_int_equal(sign(sign_private, b->data, len, b->data + len, &err), 0);
}

/* Makes a bundle with the header of `header` and any plaintext, sealed and signed as the hub would. */
static struct buf forged(const struct buf *header, const void *plain, size_t len)
{
	static const char info[] = "certsync bundle 1";
	struct buf out = BUF_INIT(BUNDLE_MAX);
	uint8_t signature[SEAL_SIGNATURE_SIZE], fixed[BUNDLE_HEADER_SIZE];
	size_t sealed_len = len + SEAL_ENC_SIZE + SEAL_TAG_SIZE;
	memcpy(fixed, header->data, sizeof(fixed));
	for (int i = 0; i < 4; i++)
		fixed[344 + i] = (uint8_t)(sealed_len >> (24 - 8 * i));
	assert_int_equal(buf_add(&out, fixed, sizeof(fixed)), 0);
	assert_int_equal(
		seal(keys.seal_public, info, sizeof(info) - 1, fixed, sizeof(fixed), plain, len, &out, &err), 0);
	assert_int_equal(sign(sign_private, out.data, out.len, signature, &err), 0);
	assert_int_equal(buf_add(&out, signature, sizeof(signature)), 0);
	return out;
}

static void a_revision_arrives_as_it_was_sent(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	auto_bundle struct bundle got = {0};
	uint8_t digest[CHAIN_SHA256_SIZE];
	assert_int_equal(bundle_open(b.data, b.len, &keys, &got, &err), 0);
	assert_string_equal(got.certificate, "mail.domain.pl");
	assert_int_equal(got.revision.epoch, 1);
	assert_int_equal(got.revision.number, 7);
	assert_int_equal(got.flags, BUNDLE_MAY_EXPIRE_SOONER);
	assert_int_equal(got.not_after, ISSUE_NOW + 90 * ISSUE_DAY);
	assert_int_equal(got.pair_count, 1);
	assert_int_equal(EVP_PKEY_eq(got.pairs[0].key, leaf.key), 1);
	assert_int_equal(X509_cmp(got.pairs[0].leaf, leaf.certificate), 0);
	assert_int_equal(sk_X509_num(got.pairs[0].rest), 1);
	chain_digest(got.pairs, 1, digest);
	assert_memory_equal(got.digest, digest, sizeof(digest));
}

static void two_pairs_arrive_in_their_order(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(2);
	auto_bundle struct bundle got = {0};
	assert_int_equal(bundle_open(b.data, b.len, &keys, &got, &err), 0);
	assert_int_equal(got.pair_count, 2);
	assert_int_equal(EVP_PKEY_eq(got.pairs[0].key, leaf.key), 1);
	assert_int_equal(EVP_PKEY_eq(got.pairs[1].key, second.key), 1);
}

static void the_header_lies_where_its_description_says(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	uint8_t recipient[32];
	assert_int_equal(sha256(keys.seal_public, SEAL_KEY_SIZE, recipient), 0);
	assert_memory_equal(b.data, "CSB1\0\1\0\1", 8);
	assert_memory_equal(b.data + 8, recipient, 32);
	assert_memory_equal(b.data + 40, "\0\0\0\1\0\0\0\7", 8);
	struct reader r = READER(b.data + 80, 8);
	assert_int_equal(read_u64(&r), ISSUE_NOW + 90 * ISSUE_DAY);
	assert_string_equal((const char *)b.data + 88, "mail.domain.pl");
	r = (struct reader)READER(b.data + 344, 4);
	assert_int_equal(read_u32(&r), b.len - BUNDLE_HEADER_SIZE - SEAL_SIGNATURE_SIZE);
}

static void whoever_passes_it_on_reads_whom_it_is_for(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	char certificate[NAME_CERTIFICATE_MAX];
	struct revision revision;
	assert_int_equal(bundle_subject(b.data, b.len, certificate, &revision), 0);
	assert_string_equal(certificate, "mail.domain.pl");
	assert_int_equal(revision.epoch, 1);
	assert_int_equal(revision.number, 7);
	assert_int_equal(bundle_subject(b.data, BUNDLE_HEADER_SIZE, certificate, &revision), 0);
	assert_int_equal(bundle_subject(b.data, BUNDLE_HEADER_SIZE - 1, certificate, &revision), -1);
	memset(b.data + 88, 'a', 256); /* a name without an end */
	assert_int_equal(bundle_subject(b.data, b.len, certificate, &revision), -1);
	b.data[0] = 'X';
	assert_int_equal(bundle_subject(b.data, b.len, certificate, &revision), -1);
}

static void neither_key_nor_chain_is_readable_on_the_way(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	unsigned char *der = NULL;
	BIGNUM *scalar = NULL;
	uint8_t bytes[32];
	int len = i2d_X509(leaf.certificate, &der);
	assert_int_equal(EVP_PKEY_get_bn_param(leaf.key, "priv", &scalar), 1);
	assert_int_equal(BN_bn2binpad(scalar, bytes, sizeof(bytes)), 32);
	assert_null(memmem(b.data, b.len, bytes, sizeof(bytes)));
	assert_null(memmem(b.data, b.len, der, (size_t)len));
	BN_free(scalar);
	OPENSSL_free(der);
}

static void one_bit_changed_anywhere_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	for (size_t at = 0; at < 8 * b.len; at++) {
		const size_t i = at / 8;
		const uint8_t bit = (uint8_t)(1 << at % 8);
		b.data[i] ^= bit;
		assert_refused(b.data, b.len, &keys,
			i < 6                                   ? "format: "
				: i < 8 || (i >= 40 && i < 344) ? "signature: "
				: i < 40                        ? "recipient: "
				: i < BUNDLE_HEADER_SIZE        ? "format: "
								: "signature: ");
		b.data[i] ^= bit;
	}
}

static void a_bundle_cut_short_anywhere_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	for (size_t len = 0; len < b.len; len++) {
		/* The copy has exactly this size, so that the sanitizer sees a read behind its end. */
		auto_free uint8_t *copy = malloc(len ? len : 1);
		memcpy(copy, b.data, len);
		assert_refused(copy, len, &keys, "format: ");
	}
}

static void bytes_behind_the_end_are_refused(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	b.max = 2 * BUNDLE_MAX;
	assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_refused(b.data, b.len, &keys, "format: ");
	while (b.len <= BUNDLE_MAX)
		assert_int_equal(buf_put_u8(&b, 0), 0);
	assert_refused(b.data, b.len, &keys, "format: 262145 bytes");
}

static void a_bundle_for_another_agent_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	struct bundle_keys other = keys;
	assert_int_equal(seal_keypair(other.seal_private, other.seal_public, &err), 0);
	assert_refused(b.data, b.len, &other, "recipient: ");
	/* Whoever claims the recipient's public key still lacks its private key. */
	memcpy(other.seal_public, keys.seal_public, SEAL_KEY_SIZE);
	assert_refused(b.data, b.len, &other, "seal: ");
}

static void a_bundle_of_another_hub_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	struct bundle_keys other = keys;
	uint8_t private_key[SEAL_KEY_SIZE];
	assert_int_equal(sign_keypair(private_key, other.signers[0], &err), 0);
	assert_refused(b.data, b.len, &other, "signature: ");
	other.signer_count = 0;
	assert_refused(b.data, b.len, &other, "signature: ");
}

static void any_pinned_key_may_have_signed(void **state)
{
	(void)state;
	auto_buf struct buf b = sealed(1);
	auto_bundle struct bundle got = {0};
	struct bundle_keys rotated = keys;
	uint8_t private_key[SEAL_KEY_SIZE];
	memcpy(rotated.signers[BUNDLE_SIGNERS_MAX - 1], keys.signers[0], SEAL_KEY_SIZE);
	rotated.signer_count = BUNDLE_SIGNERS_MAX;
	for (size_t i = 0; i + 1 < BUNDLE_SIGNERS_MAX; i++)
		assert_int_equal(sign_keypair(private_key, rotated.signers[i], &err), 0);
	assert_int_equal(bundle_open(b.data, b.len, &rotated, &got, &err), 0);
}

static void a_version_one_off_is_refused_and_named(void **state)
{
	(void)state;
	static const uint8_t versions[] = {0, 2};
	for (size_t i = 0; i < COUNT(versions); i++) {
		auto_buf struct buf b = sealed(1);
		b.data[5] = versions[i];
		sign_again(&b);
		assert_refused(b.data, b.len, &keys, i ? "format: bundle version 2" : "format: bundle version 0");
	}
}

/* What follows is signed by the pinned hub, and must be refused all the same. */

static void a_header_that_does_not_belong_to_its_content_is_refused(void **state)
{
	(void)state;
	static const size_t bound[] = {47, 50, 85, 88};
	for (size_t i = 0; i < COUNT(bound); i++) {
		auto_buf struct buf b = sealed(1);
		b.data[bound[i]] ^= 1;
		sign_again(&b);
		assert_refused(b.data, b.len, &keys, "seal: ");
	}
}

static void a_name_revision_or_flag_out_of_its_alphabet_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint8_t value;
	} faults[] = {{6, 0x80}, {7, 8}, {40, 0x80}, {44, 0xff}, {88, '/'}, {88, '.'}, {88, 0}, {103, 'x'}, {343, 'x'},
		{90, 'A'}};
	for (size_t i = 0; i < COUNT(faults); i++) {
		auto_buf struct buf b = sealed(1);
		b.data[faults[i].at] = faults[i].value;
		sign_again(&b);
		assert_refused(b.data, b.len, &keys, "format: ");
	}
	auto_buf struct buf b = sealed(1);
	memset(b.data + 88, 'a', 256);
	sign_again(&b);
	assert_refused(b.data, b.len, &keys, "format: ");
}

static void a_content_that_is_not_the_header_s_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf one = sealed(1), plain = BUF_INIT(BUNDLE_MAX);
	const struct issued *rest[] = {&middle};
	auto_chain struct chain other = issued_chain(&second, rest, 1);
	assert_int_equal(buf_put_u8(&plain, 1), 0);
	assert_int_equal(chain_write_der(&other, &plain, &err), 0);
	auto_buf struct buf b = forged(&one, plain.data, plain.len);
	assert_refused(b.data, b.len, &keys, "digest: ");
	one.data[87] ^= 1;
	buf_reset(&plain);
	auto_chain struct chain same = issued_chain(&leaf, rest, 1);
	assert_int_equal(buf_put_u8(&plain, 1), 0);
	assert_int_equal(chain_write_der(&same, &plain, &err), 0);
	auto_buf struct buf late = forged(&one, plain.data, plain.len);
	assert_refused(late.data, late.len, &keys, "digest: the content expires");
}

static void a_plaintext_that_is_no_list_of_pairs_is_refused(void **state)
{
	(void)state;
	auto_buf struct buf one = sealed(1), plain = BUF_INIT(BUNDLE_MAX);
	const struct issued *rest[] = {&middle};
	auto_chain struct chain c = issued_chain(&leaf, rest, 1);
	assert_int_equal(buf_put_u8(&plain, 1), 0);
	assert_int_equal(chain_write_der(&c, &plain, &err), 0);
	for (size_t len = 0; len < plain.len; len += len < 20 ? 1 : 37) {
		auto_buf struct buf b = forged(&one, plain.data, len);
		assert_refused(b.data, b.len, &keys, "format: ");
	}
	static const uint8_t counts[] = {0, 2, BUNDLE_PAIRS_MAX + 1, 255};
	for (size_t i = 0; i < COUNT(counts); i++) {
		plain.data[0] = counts[i];
		auto_buf struct buf b = forged(&one, plain.data, plain.len);
		assert_refused(b.data, b.len, &keys, "format: ");
	}
	plain.data[0] = 1;
	assert_int_equal(buf_put_u8(&plain, 0), 0);
	auto_buf struct buf more = forged(&one, plain.data, plain.len);
	assert_refused(more.data, more.len, &keys, "format: bytes behind");
	chain_free_pkey(&c.key);
	buf_reset(&plain);
	assert_int_equal(buf_put_u8(&plain, 1), 0);
	assert_int_equal(chain_write_der(&c, &plain, &err), 0);
	auto_buf struct buf keyless = forged(&one, plain.data, plain.len);
	assert_refused(keyless.data, keyless.len, &keys, "format: a pair without a private key");
}

static void what_may_not_be_sent_is_not_sealed(void **state)
{
	(void)state;
	auto_bundle struct bundle b = content(1);
	auto_buf struct buf out = BUF_INIT(BUNDLE_MAX), small = BUF_INIT(500);
	struct bundle bad[6];
	for (size_t i = 0; i < COUNT(bad); i++)
		bad[i] = b;
	bad[0].pair_count = 0;
	bad[1].pair_count = BUNDLE_PAIRS_MAX + 1;
	bad[2].pairs[0].key = NULL;
	strcpy(bad[3].certificate, "../etc");
	bad[4].revision = (struct revision){0, 0};
	bad[5].flags = 0x8000;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(bundle_seal(&bad[i], keys.seal_public, sign_private, &out, &err), -1);
	assert_int_equal(out.len, 0);
	assert_int_equal(bundle_seal(&b, keys.seal_public, sign_private, &small, &err), -1);
	assert_int_equal(small.len, 0);
}

static void what_is_sealed_is_appended(void **state)
{
	(void)state;
	auto_bundle struct bundle b = content(1), got = {0};
	auto_buf struct buf out = BUF_INIT(BUNDLE_MAX);
	assert_int_equal(buf_add(&out, "before", 6), 0);
	assert_int_equal(bundle_seal(&b, keys.seal_public, sign_private, &out, &err), 0);
	assert_memory_equal(out.data, "before", 6);
	assert_int_equal(bundle_open(out.data + 6, out.len - 6, &keys, &got, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_revision_arrives_as_it_was_sent),
		cmocka_unit_test(two_pairs_arrive_in_their_order),
		cmocka_unit_test(the_header_lies_where_its_description_says),
		cmocka_unit_test(whoever_passes_it_on_reads_whom_it_is_for),
		cmocka_unit_test(neither_key_nor_chain_is_readable_on_the_way),
		cmocka_unit_test(one_bit_changed_anywhere_is_refused),
		cmocka_unit_test(a_bundle_cut_short_anywhere_is_refused),
		cmocka_unit_test(bytes_behind_the_end_are_refused),
		cmocka_unit_test(a_bundle_for_another_agent_is_refused),
		cmocka_unit_test(a_bundle_of_another_hub_is_refused),
		cmocka_unit_test(any_pinned_key_may_have_signed),
		cmocka_unit_test(a_version_one_off_is_refused_and_named),
		cmocka_unit_test(a_header_that_does_not_belong_to_its_content_is_refused),
		cmocka_unit_test(a_name_revision_or_flag_out_of_its_alphabet_is_refused),
		cmocka_unit_test(a_content_that_is_not_the_header_s_is_refused),
		cmocka_unit_test(a_plaintext_that_is_no_list_of_pairs_is_refused),
		cmocka_unit_test(what_may_not_be_sent_is_not_sealed),
		cmocka_unit_test(what_is_sealed_is_appended),
	};
	return cmocka_run_group_tests(tests, make_world, free_world);
}
