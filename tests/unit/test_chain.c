/* Keys and chains as PEM and as bytes: what is read from outside, and what is told of a leaf. */
#include "lib/crypto/chain.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"
#include "tests/unit/issue.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>

static struct error err;
static struct issued root, middle, leaf;

static int make_chain(void **state)
{
	(void)state;
	root = issue((struct wish){.subject = "Root", .authority = true});
	middle = issue((struct wish){.subject = "Middle", .issuer = &root, .authority = true});
	leaf = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle, .san = "DNS:mail.domain.pl"});
	return 0;
}

static int free_chain(void **state)
{
	(void)state;
	issued_release(&root);
	issued_release(&middle);
	issued_release(&leaf);
	return 0;
}

static struct chain whole(void)
{
	const struct issued *rest[] = {&middle};
	return issued_chain(&leaf, rest, 1);
}

static struct buf pem_of(const struct chain *c, unsigned parts)
{
	struct buf b = BUF_INIT(4 * CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(c, parts, &b, &err), 0);
	return b;
}

static int parse(const struct buf *certificates, const struct buf *key, struct chain *ret)
{
	return chain_parse_pem(
		certificates->data, certificates->len, key ? key->data : NULL, key ? key->len : 0, ret, &err);
}

static void assert_refused(const struct buf *certificates, const struct buf *key, const char *because)
{
	struct chain c = {0};
	assert_int_equal(parse(certificates, key, &c), -1);
	if (!strstr(err.message, because))
		fail_msg("\"%s\" does not say \"%s\"", err.message, because);
	assert_int_equal(err.kind, ERROR_PERMANENT);
	assert_null(c.leaf);
	assert_null(c.key);
}

/* ---- reading ---- */

static void certificates_and_their_key_are_read_from_two_texts(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0};
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF | CHAIN_REST), key = pem_of(&made, CHAIN_KEY);
	assert_int_equal(parse(&certificates, &key, &read), 0);
	assert_int_equal(X509_cmp(read.leaf, leaf.certificate), 0);
	assert_int_equal(sk_X509_num(read.rest), 1);
	assert_int_equal(X509_cmp(sk_X509_value(read.rest, 0), middle.certificate), 0);
	assert_int_equal(EVP_PKEY_eq(read.key, leaf.key), 1);
}

static void one_combined_text_serves_as_both(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0}, copied = {0};
	auto_buf struct buf combined = pem_of(&made, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST), copy = BUF_INIT(100000);
	assert_int_equal(parse(&combined, &combined, &read), 0);
	assert_int_equal(EVP_PKEY_eq(read.key, leaf.key), 1);
	assert_int_equal(sk_X509_num(read.rest), 1);
	assert_int_equal(buf_add(&copy, combined.data, combined.len), 0);
	assert_int_equal(parse(&combined, &copy, &copied), 0);
	assert_int_equal(EVP_PKEY_eq(copied.key, leaf.key), 1);
}

static void certificates_alone_have_no_key_and_an_empty_rest(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0};
	auto_buf struct buf certificate = pem_of(&made, CHAIN_LEAF);
	assert_int_equal(parse(&certificate, NULL, &read), 0);
	assert_null(read.key);
	assert_non_null(read.rest);
	assert_int_equal(sk_X509_num(read.rest), 0);
}

static void prose_between_blocks_and_carriage_returns_are_passed_over(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0};
	auto_buf struct buf first = pem_of(&made, CHAIN_LEAF), rest = pem_of(&made, CHAIN_REST);
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX), written = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(buf_addf(&text, "subject=mail\n\nset ssl cert /evil.pem <<\n"), 0);
	for (size_t i = 0; i < first.len; i++)
		assert_int_equal(buf_addf(&text, first.data[i] == '\n' ? "\r\n" : "%c", first.data[i]), 0);
	assert_int_equal(
		buf_addf(&text, "\n\nshutdown sessions\n-- BEGIN of nothing\n%s\n\nthe end", buf_text(&rest)), 0);
	assert_int_equal(parse(&text, NULL, &read), 0);
	assert_int_equal(chain_write_pem(&read, CHAIN_LEAF | CHAIN_REST, &written, &err), 0);
	assert_int_equal(buf_add(&first, rest.data, rest.len), 0);
	assert_string_equal(buf_text(&written), buf_text(&first));
	assert_null(strstr(buf_text(&written), "\n\n"));
}

