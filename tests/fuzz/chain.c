/* PEM from outside: it is parsed, its SCTs are read, it is put into order, written anew, verified with itself as trust
 * anchors, and judged as a probe does. */
#include "lib/crypto/chain.h"
#include "lib/crypto/chain_order.h"
#include "lib/crypto/sct.h"
#include "lib/crypto/verify.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plain_heap.h"

#include <openssl/x509v3.h>

enum { NOW = 1800000000 };

static void judge(const uint8_t *data, size_t size, struct chain *c)
{
	char path[FUZZ_PATH_MAX];
	struct error err;
	auto_close __attribute__((unused)) int fd = fuzz_file(data, size, path);
	struct anchors *anchors = anchors_load(path, &err);
	static const char *const names[] = {"mail.domain.pl", NULL}, *const allow[] = {"*.domain.pl", NULL};
	const struct verify_policy policy = {.anchors = anchors, .now = NOW, .required = names, .allow = allow};
	if (!anchors)
		return;
	verify_served(c->leaf, c->rest, names[0], anchors, NOW, &err);
	if (verify_chain(c, &policy, &err) == 0)
		FUZZ_CHECK(X509_check_host(c->leaf, names[0], 0, 0, NULL) == 1);
	anchors_free(anchors);
}

/* What was written anew must be accepted again, and must be the same. */
static void again(const struct chain *c)
{
	struct error err;
	uint8_t before[CHAIN_SHA256_SIZE], after[CHAIN_SHA256_SIZE];
	auto_chain struct chain second = {0};
	auto_buf struct buf pem = BUF_INIT(4 * CHAIN_PEM_MAX);
	unsigned parts = CHAIN_LEAF | CHAIN_REST | (c->key ? CHAIN_KEY : 0);
	if (chain_write_pem(c, parts, &pem, &err) < 0 || pem.len > CHAIN_PEM_MAX)
		return;
	FUZZ_CHECK(!strstr(buf_text(&pem), "\n\n"));
	FUZZ_CHECK(
		chain_parse_pem(pem.data, pem.len, c->key ? pem.data : NULL, c->key ? pem.len : 0, &second, &err) == 0);
	chain_digest(c, 1, before);
	chain_digest(&second, 1, after);
	FUZZ_CHECK(memcmp(before, after, sizeof(before)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	struct chain_facts facts;
	struct sct_list scts;
	auto_chain struct chain c = {0};
	if (chain_parse_pem(data, size, data, size, &c, &err) < 0 && chain_parse_pem(data, size, NULL, 0, &c, &err) < 0)
		return 0;
	if (chain_facts(c.leaf, &facts, &err) == 0)
		chain_facts_release(&facts);
	FUZZ_CHECK(sct_read(c.leaf, &scts, &err) == 0 ? scts.count <= SCT_MAX : scts.count == 0);
	if (chain_order(&c, NULL, 0, &err) < 0)
		return 0;
	again(&c);
	judge(data, size, &c);
	return 0;
}
