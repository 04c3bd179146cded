/* Sealing (HPKE, RFC 9180) and signing (Ed25519), with the vectors of the RFCs. */
#include "lib/core/base64.h"
#include "lib/core/buf.h"
#include "lib/core/mem.h"
#include "lib/crypto/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct error err;

static struct buf unhex(const char *hex)
{
	struct buf b = BUF_INIT(4096);
	for (; *hex; hex += 2) {
		unsigned byte;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_int_equal(buf_put_u8(&b, (uint8_t)byte), 0);
	}
	return b;
}

static void assert_bytes(const void *got, size_t len, const char *hex)
{
	auto_buf struct buf want = unhex(hex);
	assert_int_equal(len, want.len);
	assert_memory_equal(got, want.data, len);
}

/* RFC 9180 appendix A.2.1, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, sequence number 0. */
static const char rfc_private[] = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
static const char rfc_public[] = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
static const char rfc_ephemeral[] = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600";
static const char rfc_enc[] = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
static const char rfc_cipher[] =
	"1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
static const char rfc_info[] = "4f6465206f6e2061204772656369616e2055726e";
static const char rfc_aad[] = "436f756e742d30";
static const char rfc_plain[] = "4265617574792069732074727574682c20747275746820626561757479";

static void the_rfc_message_is_sealed_byte_for_byte(void **state)
{
	(void)state;
	auto_buf struct buf ephemeral = unhex(rfc_ephemeral), recipient = unhex(rfc_public);
	auto_buf struct buf info = unhex(rfc_info), aad = unhex(rfc_aad), plain = unhex(rfc_plain);
	auto_buf struct buf out = BUF_INIT(1000);
	assert_int_equal(seal_with_ephemeral(ephemeral.data, recipient.data, info.data, info.len, aad.data, aad.len,
				 plain.data, plain.len, &out, &err),
		0);
	assert_bytes(out.data, SEAL_ENC_SIZE, rfc_enc);
	assert_bytes(out.data + SEAL_ENC_SIZE, out.len - SEAL_ENC_SIZE, rfc_cipher);
}

static void the_rfc_message_is_opened(void **state)
{
	(void)state;
	auto_buf struct buf key = unhex(rfc_private), sealed = unhex(rfc_enc), cipher = unhex(rfc_cipher);
	auto_buf struct buf info = unhex(rfc_info), aad = unhex(rfc_aad), out = BUF_INIT(1000);
	assert_int_equal(buf_add(&sealed, cipher.data, cipher.len), 0);
	assert_int_equal(
		unseal(key.data, info.data, info.len, aad.data, aad.len, sealed.data, sealed.len, &out, &err), 0);
	assert_bytes(out.data, out.len, rfc_plain);
}

static void the_rfc_private_key_has_its_public_half(void **state)
{
	(void)state;
	auto_buf struct buf key = unhex(rfc_private);
	uint8_t public_key[SEAL_KEY_SIZE];
	assert_int_equal(seal_public(key.data, public_key, &err), 0);
	assert_bytes(public_key, sizeof(public_key), rfc_public);
}

struct parties {
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE];
	struct buf sealed;
};

static struct parties sealed_to_somebody(const char *plain)
{
	struct parties p = {.sealed = BUF_INIT(100000)};
	assert_int_equal(seal_keypair(p.private_key, p.public_key, &err), 0);
	assert_int_equal(seal(p.public_key, "info", 4, "aad", 3, plain, strlen(plain), &p.sealed, &err), 0);
	return p;
}

static int open_with(const struct parties *p, const char *info, const char *aad, struct buf *out)
{
	return unseal(p->private_key, info, strlen(info), aad, strlen(aad), p->sealed.data, p->sealed.len, out, &err);
}

static void what_is_sealed_comes_back_and_never_looks_the_same_twice(void **state)
{
	(void)state;
	struct parties p = sealed_to_somebody("the key");
	auto_buf struct buf out = BUF_INIT(100), again = BUF_INIT(1000);
	assert_int_equal(p.sealed.len, SEAL_ENC_SIZE + 7 + SEAL_TAG_SIZE);
	assert_int_equal(open_with(&p, "info", "aad", &out), 0);
	assert_string_equal(buf_text(&out), "the key");
	assert_int_equal(seal(p.public_key, "info", 4, "aad", 3, "the key", 7, &again, &err), 0);
	assert_memory_not_equal(again.data, p.sealed.data, SEAL_ENC_SIZE);
	assert_memory_not_equal(again.data + SEAL_ENC_SIZE, p.sealed.data + SEAL_ENC_SIZE, 7);
	buf_release(&p.sealed);
}

