/* Makes the set of these chains, which are taken over, in the way of the agent's root half: from the PEM that its child
 * writes. */
#ifndef CERTSYNC_TEST_SET_OF_H
#define CERTSYNC_TEST_SET_OF_H

#include "agent/root/file_set.h"
#include "agent/root/opener_child.h"

static inline int set_of(
	struct revision revision, struct chain *chains, size_t count, struct file_set *ret, struct error *err)
{
	struct parts pairs[BUNDLE_PAIRS_MAX] = {PARTS_INIT, PARTS_INIT};
	int result = 0;
	for (size_t i = 0; i < count; i++) {
		result = result < 0 ? -1 : parts_make(&chains[i], &pairs[i], err);
		chain_release(&chains[i]);
	}
	if (result == 0)
		result = file_set_make(revision, pairs, count, ret, err);
	for (size_t i = 0; i < count; i++)
		parts_release(&pairs[i]);
	return result;
}

#endif
