#include "hub/daemon/view/overview.h"
#include "lib/core/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { OVERVIEW_LATE = 60, OVERVIEW_DISK_MIN = 1024 * 1024 };

/* The hub is not well when its store cannot be read, its root half is gone, or its loop no longer does what is due. */
void overview_trouble(const struct situation_hub *h, char ret[OVERVIEW_TROUBLE_MAX])
{
	ret[0] = '\0';
	if (h->access_error[0] || h->disk_error[0])
		snprintf(ret, OVERVIEW_TROUBLE_MAX, "the store in %s cannot be read and written: %s", h->state,
			h->access_error[0] ? h->access_error : h->disk_error);
	else if (h->disk_free < OVERVIEW_DISK_MIN)
		snprintf(ret, OVERVIEW_TROUBLE_MAX, "the disk of %s is full: nothing can be published or kept",
			h->state);
	else if (!h->has_root)
		snprintf(ret, OVERVIEW_TROUBLE_MAX,
			"certsync-hub-root is not there: no watched path is read, no agent's key written");
	else if (h->keys_trouble[0])
		snprintf(ret, OVERVIEW_TROUBLE_MAX, "%s", h->keys_trouble);
	else if (h->root_error[0])
		snprintf(ret, OVERVIEW_TROUBLE_MAX, "agents' keys could not be written for sshd: %s", h->root_error);
	else if (h->late > OVERVIEW_LATE)
		snprintf(ret, OVERVIEW_TROUBLE_MAX, "what was due %lld seconds ago has not been done",
			(long long)h->late);
}

void overview_take(struct hub *hub, bool with_store, struct overview *ret)
{
	situation_take(hub, clock_wall(), with_store, &ret->is);
	overview_trouble(&ret->is.hub, ret->trouble);
	ret->alerts = alert_told(hub, &ret->alert_count);
	ret->channels = alert_channels(hub, &ret->channel_count);
}

void overview_release(struct overview *o)
{
	situation_release(&o->is);
	free(o->channels);
	*o = (struct overview){0};
}