static void an_empty_message_is_a_message(void **state)
{
	(void)state;
	struct parties p = {.sealed = BUF_INIT(1000)};
	auto_buf struct buf out = BUF_INIT(10);
	assert_int_equal(seal_keypair(p.private_key, p.public_key, &err), 0);
	assert_int_equal(seal(p.public_key, NULL, 0, NULL, 0, NULL, 0, &p.sealed, &err), 0);
	assert_int_equal(p.sealed.len, SEAL_ENC_SIZE + SEAL_TAG_SIZE);
	assert_int_equal(unseal(p.private_key, NULL, 0, NULL, 0, p.sealed.data, p.sealed.len, &out, &err), 0);
	assert_int_equal(out.len, 0);
	p.sealed.data[p.sealed.len - 1] ^= 1;
	assert_int_equal(unseal(p.private_key, NULL, 0, NULL, 0, p.sealed.data, p.sealed.len, &out, &err), -1);
	buf_release(&p.sealed);
}

static void another_info_or_aad_opens_nothing(void **state)
{
	(void)state;
	struct parties p = sealed_to_somebody("the key");
	auto_buf struct buf out = BUF_INIT(100);
	assert_int_equal(open_with(&p, "infO", "aad", &out), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	assert_int_equal(open_with(&p, "info", "aaD", &out), -1);
	assert_int_equal(open_with(&p, "info", "", &out), -1);
	assert_int_equal(open_with(&p, "", "aad", &out), -1);
	assert_int_equal(out.len, 0);
	buf_release(&p.sealed);
}

static void one_changed_bit_or_a_missing_byte_opens_nothing(void **state)
{
	(void)state;
	struct parties p = sealed_to_somebody("the key");
	auto_buf struct buf out = BUF_INIT(100);
	for (size_t i = 0; i < p.sealed.len; i++) {
		/* X25519 ignores the top bit of a public key, so another bit is changed here. The top bit follows
		 * below: the key schedule binds the encapsulated key as it was sent. */
		p.sealed.data[i] ^= 1;
		assert_int_equal(open_with(&p, "info", "aad", &out), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		p.sealed.data[i] ^= 1;
	}
	for (size_t len = 0; len < p.sealed.len; len++)
		assert_int_equal(unseal(p.private_key, "info", 4, "aad", 3, p.sealed.data, len, &out, &err), -1);
	p.sealed.data[SEAL_ENC_SIZE - 1] ^= 0x80;
	assert_int_equal(open_with(&p, "info", "aad", &out), -1);
	assert_int_equal(out.len, 0);
	buf_release(&p.sealed);
}

static void another_recipient_opens_nothing(void **state)
{
	(void)state;
	struct parties p = sealed_to_somebody("the key");
	auto_buf struct buf out = BUF_INIT(100);
	assert_int_equal(seal_keypair(p.private_key, p.public_key, &err), 0);
	assert_int_equal(open_with(&p, "info", "aad", &out), -1);
	assert_int_equal(err.kind, ERROR_UNTRUSTED);
	assert_non_null(strstr(err.message, "seal: "));
	buf_release(&p.sealed);
}

/* These points have the order 1, 2, 4 or 8 (RFC 7748 section 6.1), so that the secret would be all zeros for
 * everybody. */
static void a_public_key_of_small_order_is_refused(void **state)
{
	(void)state;
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	for (size_t i = 0; i < COUNT(points); i++) {
		struct parties p = sealed_to_somebody("the key");
		auto_buf struct buf point = unhex(points[i]), out = BUF_INIT(1000);
		assert_int_equal(seal(point.data, "", 0, "", 0, "x", 1, &out, &err), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		memcpy(p.sealed.data, point.data, SEAL_ENC_SIZE);
		assert_int_equal(open_with(&p, "info", "aad", &out), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		assert_int_equal(out.len, 0);
		buf_release(&p.sealed);
	}
}

static void a_message_larger_than_its_buffer_is_an_error(void **state)
{
	(void)state;
	struct parties p = sealed_to_somebody("the key");
	auto_buf struct buf small = BUF_INIT(6);
	assert_int_equal(open_with(&p, "info", "aad", &small), -1);
	assert_int_equal(err.kind, ERROR_PERMANENT);
	assert_int_equal(seal(p.public_key, "", 0, "", 0, "x", 1, &small, &err), -1);
	assert_int_equal(small.len, 0);
	buf_release(&p.sealed);
}

/* RFC 8032 section 7.1 has these as its tests 1 to 3. */
static const struct {
	const char *private_key, *public_key, *message, *signature;
} rfc8032[] = {
	{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
		"b46b"
		"d25bf5f0595bbe24655141438e7a100b"},
	{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
		"1d8c"
		"387b2eaeb4302aeeb00d291612bb0c00"},
	{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
		"c659"
		"4a7c15e9716ed28dc027beceea1ec40a"},
};

static void the_rfc_signatures_are_made_and_accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rfc8032); i++) {
		auto_buf struct buf key = unhex(rfc8032[i].private_key), message = unhex(rfc8032[i].message);
		uint8_t public_key[SEAL_KEY_SIZE], signature[SEAL_SIGNATURE_SIZE];
		assert_int_equal(sign_public(key.data, public_key, &err), 0);
		assert_bytes(public_key, sizeof(public_key), rfc8032[i].public_key);
		assert_int_equal(sign(key.data, message.data, message.len, signature, &err), 0);
		assert_bytes(signature, sizeof(signature), rfc8032[i].signature);
		assert_int_equal(sign_check(public_key, message.data, message.len, signature, &err), 0);
	}
}

static void a_changed_text_signature_or_signer_is_refused(void **state)
{
	(void)state;
	uint8_t private_key[SEAL_KEY_SIZE], public_key[SEAL_KEY_SIZE], signature[SEAL_SIGNATURE_SIZE];
	char text[] = "certificate mail.domain.pl";
	assert_int_equal(sign_keypair(private_key, public_key, &err), 0);
	assert_int_equal(sign(private_key, text, sizeof(text), signature, &err), 0);
	assert_int_equal(sign_check(public_key, text, sizeof(text), signature, &err), 0);
	assert_int_equal(sign_check(public_key, text, sizeof(text) - 1, signature, &err), -1);
	for (size_t i = 0; i < sizeof(text); i++) {
		text[i] ^= 1;
		assert_int_equal(sign_check(public_key, text, sizeof(text), signature, &err), -1);
		text[i] ^= 1;
	}
	for (size_t i = 0; i < sizeof(signature); i++) {
		signature[i] ^= 0x80;
		assert_int_equal(sign_check(public_key, text, sizeof(text), signature, &err), -1);
		assert_int_equal(err.kind, ERROR_UNTRUSTED);
		signature[i] ^= 0x80;
	}
	assert_int_equal(sign_keypair(private_key, public_key, &err), 0);
	assert_int_equal(sign_check(public_key, text, sizeof(text), signature, &err), -1);
}

/* FIPS 180-4 defines SHA-256; these digests are well-known examples of it. */
static void sha256_is_sha256(void **state)
{
	(void)state;
	uint8_t digest[32];
	assert_int_equal(sha256("abc", 3, digest), 0);
	assert_bytes(digest, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(sha256("", 0, digest), 0);
	assert_bytes(digest, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4648 section 10 has these examples. */
static void base64_goes_both_ways(void **state)
{
	(void)state;
	static const struct {
		const char *plain, *text;
	} pairs[] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xbf", "+/+/"},
	};
	for (size_t i = 0; i < COUNT(pairs); i++) {
		auto_buf struct buf text = BUF_INIT(100), plain = BUF_INIT(100);
		assert_int_equal(base64_encode(pairs[i].plain, strlen(pairs[i].plain), &text), 0);
		assert_string_equal(buf_text(&text), pairs[i].text);
		assert_int_equal(base64_decode(pairs[i].text, &plain, &err), 0);
		assert_string_equal(buf_text(&plain), pairs[i].plain);
	}
}

static void base64_that_is_not_canonical_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {"=", "Z", "Zg",
		"Zg=", "Zg===", "====", "Zh==", "Zm9=", "Z===", "Zg==Zg==", "Zm 9v", " Zm9v", "Zm9v\n", "Zm9\n", "Zm9-",
		"Zm9_", "Zm\x80v", "Z=9v"};
	for (size_t i = 0; i < COUNT(texts); i++) {
		auto_buf struct buf out = BUF_INIT(100);
		assert_int_equal(buf_add(&out, "kept", 4), 0);
		if (base64_decode(texts[i], &out, &err) == 0)
			fail_msg("\"%s\" was accepted", texts[i]);
		assert_int_equal(err.kind, ERROR_USAGE);
		assert_string_equal(buf_text(&out), "kept");
	}
}

static void base64_keeps_to_the_cap(void **state)
{
	(void)state;
	auto_buf struct buf out = BUF_INIT(5), text = BUF_INIT(7);
	assert_int_equal(base64_decode("Zm9vYmFy", &out, &err), -1);
	assert_int_equal(out.len, 0);
	assert_int_equal(base64_encode("foobar", 6, &text), -1);
	assert_int_equal(text.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rfc_message_is_sealed_byte_for_byte),
		cmocka_unit_test(the_rfc_message_is_opened),
		cmocka_unit_test(the_rfc_private_key_has_its_public_half),
		cmocka_unit_test(what_is_sealed_comes_back_and_never_looks_the_same_twice),
		cmocka_unit_test(an_empty_message_is_a_message),
		cmocka_unit_test(another_info_or_aad_opens_nothing),
		cmocka_unit_test(one_changed_bit_or_a_missing_byte_opens_nothing),
		cmocka_unit_test(another_recipient_opens_nothing),
		cmocka_unit_test(a_public_key_of_small_order_is_refused),
		cmocka_unit_test(a_message_larger_than_its_buffer_is_an_error),
		cmocka_unit_test(the_rfc_signatures_are_made_and_accepted),
		cmocka_unit_test(a_changed_text_signature_or_signer_is_refused),
		cmocka_unit_test(sha256_is_sha256),
		cmocka_unit_test(base64_goes_both_ways),
		cmocka_unit_test(base64_that_is_not_canonical_is_refused),
		cmocka_unit_test(base64_keeps_to_the_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
