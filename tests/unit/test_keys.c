/* certsync-keys as a daemon meets it, an honest one and one that is not: what it makes, keeps and signs, what it never
 * gives, and what it never signs. */
#include "tests/keys.h"
#include "tests/secret.h"
#include "tests/unit/issue.h"
#include "tests/unit/scratch.h"

#include "lib/core/base64.h"
#include "hub/common/key_cut.h"
#include "hub/common/keys_root.h"
#include "hub/keys/cut.h"
#include "hub/keys/signer.h"
#include "lib/core/files.h"
#include "lib/crypto/bundle.h"
#include "lib/crypto/signer_list.h"

#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct scene {
	struct scratch *scratch;
	char *directory;
	struct event_base *base;
	struct keys *keys;
	pid_t pid;
};

static int setup(void **state)
{
	struct scene *s = mem_alloc(sizeof(*s));
	struct error err;
	void *scratch;
	*state = s;
	if (scratch_setup(&scratch) < 0)
		return -1;
	s->scratch = scratch;
	s->directory = scratch_path(s->scratch, "keys");
	s->base = event_base_new();
	s->keys = keys_new(s->base, NULL, NULL);
	s->pid = keys_begin(s->keys, s->directory, &err);
	return s->pid > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	void *scratch = s->scratch;
	keys_free(s->keys);
	waitpid(s->pid, NULL, 0);
	event_base_free(s->base);
	free(s->directory);
	free(s);
	return scratch_teardown(&scratch);
}

struct made {
	struct scene *scene;
	bool done;
	struct buf spki;
	struct error error;
};

static void on_made(const struct buf *spki, const struct error *err, void *context)
{
	struct made *m = context;
	m->done = true;
	m->spki = BUF_INIT(KEYS_SPKI_MAX);
	if (spki)
		buf_add(&m->spki, spki->data, spki->len);
	else
		m->error = *err;
}

/* Makes a leaf's key of this type. Returns its public half, and its id. */
static EVP_PKEY *make(struct scene *s, const char *type, uint8_t id[KEYS_ID_SIZE])
{
	struct error err;
	struct made m = {.scene = s};
	assert_non_null(keys_make(s->keys, type, on_made, &m, &err));
	while (!m.done)
		assert_int_equal(event_base_loop(s->base, EVLOOP_ONCE), 0);
	if (!m.spki.len)
		fail_msg("%s", m.error.message);
	EVP_PKEY *key = chain_public_key(m.spki.data, m.spki.len, &err);
	assert_int_equal(sha256(m.spki.data, m.spki.len, id), 0);
	buf_release(&m.spki);
	return key;
}

static bool has_file(const struct scene *s, const char *place, const uint8_t id[KEYS_ID_SIZE])
{
	char hex[CHAIN_HEX_MAX];
	struct stat st;
	auto_free char *path = mem_printf("%s/%s/%s.pem", s->directory, place, chain_hex(id, hex));
	return stat(path, &st) == 0 && (st.st_mode & 07777) == 0600;
}