static void keys_in_their_older_forms_are_read(void **state)
{
	(void)state;
	static const char *const types[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048"};
	auto_chain struct chain made = whole();
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF);
	for (size_t i = 0; i < COUNT(types); i++) {
		auto_chain struct chain read = {0};
		auto_pkey EVP_PKEY *key = issue_key(types[i]);
		BIO *bio = BIO_new(BIO_s_mem());
		char *text;
		if (*types[i] == 'e')
			BIO_puts(bio,
				"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC "
				"PARAMETERS-----\n");
		assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
		long len = BIO_get_mem_data(bio, &text);
		assert_int_equal(
			chain_parse_pem(certificates.data, certificates.len, text, (size_t)len, &read, &err), 0);
		assert_int_equal(EVP_PKEY_eq(read.key, key), 1);
		BIO_free(bio);
	}
}

static void an_encrypted_key_is_refused_in_both_forms_without_asking(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF);
	for (int traditional = 0; traditional < 2; traditional++) {
		auto_buf struct buf key = BUF_INIT(10000);
		BIO *bio = BIO_new(BIO_s_mem());
		char *text;
		if (traditional)
			PEM_write_bio_PrivateKey_traditional(
				bio, leaf.key, EVP_aes_128_cbc(), (unsigned char *)(uintptr_t) "pass", 4, NULL, NULL);
		else
			PEM_write_bio_PKCS8PrivateKey(bio, leaf.key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL);
		long len = BIO_get_mem_data(bio, &text);
		assert_true(len > 100);
		assert_int_equal(buf_add(&key, text, (size_t)len), 0);
		BIO_free(bio);
		assert_refused(&certificates, &key, "encrypted");
	}
}

static void two_keys_are_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF), keys = pem_of(&made, CHAIN_KEY);
	auto_buf struct buf again = pem_of(&made, CHAIN_KEY);
	assert_int_equal(buf_add(&keys, again.data, again.len), 0);
	assert_refused(&certificates, &keys, "two private keys");
	auto_buf struct buf combined = pem_of(&made, CHAIN_KEY | CHAIN_LEAF);
	assert_int_equal(buf_add(&combined, again.data, again.len), 0);
	assert_refused(&combined, &combined, "two private keys");
}

static void a_key_among_the_certificates_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf combined = pem_of(&made, CHAIN_LEAF | CHAIN_KEY), key = pem_of(&made, CHAIN_KEY);
	assert_refused(&combined, &key, "a private key among the certificates");
	assert_refused(&combined, NULL, "a private key among the certificates");
}

static void a_text_without_what_it_should_hold_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF), key = pem_of(&made, CHAIN_KEY);
	auto_buf struct buf empty = BUF_INIT(10), html = BUF_INIT(100);
	assert_int_equal(buf_addf(&html, "<html>503</html>"), 0);
	assert_refused(&key, &key, "no certificate");
	assert_refused(&empty, NULL, "no certificate");
	assert_refused(&html, NULL, "no certificate");
	assert_refused(&certificates, &certificates, "no private key");
	assert_refused(&certificates, &html, "no private key");
}

static void a_damaged_block_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf text = pem_of(&made, CHAIN_LEAF);
	for (size_t len = 0; len < text.len - 1; len++) {
		struct chain c = {0};
		if (chain_parse_pem(text.data, len, NULL, 0, &c, &err) == 0)
			fail_msg("cut at %zu of %zu and accepted", len, text.len);
	}
	text.data[40] = '!';
	assert_refused(&text, NULL, "certificates: ");
}

