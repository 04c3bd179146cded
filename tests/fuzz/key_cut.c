/* A file from outside, which certsync-keys cuts its keys out of: what is left is a record that can be read, and none of
 * its bytes is a private key's. */
#include "hub/common/key_cut.h"
#include "hub/keys/cut.h"
#include "lib/core/mem.h"
#include "lib/core/fs.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plain_heap.h"
#include "tests/secret.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static struct vault *vault;

static void begin(void)
{
	struct error err;
	const char *place = getenv("TMPDIR");
	auto_free char *directory = mem_printf("%s/certsync-fuzz.XXXXXX", place ? place : P_tmpdir);
	FUZZ_CHECK(mkdtemp(directory) && (vault = vault_open(directory, &err)) != NULL);
	/* nothing is written there, because nothing is committed */
	FUZZ_CHECK(fs_remove_tree(AT_FDCWD, directory, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	auto_key_cut struct key_cut cut = {.key = NULL};
	auto_buf struct buf left = BUF_INIT(2 * KEY_CUT_MAX);
	if (size > CHAIN_PEM_MAX)
		return 0;
	if (!vault)
		begin();
	cut_file(vault, data, size, &left);
	FUZZ_CHECK(key_cut_decode(left.data, left.len, &cut, &err) == 0);
	EVP_PKEY *whole = chain_parse_key(data, size, &err);
	if (whole) {
		FUZZ_CHECK(!secret_in(whole, left.data, left.len));
		EVP_PKEY_free(whole);
	}
	/* And what the daemon is given must have no key, whatever bytes it is given. */
	auto_key_cut struct key_cut other = {.key = NULL};
	if (key_cut_decode(data, size, &other, &err) == 0 && other.chain.leaf)
		FUZZ_CHECK(!other.chain.key);
	return 0;
}
