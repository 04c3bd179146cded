/* The files of a watched source: whatever they hold, a key and a chain that are paired belong together. */
#include "hub/daemon/publish/pairing.h"
#include "lib/core/frame.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plain_heap.h"

enum { NOW = 1800000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"mail.domain.pl", NULL};
	struct files files;
	struct error err;
	auto_pairing struct pairing p = {0};
	if (size > FRAME_FILES_MAX || files_decode(data, size, &files, &err) < 0)
		return 0;
	pairing_find(&files, names, NULL, NOW, &p);
	FUZZ_CHECK(p.count <= STORE_PAIRS_MAX && (p.count == 0) == (p.file == NULL));
	for (size_t i = 0; i < p.count; i++)
		FUZZ_CHECK(EVP_PKEY_eq(p.pairs[i].key, X509_get0_pubkey(p.pairs[i].leaf)) == 1);
	return 0;
}