static void bytes_behind_a_certificate_inside_its_block_are_refused(void **state)
{
	(void)state;
	unsigned char *der = NULL;
	int len = i2d_X509(leaf.certificate, &der);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	der = realloc(der, (size_t)len + 3);
	memcpy(der + len, "abc", 3);
	PEM_write_bio(bio, "CERTIFICATE", "", der, len + 3);
	auto_buf struct buf b = BUF_INIT(10000);
	long text_len = BIO_get_mem_data(bio, &text);
	assert_int_equal(buf_add(&b, text, (size_t)text_len), 0);
	assert_refused(&b, NULL, "not valid DER");
	BIO_free(bio);
	free(der);
}

static void a_nul_byte_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf certificates = pem_of(&made, CHAIN_LEAF), key = pem_of(&made, CHAIN_KEY);
	assert_int_equal(buf_put_u8(&certificates, 0), 0);
	assert_refused(&certificates, NULL, "NUL");
	certificates.len--;
	assert_int_equal(buf_put_u8(&key, 0), 0);
	assert_refused(&certificates, &key, "NUL");
}

static void the_caps_hold(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0};
	auto_buf struct buf one = pem_of(&made, CHAIN_LEAF), many = BUF_INIT(CHAIN_PEM_MAX * 2);
	for (int i = 0; i < CHAIN_CERTIFICATES_MAX; i++)
		assert_int_equal(buf_add(&many, one.data, one.len), 0);
	assert_int_equal(parse(&many, NULL, &read), 0);
	assert_int_equal(sk_X509_num(read.rest), CHAIN_CERTIFICATES_MAX - 1);
	assert_int_equal(buf_add(&many, one.data, one.len), 0);
	assert_refused(&many, NULL, "more than 10 certificates");
	while (one.len <= CHAIN_PEM_MAX)
		assert_int_equal(buf_put_u8(&one, '\n'), 0);
	assert_refused(&one, NULL, "65537 bytes");
	chain_release(&read);
	assert_int_equal(chain_parse_pem(one.data, CHAIN_PEM_MAX, NULL, 0, &read, &err), 0);
}

static void a_trusted_certificate_is_refused(void **state)
{
	(void)state;
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	auto_buf struct buf b = BUF_INIT(10000);
	assert_int_equal(PEM_write_bio_X509_AUX(bio, leaf.certificate), 1);
	long len = BIO_get_mem_data(bio, &text);
	assert_int_equal(buf_add(&b, text, (size_t)len), 0);
	BIO_free(bio);
	assert_refused(&b, NULL, "TRUSTED CERTIFICATE");
}

/* ---- writing and the binary form ---- */

static void the_parts_stand_in_one_text_without_anything_between(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf all = pem_of(&made, CHAIN_KEY | CHAIN_LEAF | CHAIN_REST);
	auto_buf struct buf parts = pem_of(&made, CHAIN_KEY), first = pem_of(&made, CHAIN_LEAF);
	auto_buf struct buf rest = pem_of(&made, CHAIN_REST);
	assert_int_equal(strncmp(buf_text(&parts), "-----BEGIN PRIVATE KEY-----\n", 28), 0);
	buf_add(&parts, first.data, first.len);
	buf_add(&parts, rest.data, rest.len);
	assert_string_equal(buf_text(&all), buf_text(&parts));
	assert_null(strstr(buf_text(&all), "\n\n"));
	assert_int_equal(all.data[all.len - 1], '\n');
}

static void a_key_that_is_not_there_cannot_be_written(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf out = BUF_INIT(100000), small = BUF_INIT(100);
	assert_int_equal(chain_write_pem(&made, CHAIN_LEAF, &small, &err), -1);
	assert_int_equal(small.len, 0);
	chain_free_pkey(&made.key);
	assert_int_equal(chain_write_pem(&made, CHAIN_KEY | CHAIN_LEAF, &out, &err), -1);
	assert_int_equal(out.len, 0);
}

