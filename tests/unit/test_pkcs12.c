/* PKCS#12 as OpenSSL reads it, the same file from the same content and another from any other, and the DER that it is
 * written in. */
#include "lib/crypto/pkcs12.h"
#include "lib/core/mem.h"
#include "lib/crypto/der.h"
#include "tests/unit/issue.h"

#include <openssl/pkcs12.h>

enum { DER_MAX = 4096, FILE_MAX = 64 * 1024 };

static const char name[] = "mail.domain.pl", secret[] = "correct horse";

struct content {
	struct issued authority, leaf;
	struct buf key, certificates[2], password;
	struct pkcs12 pkcs12;
};

static struct buf der_of(const X509 *certificate)
{
	struct buf der = BUF_INIT(DER_MAX);
	int len = i2d_X509(certificate, NULL);
	unsigned char *room = buf_reserve(&der, (size_t)len);
	assert_int_equal(i2d_X509(certificate, &room), len);
	buf_added(&der, (size_t)len);
	return der;
}

static int setup_of(void **state, const char *key_type)
{
	struct error err;
	struct content *c = mem_alloc(sizeof(*c));
	c->authority = issue((struct wish){.subject = "Authority", .authority = true});
	c->leaf = issue((struct wish){.subject = name, .issuer = &c->authority, .key_type = key_type});
	c->certificates[0] = der_of(c->leaf.certificate);
	c->certificates[1] = der_of(c->authority.certificate);
	c->key = BUF_INIT(DER_MAX);
	c->password = BUF_INIT(DER_MAX);
	buf_add(&c->password, secret, strlen(secret));
	c->pkcs12 = (struct pkcs12){&c->key, c->certificates, 2, name, &c->password};
	*state = c;
	return chain_write_key(c->leaf.key, &c->key, &err);
}

static int setup(void **state)
{
	return setup_of(state, "ecdsa-p256");
}

static int setup_rsa(void **state)
{
	return setup_of(state, "rsa-2048");
}

static int teardown(void **state)
{
	struct content *c = *state;
	buf_release(&c->key);
	buf_release(&c->certificates[0]);
	buf_release(&c->certificates[1]);
	buf_release(&c->password);
	issued_release(&c->leaf);
	issued_release(&c->authority);
	free(c);
	return 0;
}

static struct buf written(const struct pkcs12 *p)
{
	struct buf file = BUF_INIT(FILE_MAX);
	struct error err;
	assert_int_equal(pkcs12_write(p, &file, &err), 0);
	return file;
}

static PKCS12 *parsed(const struct buf *file)
{
	const unsigned char *at = file->data;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)file->len);
	assert_non_null(p12);
	assert_ptr_equal(at, file->data + file->len);
	return p12;
}

static void openssl_reads_key_leaf_and_chain(void **state)
{
	const struct content *c = *state;
	auto_buf struct buf file = written(&c->pkcs12);
	PKCS12 *p12 = parsed(&file);
	EVP_PKEY *key = NULL;
	X509 *leaf = NULL;
	STACK_OF(X509) *rest = NULL;
	assert_int_equal(PKCS12_verify_mac(p12, "another", -1), 0);
	assert_int_equal(PKCS12_parse(p12, secret, &key, &leaf, &rest), 1);
	assert_int_equal(EVP_PKEY_eq(key, c->leaf.key), 1);
	assert_int_equal(X509_cmp(leaf, c->leaf.certificate), 0);
	assert_int_equal(sk_X509_num(rest), 1);
	assert_int_equal(X509_cmp(sk_X509_value(rest, 0), c->authority.certificate), 0);
	int len;
	const unsigned char *alias = X509_alias_get0(leaf, &len);
	assert_int_equal(len, strlen(name));
	assert_memory_equal(alias, name, strlen(name));
	EVP_PKEY_free(key);
	X509_free(leaf);
	sk_X509_pop_free(rest, X509_free);
	PKCS12_free(p12);
}