static void keys_are_made_kept_committed_and_dropped(void **state)
{
	static const char *const types[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048"};
	struct scene *s = *state;
	struct error err;
	uint8_t id[KEYS_ID_SIZE];
	for (size_t i = 0; i < COUNT(types); i++) {
		char type[CHAIN_KEY_TYPE_MAX];
		auto_pkey EVP_PKEY *key = make(s, types[i], id);
		assert_string_equal(chain_key_type(key, type), types[i]);
		assert_true(has_file(s, "pending", id));
		assert_int_equal(keys_find(s->keys, KEYS_LEAF, id, &err), 1);
		/* a key is known in its own class only */
		assert_int_equal(keys_find(s->keys, KEYS_ACCOUNT, id, &err), 0);
		assert_int_equal(keys_commit(s->keys, id, &err), 0);
		assert_int_equal(keys_commit(s->keys, id, &err), 0);
		assert_true(has_file(s, "leaf", id) && !has_file(s, "pending", id));
		/* A key that a revision uses is never dropped, whoever asks for it. */
		assert_int_equal(keys_drop(s->keys, KEYS_LEAF, id, &err), 0);
		assert_true(has_file(s, "leaf", id));
		assert_int_equal(keys_find(s->keys, KEYS_LEAF, id, &err), 1);
	}
	auto_pkey EVP_PKEY *key = make(s, "ecdsa-p256", id);
	assert_int_equal(keys_drop(s->keys, KEYS_LEAF, id, &err), 0);
	assert_int_equal(keys_find(s->keys, KEYS_LEAF, id, &err), 0);
	assert_int_equal(keys_commit(s->keys, id, &err), -1);
	assert_non_null(strstr(err.message, "bring it once more"));
}

static void a_key_of_a_type_that_there_is_not_is_refused(void **state)
{
	struct scene *s = *state;
	struct error err;
	struct made m = {.scene = s};
	assert_non_null(keys_make(s->keys, "dsa-1024", on_made, &m, &err));
	while (!m.done)
		assert_int_equal(event_base_loop(s->base, EVLOOP_ONCE), 0);
	assert_int_equal(m.spki.len, 0);
	assert_non_null(strstr(m.error.message, "key type dsa-1024 is unknown"));
	assert_int_equal(keys_signer(s->keys, true, (uint8_t[SEAL_KEY_SIZE]){0}, &err), 0); /* it goes on to serve */
}

static void a_request_has_the_names_and_the_key(void **state)
{
	struct scene *s = *state;
	struct error err;
	uint8_t id[KEYS_ID_SIZE];
	char *names[] = {(char[]){"mail.domain.pl"}, (char[]){"*.domain.pl"}, NULL};
	char *wrong[] = {(char[]){"mail domain.pl"}, NULL};
	auto_buf struct buf der = BUF_INIT(FRAME_RECORD_MAX);
	auto_pkey EVP_PKEY *key = make(s, "ecdsa-p384", id);
	assert_int_equal(keys_csr(s->keys, id, names, &der, &err), 0);
	const unsigned char *at = der.data;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_non_null(request);
	assert_int_equal(EVP_PKEY_eq(X509_REQ_get0_pubkey(request), key), 1);
	assert_int_equal(X509_REQ_verify(request, key), 1);
	X509_REQ_free(request);
	assert_int_equal(keys_csr(s->keys, id, wrong, &der, &err), -1);
}

static void base64url(const char *text, struct buf *out)
{
	assert_int_equal(base64url_encode(text, strlen(text), out), 0);
}

/* Signs this header and payload as a request of ACME. */
static int sign_these(struct scene *s, enum keys_class key_class, const uint8_t *id, const char *header,
	const char *payload, struct error *err)
{
	uint8_t signature[KEYS_SIGNATURE_SIZE];
	auto_buf struct buf input = BUF_INIT(4096);
	base64url(header, &input);
	buf_add(&input, ".", 1);
	if (payload)
		base64url(payload, &input);
	return keys_jws(s->keys, key_class, id, buf_text(&input), signature, err);
}

#define HEADER "{\"alg\":\"ES256\",\"kid\":\"https://ca/1\",\"nonce\":\"n\",\"url\":\"https://ca/2\"}"

static void an_account_signs_requests_and_a_leaf_its_revocation(void **state)
{
	static const char *const inputs[] = {
		"", ".", "a.b", "x", "eyJhbGciOiJFUzI1NiIsIm.a.b", "eyJhbGciOiJFUzI1NiIsIm+.a", "\n.a"};
	struct scene *s = *state;
	struct error err;
	uint8_t leaf[KEYS_ID_SIZE], account[KEYS_ID_SIZE], other[KEYS_ID_SIZE], signature[KEYS_SIGNATURE_SIZE];
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	auto_pkey EVP_PKEY *first = make(s, "ecdsa-p256", leaf);
	auto_pkey EVP_PKEY *second = make(s, "rsa-2048", other);
	assert_int_equal(keys_make_account(s->keys, &spki, &err), 0);
	assert_int_equal(sha256(spki.data, spki.len, account), 0);
	assert_int_equal(sign_these(s, KEYS_ACCOUNT, account, HEADER, "{}", &err), 0);
	assert_int_equal(sign_these(s, KEYS_ACCOUNT, account, HEADER, NULL, &err), 0);
	assert_int_equal(sign_these(s, KEYS_LEAF, leaf, HEADER, "{\"certificate\":\"MII\",\"reason\":1}", &err), 0);
	/* A key of one class cannot be used as one of another. */
	assert_int_equal(sign_these(s, KEYS_LEAF, leaf, HEADER, "{\"status\":\"deactivated\"}", &err), -1);
	assert_non_null(strstr(err.message, "signs no request of ACME but its revocation"));
	assert_int_equal(sign_these(s, KEYS_ACCOUNT, leaf, HEADER, "{}", &err), -1);
	assert_int_equal(sign_these(s, KEYS_LEAF, account, HEADER, "{\"certificate\":\"MII\"}", &err), -1);
	assert_int_equal(sign_these(s, KEYS_LEAF, other, HEADER, "{\"certificate\":\"MII\"}", &err), -1);
	assert_int_equal(sign_these(s, KEYS_ACCOUNT, account, "{\"alg\":\"none\"}", "{}", &err), -1);
	for (size_t i = 0; i < COUNT(inputs); i++) {
		assert_int_equal(keys_jws(s->keys, KEYS_ACCOUNT, account, inputs[i], signature, &err), -1);
		assert_non_null(strstr(err.message, "no request of ACME"));
	}
	/* This is what TLS would have signed: 64 blanks, a context, and a digest (RFC 8446 section 4.4.3). */
	assert_int_equal(
		keys_jws(s->keys, KEYS_LEAF, leaf,
			"                                                                TLS 1.3, server CertificateVerify",
			signature, &err),
		-1);
}

/* ---- bundles ---- */

static void fill_seal(struct keys_request *r, const struct chain *chain, struct buf *bytes)
{
	struct error err;
	*r = (struct keys_request){.op = KEYS_SEAL,
		.certificate = "mail.domain.pl",
		.revision = {1, 7},
		.flags = BUNDLE_ROLLBACK,
		.not_after = ISSUE_NOW + 90 * ISSUE_DAY,
		.pair_count = 1};
	assert_int_equal(chain_write_certificates(chain, bytes, &err), 0);
	assert_int_equal(chain_key_id(chain->key, r->pairs[0].id, &err), 0);
	r->pairs[0].chain = bytes->data;
	r->pairs[0].chain_len = bytes->len;
}

static void a_bundle_is_what_an_agent_opens(void **state)
{
	static struct keys_request request;
	struct scene *s = *state;
	struct error err;
	struct bundle_keys keys = {.signer_count = 1};
	struct issued leaf = issue((struct wish){.subject = "mail.domain.pl", .san = "DNS:mail.domain.pl"});
	auto_chain struct chain chain = issued_chain(&leaf, NULL, 0);
	auto_buf struct buf bytes = BUF_INIT(CHAIN_PEM_MAX), sealed = BUF_INIT(BUNDLE_MAX);
	auto_bundle struct bundle opened = {0};
	fill_seal(&request, &chain, &bytes);
	assert_int_equal(seal_keypair(keys.seal_private, keys.seal_public, &err), 0);
	assert_int_equal(keys_seal(s->keys, &request, keys.seal_public, &sealed, &err), -1);
	assert_non_null(strstr(err.message, "there is no signing key"));
	assert_int_equal(keys_signer(s->keys, false, keys.signers[0], &err), -1);
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_int_equal(keys_signer(s->keys, true, keys.signers[0], &err), 0);
	assert_int_equal(keys_seal(s->keys, &request, keys.seal_public, &sealed, &err), -1);
	assert_non_null(strstr(err.message, "is not here: restore"));
	assert_int_equal(keys_put(s->directory, chain.key, &err), 0);
	assert_int_equal(keys_seal(s->keys, &request, keys.seal_public, &sealed, &err), 0);
	if (bundle_open(sealed.data, sealed.len, &keys, &opened, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(opened.certificate, "mail.domain.pl");
	assert_int_equal(opened.revision.number, 7);
	assert_int_equal(opened.flags, BUNDLE_ROLLBACK);
	assert_int_equal(EVP_PKEY_eq(opened.pairs[0].key, leaf.key), 1);
	assert_int_equal(X509_cmp(opened.pairs[0].leaf, leaf.certificate), 0);
	issued_release(&leaf);
}

/* Nobody can have one kind of message signed as another: what begins like a bundle is signed as a bundle only, and a
 * list of host keys as such a list only. */
static void a_signature_is_for_one_kind_of_thing(void **state)
{
	struct scene *s = *state;
	struct error err;
	struct host_pins pins = {.serial = 7, .count = 1}, read;
	struct bundle_keys keys = {.signer_count = 1};
	struct bundle opened;
	auto_buf struct buf list = BUF_INIT(HOST_PINS_MAX);
	snprintf(pins.hosts[0], sizeof(pins.hosts[0]), "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	assert_int_equal(keys_signer(s->keys, true, keys.signers[0], &err), 0);
	assert_int_equal(keys_pins(s->keys, &pins, &list, &err), 0);
	assert_int_equal(host_pins_open(list.data, list.len, &keys, &read, &err), 0);
	assert_int_equal(read.serial, 7);
	assert_int_equal(bundle_open(list.data, list.len, &keys, &opened, &err), -1);
	snprintf(pins.hosts[0], sizeof(pins.hosts[0]), "CSB1");
	assert_int_equal(keys_pins(s->keys, &pins, &list, &err), -1);
	pins.count = 0;
	assert_int_equal(keys_pins(s->keys, &pins, &list, &err), -1);
}

static void the_signing_key_is_made_once(void **state)
{
	struct scene *s = *state;
	struct error err;
	uint8_t first[SEAL_KEY_SIZE], again[SEAL_KEY_SIZE];
	assert_int_equal(keys_signer(s->keys, true, first, &err), 0);
	assert_int_equal(keys_signer(s->keys, true, again, &err), 0);
	assert_memory_equal(first, again, sizeof(first));
}

static struct signer_list signers(struct scene *s, int64_t serial, bool both, const uint8_t by[SEAL_KEY_SIZE])
{
	struct error err;
	struct signer_list l;
	struct bundle_keys keys = {.signer_count = 1};
	auto_buf struct buf list = BUF_INIT(SIGNER_LIST_MAX);
	memcpy(keys.signers[0], by, SEAL_KEY_SIZE);
	assert_int_equal(keys_signers(s->keys, serial, both, &list, &err), 0);
	assert_int_equal(signer_list_open(list.data, list.len, &keys, &l, &err), 0);
	assert_int_equal(l.serial, serial);
	assert_int_equal(l.count, both ? 2 : 1);
	return l;
}

static void the_next_signing_key_takes_the_place_of_the_present_one(void **state)
{
	struct scene *s = *state;
	struct error err;
	uint8_t present[SEAL_KEY_SIZE], next[SEAL_KEY_SIZE], again[SEAL_KEY_SIZE];
	auto_buf struct buf list = BUF_INIT(SIGNER_LIST_MAX);
	assert_int_equal(keys_signer(s->keys, true, present, &err), 0);
	assert_int_equal(keys_next_signer(s->keys, false, next, &err), -1);
	assert_int_equal(err.kind, ERROR_USAGE);
	assert_int_equal(keys_signers(s->keys, 1, true, &list, &err), -1);
	assert_int_equal(keys_next_signer(s->keys, true, next, &err), 0);
	assert_int_equal(scratch_mode(s->scratch, "keys/next-sign.key"), 0600);
	assert_int_equal(keys_next_signer(s->keys, true, again, &err), 0);
	assert_memory_equal(next, again, sizeof(next));
	struct signer_list l = signers(s, 5, true, present);
	assert_true(signer_list_has(&l, present) && signer_list_has(&l, next));
	/* A switch to any other key than the next one is refused. */
	assert_int_equal(keys_switch_signer(s->keys, (const uint8_t[SEAL_KEY_SIZE]){1}, &err), -1);
	assert_string_equal(err.message, "the next signing key is another one");
	assert_int_equal(keys_signer(s->keys, false, again, &err), 0);
	assert_memory_equal(present, again, sizeof(present));
	assert_int_equal(keys_switch_signer(s->keys, next, &err), 0);
	/* the daemon asks again when the answer was lost */
	assert_int_equal(keys_switch_signer(s->keys, next, &err), 0);
	assert_int_equal(keys_signer(s->keys, false, again, &err), 0);
	assert_memory_equal(next, again, sizeof(next));
	l = signers(s, 6, false, next);
	assert_true(signer_list_has(&l, next));
	for (size_t i = 0; i < 2; i++) {
		auto_free char *gone = scratch_path(s->scratch, i ? "keys/next-sign.key" : "keys/gone-sign.key");
		assert_int_equal(access(gone, F_OK), -1);
	}
}

static int truncateat(int dir, const char *name)
{
	auto_close int fd = openat(dir, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	return fd < 0 ? -1 : 0;
}

/* The process is killed behind each step of the exchange: the present key is there, and the old one is wiped as soon as
 * it is not the present one. */
static void an_exchange_that_was_killed_leaves_one_signing_key(void **state)
{
	const struct scene *s = *state;
	struct error err;
	for (int steps = 0; steps < 4; steps++) {
		struct signer signer;
		uint8_t old[SEAL_KEY_SIZE], next[SEAL_KEY_SIZE];
		auto_free char *name = mem_printf("killed%d", steps), *path = scratch_path(s->scratch, name);
		assert_int_equal(mkdir(path, 0700), 0);
		auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(signer_open(&signer, dir, &err), 0);
		assert_int_equal(signer_make(&signer, dir, &err), 0);
		memcpy(old, signer.public_key, sizeof(old));
		assert_int_equal(signer_next(dir, true, next, &err), 0);
		if (steps > 0)
			assert_int_equal(linkat(dir, "sign.key", dir, "gone-sign.key", 0), 0);
		auto_close int held = openat(dir, "sign.key", O_RDONLY | O_CLOEXEC);
		if (steps > 1)
			assert_int_equal(renameat(dir, "next-sign.key", dir, "sign.key"), 0);
		if (steps > 2) /* the old key is overwritten, and not removed yet */
			assert_int_equal(truncateat(dir, "gone-sign.key"), 0);
		signer_release(&signer);
		assert_int_equal(signer_open(&signer, dir, &err), 0);
		assert_memory_equal(signer.public_key, steps > 1 ? next : old, sizeof(old));
		assert_int_equal(faccessat(dir, "gone-sign.key", F_OK, 0), -1);
		uint8_t bytes[SEAL_KEY_SIZE], zeros[SEAL_KEY_SIZE] = {0};
		ssize_t got = pread(held, bytes, sizeof(bytes), 0);
		assert_int_equal(got, steps > 2 ? 0 : SEAL_KEY_SIZE);
		assert_int_equal(steps == 2, got > 0 && memcmp(bytes, zeros, sizeof(bytes)) == 0);
		assert_int_equal(signer_switch(&signer, dir, next, &err), 0);
		assert_memory_equal(signer.public_key, next, sizeof(next));
		signer_release(&signer);
	}
}

/* ---- a rogue daemon ---- */

/* What a private key of the hub is known by in an answer. */
struct secrets {
	EVP_PKEY *leaf, *account;
	uint8_t signer[SEAL_KEY_SIZE];
};

static bool has_secret(const struct secrets *of, const void *bytes, size_t len)
{
	return secret_in(of->leaf, bytes, len) || secret_in(of->account, bytes, len) ||
		secret_number_in(of->signer, sizeof(of->signer), bytes, len);
}

/* Whether anything of them is in the answer to a request of which so many bytes are sent. */
static bool answers_with(struct scene *s, const struct buf *request, size_t len, const struct secrets *secrets)
{
	struct frame frame;
	struct keys_reply reply;
	struct error err;
	int ends[2];
	bool leaked = false;
	struct frame_stream in;
	static const char record[] = {'c'};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(pass_send(keys_door(s->keys), record, sizeof(record), ends[1], &err), 0);
	close(ends[1]);
	assert_int_equal(write(ends[0], request->data, len), (ssize_t)len);
	shutdown(ends[0], SHUT_WR);
	frame_stream_init(&in, ends[0], 1u << FRAME_RECORD | 1u << FRAME_BUNDLE);
	if (frame_receive(&in, &frame, &err) == 1) {
		leaked = has_secret(secrets, frame.data, frame.len);
		assert_int_equal(keys_reply_decode(&frame, &reply, &err), 0);
	}
	frame_stream_release(&in);
	close(ends[0]);
	return leaked;
}

/* Whole, and cut. */
static void ask_in_every_length(struct scene *s, const struct keys_request *r, const struct secrets *secrets)
{
	auto_buf struct buf request = BUF_INIT(FRAME_BUNDLE_MAX + FRAME_HEADER_SIZE);
	if (keys_request_encode(r, &request) < 0)
		return;
	const size_t lengths[] = {FRAME_HEADER_SIZE + 1, request.len / 2, request.len - 1, request.len};
	for (size_t i = 0; i < COUNT(lengths); i++)
		assert_false(answers_with(s, &request, lengths[i], secrets));
}

static EVP_PKEY *key_in(const struct scene *s, const char *place, const uint8_t id[KEYS_ID_SIZE])
{
	char hex[CHAIN_HEX_MAX];
	struct error err;
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	auto_free char *file = mem_printf("keys/%s/%s.pem", place, chain_hex(id, hex));
	scratch_read(s->scratch, file, &text);
	EVP_PKEY *key = chain_parse_key(text.data, text.len, &err);
	assert_non_null(key);
	/* What is looked for is found where it is. */
	assert_true(secret_in(key, text.data, text.len));
	return key;
}

/* Every request that there is, about every key that is held. */
static void no_answer_has_a_private_key(void **state)
{
	static struct keys_request r;
	struct scene *s = *state;
	struct error err;
	struct issued leaf = issue((struct wish){.subject = "mail.domain.pl", .san = "DNS:mail.domain.pl"});
	auto_chain struct chain chain = issued_chain(&leaf, NULL, 0);
	struct secrets secrets = {.leaf = leaf.key};
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX), sign_key = BUF_INIT(64);
	uint8_t signer[SEAL_KEY_SIZE], stranger[SEAL_KEY_SIZE], ignored[SEAL_KEY_SIZE], ids[2][KEYS_ID_SIZE];
	assert_int_equal(keys_signer(s->keys, true, signer, &err), 0);
	assert_int_equal(keys_put(s->directory, chain.key, &err), 0);
	assert_int_equal(chain_key_id(chain.key, ids[0], &err), 0);
	assert_int_equal(keys_make_account(s->keys, &spki, &err), 0);
	assert_int_equal(sha256(spki.data, spki.len, ids[1]), 0);
	secrets.account = key_in(s, "account", ids[1]);
	scratch_read(s->scratch, "keys/sign.key", &sign_key);
	assert_int_equal(sign_key.len, sizeof(secrets.signer));
	memcpy(secrets.signer, sign_key.data, sizeof(secrets.signer));
	assert_int_equal(seal_keypair(ignored, stranger, &err), 0);
	for (int op = 0; op <= KEYS_OPS + 1; op++) {
		for (int of = 0; of < KEYS_CLASSES * 2; of++) {
			auto_buf struct buf bytes = BUF_INIT(CHAIN_PEM_MAX);
			fill_seal(&r, &chain, &bytes);
			memcpy(r.recipient, stranger, sizeof(stranger));
			memcpy(r.id, ids[of / KEYS_CLASSES], sizeof(r.id));
			r.op = (enum keys_op)op;
			r.key_class = (enum keys_class)(of % KEYS_CLASSES);
			r.input = (const uint8_t *)"a.b";
			r.input_len = 3;
			r.name_count = 1;
			snprintf(r.names[0], sizeof(r.names[0]), "mail.domain.pl");
			ask_in_every_length(s, &r, &secrets);
		}
	}
	assert_int_equal(keys_find(s->keys, KEYS_LEAF, ids[0], &err), 1);
	explicit_bzero(secrets.signer, sizeof(secrets.signer));
	chain_free_pkey(&secrets.account);
	issued_release(&leaf);
}

static void what_is_no_request_ends_that_connection_alone(void **state)
{
	static const char record[] = {'c'};
	struct scene *s = *state;
	struct error err;
	uint8_t signer[SEAL_KEY_SIZE];
	for (int i = 0; i < 300; i++) {
		uint8_t noise[64];
		char byte;
		int ends[2];
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)(i * 31 + (int)k * 7);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		assert_int_equal(pass_send(keys_door(s->keys), record, sizeof(record), ends[1], &err), 0);
		close(ends[1]);
		assert_true(send(ends[0], noise, sizeof(noise), MSG_NOSIGNAL) > 0);
		shutdown(ends[0], SHUT_WR);
		while (read(ends[0], &byte, 1) > 0)
			;
		close(ends[0]);
	}
	assert_int_equal(keys_signer(s->keys, true, signer, &err), 0);
}

/* ---- what is brought ---- */

static const char prose[] = "# my key\n";

/* Whatever the file, its order and its state, what is left of it has no byte of the key. */
static void nothing_of_a_key_is_left(void **state)
{
	struct scene *s = *state;
	struct error err;
	auto_free char *directory = scratch_path(s->scratch, "own");
	struct vault *vault = vault_open(directory, &err);
	struct issued leaf = issue((struct wish){.subject = "mail.domain.pl", .san = "DNS:mail.domain.pl"});
	auto_chain struct chain chain = issued_chain(&leaf, NULL, 0);
	auto_buf struct buf pem = BUF_INIT(CHAIN_PEM_MAX);
	auto_buf struct buf text = BUF_INIT(CHAIN_PEM_MAX);
	assert_non_null(vault);
	assert_int_equal(chain_write_pem(&chain, CHAIN_KEY, &pem, &err), 0);
	auto_free char *key = mem_strdup(buf_text(&pem));
	const char *line = strchr(key, '\n') + 1;
	auto_buf struct buf certificate = BUF_INIT(CHAIN_PEM_MAX);
	assert_int_equal(chain_write_pem(&chain, CHAIN_LEAF, &certificate, &err), 0);
	const char *leaf_pem = buf_text(&certificate);
	auto_free char *body = mem_strndup(line, (size_t)(strstr(line, "-----END") - line));
	char *const shapes[] = {
		mem_strdup(key),
		mem_printf("%s%s", key, leaf_pem),
		mem_printf("%s%s%s", leaf_pem, prose, key),
		mem_printf("%s%s", key, key),
		mem_printf("%.*s", (int)strlen(key) - 30, key),
		mem_printf("%s%.*s", leaf_pem, (int)strlen(key) - 30, key),
		mem_printf("-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n", body),
		mem_printf("-----BEGIN X509 CERTIFICATE-----\n%s-----END X509 CERTIFICATE-----\n%s", body, leaf_pem),
		mem_printf("-----BEGIN TRUSTED CERTIFICATE-----\n%s-----END TRUSTED CERTIFICATE-----\n", body),
		mem_printf("-----BEGIN EC PRIVATE KEY-----\n%s-----END EC PRIVATE KEY-----\n%s", body, leaf_pem),
		mem_printf("-----BEGIN ENCRYPTED PRIVATE KEY-----\n%s-----END ENCRYPTED PRIVATE KEY-----\n%s", body,
			leaf_pem),
		mem_printf("-----BEGIN PRIVATE KEY----\n%s-----END PRIVATE KEY-----\n%s", body, leaf_pem),
		mem_printf("-----BEGIN PUBLIC KEY-----\n%s-----END PUBLIC KEY-----\n%s", body, leaf_pem),
		mem_printf("%s%s", leaf_pem, body),
	};
	for (size_t i = 0; i < COUNT(shapes); i++) {
		auto_buf struct buf left = BUF_INIT(2 * KEY_CUT_MAX);
		auto_key_cut struct key_cut cut = {.key = NULL};
		assert_true(secret_in(leaf.key, shapes[i], strlen(shapes[i])));
		cut_file(vault, shapes[i], strlen(shapes[i]), &left);
		assert_false(secret_in(leaf.key, left.data, left.len));
		assert_int_equal(key_cut_decode(left.data, left.len, &cut, &err), 0);
		if (i < 3)
			assert_true(cut.key && !cut.damage[0]);
		assert_int_equal(cut.chain.leaf != NULL && !cut.damage[0], i == 1 || i == 2 || i == 9 || i >= 12);
		free(shapes[i]);
	}
	vault_close(vault);
	issued_release(&leaf);
}

static void a_key_whose_halves_do_not_belong_together_is_named(void **state)
{
	struct scene *s = *state;
	struct error err;
	auto_free char *directory = scratch_path(s->scratch, "own");
	struct vault *vault = vault_open(directory, &err);
	auto_pkey EVP_PKEY *one = chain_make_key("ecdsa-p256", &err), *two = chain_make_key("ecdsa-p256", &err);
	auto_buf struct buf pkcs8 = BUF_INIT(4096), other = BUF_INIT(4096), left = BUF_INIT(2 * KEY_CUT_MAX),
			    text = BUF_INIT(8192);
	auto_key_cut struct key_cut cut = {.key = NULL};
	assert_int_equal(chain_write_key(one, &pkcs8, &err), 0);
	assert_int_equal(chain_write_key(two, &other, &err), 0);
	/* The public point stands at the end of the encoding. */
	assert_int_equal(pkcs8.len, other.len);
	memcpy(pkcs8.data + pkcs8.len - 64, other.data + other.len - 64, 64);
	BIO *bio = BIO_new(BIO_s_mem());
	assert_true(PEM_write_bio(bio, "PRIVATE KEY", "", pkcs8.data, (long)pkcs8.len) > 0);
	char *pem;
	long len = BIO_get_mem_data(bio, &pem);
	cut_file(vault, pem, (size_t)len, &left);
	BIO_free(bio);
	assert_int_equal(key_cut_decode(left.data, left.len, &cut, &err), 0);
	assert_null(cut.key);
	assert_non_null(strstr(cut.damage, "the key file is damaged, give the right one"));
	vault_close(vault);
}

/* ---- what is recorded as fixed ---- */

static void the_root_halfs_records_come_back_as_they_went(void **state)
{
	(void)state;
	struct error err;
	for (int op = KEYS_ROOT_ADOPT; op <= KEYS_ROOT_PING; op++) {
		struct keys_root_request in = {.op = (enum keys_root_op)op,
						 .adopt = KEYS_ADOPT_ACCOUNT,
						 .data = (const uint8_t *)"xyz",
						 .len = 3},
					 out;
		auto_buf struct buf bytes = BUF_INIT(FRAME_RECORD_MAX);
		assert_int_equal(keys_root_request_encode(&in, &bytes), 0);
		assert_int_equal(keys_root_request_decode(bytes.data, bytes.len, &out, &err), 0);
		assert_int_equal(out.op, op);
		for (size_t len = 0; len < bytes.len; len++)
			assert_int_equal(keys_root_request_decode(bytes.data, len, &out, &err), -1);
		assert_int_equal(buf_put_u8(&bytes, 0), 0);
		assert_int_equal(keys_root_request_decode(bytes.data, bytes.len, &out, &err), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_are_made_kept_committed_and_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_of_a_type_that_there_is_not_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_has_the_names_and_the_key, setup, teardown),
		cmocka_unit_test_setup_teardown(an_account_signs_requests_and_a_leaf_its_revocation, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bundle_is_what_an_agent_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signature_is_for_one_kind_of_thing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_signing_key_is_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_next_signing_key_takes_the_place_of_the_present_one, setup, teardown),
		cmocka_unit_test_setup_teardown(an_exchange_that_was_killed_leaves_one_signing_key, setup, teardown),
		cmocka_unit_test_setup_teardown(no_answer_has_a_private_key, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_request_ends_that_connection_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_of_a_key_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_whose_halves_do_not_belong_together_is_named, setup, teardown),
		cmocka_unit_test(the_root_halfs_records_come_back_as_they_went),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