static void the_binary_form_comes_back_whole(void **state)
{
	(void)state;
	auto_chain struct chain made = whole(), read = {0};
	auto_buf struct buf der = BUF_INIT(100000), again = BUF_INIT(100000);
	assert_int_equal(chain_write_der(&made, &der, &err), 0);
	struct reader r = READER(der.data, der.len);
	assert_int_equal(chain_read_der(&r, &read, &err), 0);
	assert_true(read_done(&r));
	assert_int_equal(chain_write_der(&read, &again, &err), 0);
	assert_int_equal(again.len, der.len);
	assert_memory_equal(again.data, der.data, der.len);
	assert_int_equal(EVP_PKEY_eq(read.key, leaf.key), 1);
}

static void a_binary_form_cut_short_anywhere_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf der = BUF_INIT(100000);
	assert_int_equal(chain_write_der(&made, &der, &err), 0);
	for (size_t len = 0; len < der.len; len++) {
		struct chain c = {0};
		struct reader r = READER(der.data, len);
		assert_int_equal(chain_read_der(&r, &c, &err), -1);
		assert_null(c.leaf);
	}
}

static void a_binary_form_with_lying_counts_is_refused(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf der = BUF_INIT(100000);
	chain_free_pkey(&made.key);
	assert_int_equal(chain_write_der(&made, &der, &err), 0);
	static const uint8_t counts[] = {0, 3, CHAIN_CERTIFICATES_MAX + 1, 255};
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct chain c = {0};
		struct reader r = READER(der.data, der.len);
		der.data[4] = counts[i];
		assert_int_equal(chain_read_der(&r, &c, &err), -1);
		assert_null(c.leaf);
	}
	der.data[4] = 2;
	der.data[0] = 0xff;
	struct chain c = {0};
	struct reader r = READER(der.data, der.len);
	assert_int_equal(chain_read_der(&r, &c, &err), -1);
}

/* ---- identity and facts ---- */

static void the_digest_is_over_length_and_der_of_each(void **state)
{
	(void)state;
	auto_chain struct chain made = whole();
	auto_buf struct buf plain = BUF_INIT(100000);
	X509 *certificates[] = {leaf.certificate, middle.certificate};
	uint8_t want[CHAIN_SHA256_SIZE], got[CHAIN_SHA256_SIZE], without_key[CHAIN_SHA256_SIZE];
	for (size_t i = 0; i < 2; i++) {
		unsigned char *der = NULL;
		int len = i2d_X509(certificates[i], &der);
		assert_int_equal(buf_put_bytes(&plain, der, (size_t)len), 0);
		OPENSSL_free(der);
	}
	assert_int_equal(sha256(plain.data, plain.len, want), 0);
	chain_digest(&made, 1, got);
	assert_memory_equal(got, want, sizeof(want));
	chain_free_pkey(&made.key);
	chain_digest(&made, 1, without_key);
	assert_memory_equal(without_key, want, sizeof(want));
	X509_free(sk_X509_pop(made.rest));
	chain_digest(&made, 1, got);
	assert_memory_not_equal(got, want, sizeof(want));
}

static void the_digest_of_two_pairs_depends_on_their_order(void **state)
{
	(void)state;
	struct issued second = issue((struct wish){.subject = "mail.domain.pl", .issuer = &middle});
	struct chain there[] = {whole(), issued_chain(&second, NULL, 0)}, back[] = {there[1], there[0]};
	uint8_t first[CHAIN_SHA256_SIZE], other[CHAIN_SHA256_SIZE];
	chain_digest(there, 2, first);
	chain_digest(back, 2, other);
	assert_memory_not_equal(first, other, sizeof(first));
	chain_release(&there[0]);
	chain_release(&there[1]);
	issued_release(&second);
}

