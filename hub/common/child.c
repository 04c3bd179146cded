#include "hub/common/child.h"
#include "lib/core/mem.h"
#include "lib/core/pass.h"

#include <stdint.h>
#include <unistd.h>

int child_end_send(int link, enum hub_child whose, int end, struct error *err)
{
	const uint8_t record = (uint8_t)whose;
	return pass_send(link, &record, sizeof(record), end, err);
}

int child_end_receive(int link, enum hub_child *ret_whose, int *ret_end, struct error *err)
{
	uint8_t record;
	auto_close int end = -1;
	long got = pass_receive(link, &record, sizeof(record), &end, err);
	if (got == PASS_NONE)
		return CHILD_NO_END;
	if (got <= 0)
		return (int)got;
	if (record >= HUB_CHILDREN || end < 0)
		return error_set(err, ERROR_PERMANENT, "a record that gives no end of a socket");
	*ret_whose = (enum hub_child)record;
	*ret_end = steal_fd(&end);
	return 1;
}