/* What OpenSSL would encode of what it has decoded. */
static void it_is_der(void **state)
{
	struct content *c = *state;
	static const char *const names[] = {
		"a.pl", "sixteen.domain.p", "seventeen.domain", "mail.a-long-name.example.org"};
	for (size_t i = 0; i < COUNT(names); i++) {
		c->pkcs12.name = names[i];
		auto_buf struct buf file = written(&c->pkcs12);
		PKCS12 *p12 = parsed(&file);
		unsigned char *again = NULL;
		assert_int_equal(i2d_PKCS12(p12, &again), file.len);
		assert_memory_equal(again, file.data, file.len);
		OPENSSL_free(again);
		STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
		assert_int_equal(sk_PKCS7_num(safes), 2);
		STACK_OF(PKCS12_SAFEBAG) *bags = PKCS12_unpack_p7data(sk_PKCS7_value(safes, 1));
		char *friendly = PKCS12_get_friendlyname(sk_PKCS12_SAFEBAG_value(bags, 0));
		assert_string_equal(friendly, names[i]);
		OPENSSL_free(friendly);
		sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
		sk_PKCS7_pop_free(safes, PKCS7_free);
		PKCS12_free(p12);
	}
}

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void the_same_content_is_the_same_file(void **state)
{
	struct content *c = *state;
	auto_buf struct buf first = written(&c->pkcs12);
	auto_buf struct buf again = written(&c->pkcs12);
	assert_true(same(&first, &again));
	c->pkcs12.name = "imap.domain.pl";
	auto_buf struct buf renamed = written(&c->pkcs12);
	c->pkcs12.name = name;
	c->pkcs12.certificate_count = 1;
	auto_buf struct buf shorter = written(&c->pkcs12);
	c->pkcs12.certificate_count = 2;
	c->password.data[0]++;
	auto_buf struct buf other_password = written(&c->pkcs12);
	const struct buf *const files[] = {&first, &renamed, &shorter, &other_password};
	/* No salt stands in two of them. The MAC's is in front of the last four bytes, which are its count of
	 * rounds. */
	for (size_t i = 0; i < COUNT(files); i++)
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(
				files[i]->data + files[i]->len - 20, files[k]->data + files[k]->len - 20, 16);
}

static void what_does_not_fit_is_an_error(void **state)
{
	const struct content *c = *state;
	auto_buf struct buf whole = written(&c->pkcs12);
	struct error err;
	for (size_t max = 0; max < whole.len; max += max < 200 ? 1 : 97) {
		auto_buf struct buf file = BUF_INIT(max);
		assert_int_equal(pkcs12_write(&c->pkcs12, &file, &err), -1);
		assert_non_null(strstr(err.message, "mail.domain.pl cannot be made"));
		assert_null(strstr(err.message, secret));
	}
}

static void der_is_written_as_it_is_read(void **state)
{
	static const size_t lengths[] = {0, 1, 127, 128, 255, 256, 65535, 65536, 70000};
	static const uint8_t zeros[70000];
	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		auto_buf struct buf out = BUF_INIT(2 * sizeof(zeros));
		struct der_writer w = {.out = &out};
		size_t sequence = der_begin(&w, DER_SEQUENCE);
		der_put(&w, DER_OCTET_STRING, zeros, lengths[i]);
		der_end(&w, sequence);
		static const int tags[] = {DER_OCTET_STRING};
		assert_false(w.failed);
		assert_true(der_is_sequence_of(out.data, out.len, tags, 1, true));
	}
	static const struct {
		uint32_t value;
		size_t len;
		uint8_t der[7];
	} numbers[] = {{0, 3, {2, 1, 0}}, {127, 3, {2, 1, 127}}, {128, 4, {2, 2, 0, 128}},
		{10000, 4, {2, 2, 0x27, 0x10}}, {0xffffffff, 7, {2, 5, 0, 255, 255, 255, 255}}};
	for (size_t i = 0; i < COUNT(numbers); i++) {
		auto_buf struct buf out = BUF_INIT(16);
		struct der_writer w = {.out = &out};
		der_put_number(&w, numbers[i].value);
		assert_int_equal(out.len, numbers[i].len);
		assert_memory_equal(out.data, numbers[i].der, out.len);
	}
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(openssl_reads_key_leaf_and_chain),
		cmocka_unit_test_setup_teardown(openssl_reads_key_leaf_and_chain, setup_rsa, teardown),
		STORY(it_is_der),
		STORY(the_same_content_is_the_same_file),
		STORY(what_does_not_fit_is_an_error),
		cmocka_unit_test(der_is_written_as_it_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