static void hexadecimal_goes_both_ways_and_is_strict(void **state)
{
	(void)state;
	uint8_t bytes[CHAIN_SHA256_SIZE], back[CHAIN_SHA256_SIZE] = {0};
	char text[CHAIN_HEX_MAX];
	chain_fingerprint(leaf.certificate, bytes);
	assert_int_equal(strspn(chain_hex(bytes, text), "0123456789abcdef"), 64);
	assert_int_equal(chain_unhex(text, back), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
	text[63] = 'g';
	assert_int_equal(chain_unhex(text, back), -1);
	text[63] = '\0';
	assert_int_equal(chain_unhex(text, back), -1);
	assert_int_equal(chain_unhex("", back), -1);
	assert_memory_equal(bytes, back, sizeof(bytes));
}

static void the_facts_of_a_leaf_are_told(void **state)
{
	(void)state;
	struct issued one = issue((struct wish){.subject = "ignored",
		.issuer = &middle,
		.san = "DNS:Mail.Domain.PL,DNS:*.domain.pl,IP:10.0.0.1,IP:2001:db8::1,email:a@b.pl"});
	struct chain_facts f;
	uint8_t fingerprint[CHAIN_SHA256_SIZE];
	assert_int_equal(chain_facts(one.certificate, &f, &err), 0);
	chain_fingerprint(one.certificate, fingerprint);
	assert_memory_equal(f.fingerprint, fingerprint, sizeof(fingerprint));
	assert_int_equal(f.not_before, ISSUE_NOW - ISSUE_DAY);
	assert_int_equal(f.not_after, ISSUE_NOW + 90 * ISSUE_DAY);
	assert_string_equal(f.key_type, "ecdsa-p256");
	assert_string_equal(f.issuer, "Middle");
	assert_int_equal(f.name_count, 4);
	assert_string_equal(f.names[0], "mail.domain.pl");
	assert_string_equal(f.names[1], "*.domain.pl");
	assert_string_equal(f.names[2], "10.0.0.1");
	assert_string_equal(f.names[3], "2001:db8::1");
	chain_facts_release(&f);
	chain_facts_release(&f);
	issued_release(&one);
}

static void dates_beyond_2049_and_2038_are_told(void **state)
{
	(void)state;
	struct issued one = issue((struct wish){.subject = "x", .to = INT64_C(4102444800)});
	struct chain_facts f;
	assert_int_equal(chain_facts(one.certificate, &f, &err), 0);
	assert_true(f.not_after == INT64_C(4102444800));
	assert_int_equal(f.name_count, 0);
	chain_facts_release(&f);
	issued_release(&one);
}

static void key_types_have_names_and_are_made_by_them(void **state)
{
	(void)state;
	static const char *const types[] = {
		"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-1024", "ed25519", "ecdsa-p521"};
	for (size_t i = 0; i < COUNT(types); i++) {
		struct issued one = issue((struct wish){.subject = "x", .key_type = types[i]});
		struct chain_facts f;
		assert_int_equal(chain_facts(one.certificate, &f, &err), 0);
		assert_string_equal(f.key_type, types[i]);
		chain_facts_release(&f);
		issued_release(&one);
	}
	assert_null(chain_make_key("rsa-1024", &err));
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_null(chain_make_key("", &err));
}

static void an_issuer_that_tries_the_terminal_is_cleaned(void **state)
{
	(void)state;
	struct issued rogue = issue((struct wish){.subject = "R\x1b[31m\xc3\xb3\nd", .authority = true});
	struct issued one = issue((struct wish){.subject = "x", .issuer = &rogue});
	struct chain_facts f;
	assert_int_equal(chain_facts(one.certificate, &f, &err), 0);
	assert_string_equal(f.issuer, "R?[31m\xc3\xb3 d");
	chain_facts_release(&f);
	issued_release(&rogue);
	issued_release(&one);
}

static void all_names_are_read_and_those_that_fit_are_counted(void **state)
{
	(void)state;
	auto_buf struct buf san = BUF_INIT(64 * 1024);
	struct chain_facts f;
	for (int i = 0; i < CHAIN_NAMES_MAX; i++)
		assert_int_equal(buf_addf(&san, "%sDNS:n%d.pl", i ? "," : "", i), 0);
	struct issued full = issue((struct wish){.subject = "x", .san = buf_text(&san)});
	assert_int_equal(chain_facts(full.certificate, &f, &err), 0);
	assert_int_equal(f.name_count, CHAIN_NAMES_MAX);
	assert_int_equal(chain_names_fitting(&f), CHAIN_NAMES_MAX);
	chain_facts_release(&f);
	assert_int_equal(buf_addf(&san, ",DNS:one.more"), 0);
	struct issued more = issue((struct wish){.subject = "x", .san = buf_text(&san)});
	assert_int_equal(chain_facts(more.certificate, &f, &err), 0);
	assert_int_equal(f.name_count, CHAIN_NAMES_MAX + 1);
	assert_string_equal(f.names[CHAIN_NAMES_MAX], "one.more");
	assert_int_equal(chain_names_fitting(&f), CHAIN_NAMES_MAX);
	chain_facts_release(&f);
	issued_release(&full);
	issued_release(&more);
}

static void a_name_with_a_nul_inside_is_an_error(void **state)
{
	(void)state;
	struct issued one = issue((struct wish){.subject = "x"});
	struct chain_facts f;
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	ASN1_STRING_set(value, "good.pl\0.evil.pl", 16);
	GENERAL_NAME_set0_value(name, GEN_DNS, value);
	sk_GENERAL_NAME_push(names, name);
	assert_int_equal(X509_add1_ext_i2d(one.certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT), 1);
	assert_int_equal(chain_facts(one.certificate, &f, &err), -1);
	assert_non_null(strstr(err.message, "NUL"));
	GENERAL_NAMES_free(names);
	issued_release(&one);
}

static void openssl_reasons_are_told_once(void **state)
{
	(void)state;
	assert_null(BIO_new_file("/nonexistent/anchors.pem", "r"));
	assert_int_equal(openssl_error(&err, ERROR_RETRY, "reading %s", "anchors"), -1);
	assert_string_equal(err.message, "reading anchors: No such file or directory");
	assert_int_equal(err.kind, ERROR_RETRY);
	openssl_error(&err, ERROR_PERMANENT, "nothing is queued");
	assert_string_equal(err.message, "nothing is queued");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_and_their_key_are_read_from_two_texts),
		cmocka_unit_test(one_combined_text_serves_as_both),
		cmocka_unit_test(certificates_alone_have_no_key_and_an_empty_rest),
		cmocka_unit_test(prose_between_blocks_and_carriage_returns_are_passed_over),
		cmocka_unit_test(keys_in_their_older_forms_are_read),
		cmocka_unit_test(an_encrypted_key_is_refused_in_both_forms_without_asking),
		cmocka_unit_test(two_keys_are_refused),
		cmocka_unit_test(a_key_among_the_certificates_is_refused),
		cmocka_unit_test(a_text_without_what_it_should_hold_is_refused),
		cmocka_unit_test(a_damaged_block_is_refused),
		cmocka_unit_test(bytes_behind_a_certificate_inside_its_block_are_refused),
		cmocka_unit_test(a_nul_byte_is_refused),
		cmocka_unit_test(the_caps_hold),
		cmocka_unit_test(a_trusted_certificate_is_refused),
		cmocka_unit_test(the_parts_stand_in_one_text_without_anything_between),
		cmocka_unit_test(a_key_that_is_not_there_cannot_be_written),
		cmocka_unit_test(the_binary_form_comes_back_whole),
		cmocka_unit_test(a_binary_form_cut_short_anywhere_is_refused),
		cmocka_unit_test(a_binary_form_with_lying_counts_is_refused),
		cmocka_unit_test(the_digest_is_over_length_and_der_of_each),
		cmocka_unit_test(the_digest_of_two_pairs_depends_on_their_order),
		cmocka_unit_test(hexadecimal_goes_both_ways_and_is_strict),
		cmocka_unit_test(the_facts_of_a_leaf_are_told),
		cmocka_unit_test(dates_beyond_2049_and_2038_are_told),
		cmocka_unit_test(key_types_have_names_and_are_made_by_them),
		cmocka_unit_test(an_issuer_that_tries_the_terminal_is_cleaned),
		cmocka_unit_test(all_names_are_read_and_those_that_fit_are_counted),
		cmocka_unit_test(a_name_with_a_nul_inside_is_an_error),
		cmocka_unit_test(openssl_reasons_are_told_once),
	};
	return cmocka_run_group_tests(tests, make_chain, free_chain);
}
