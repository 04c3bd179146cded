/* Probes of one certificate's endpoints, round by round, on the agent's loop. */
#ifndef CERTSYNC_AGENT_COMMON_PROBER_H
#define CERTSYNC_AGENT_COMMON_PROBER_H

#include "agent/common/config.h"
#include "lib/wire/message.h"

#include <event2/event.h>
#include <stdbool.h>

struct prober;

/* `seen` has one element for each endpoint, in the order of the configuration; only the wanted ones are filled in. This
 * is called from the loop. */
typedef void prober_done(const struct message_probe *seen, void *context);

/* `config`, with what all probes have in common, and `certificate` of it are borrowed. */
struct prober *prober_new(struct event_base *base, const struct agent_config *config,
	const struct agent_certificate *certificate, prober_done *done, void *context);
void prober_free(struct prober *p);

size_t prober_count(const struct prober *p); /* at most MESSAGE_PROBES_MAX */
const char *prober_endpoint(const struct prober *p, size_t i);
const char *prober_service(const struct prober *p, size_t i);

/* Starts a round with all wanted endpoints at once. At least one must be wanted, and no round may be under way. */
void prober_start(struct prober *p, const bool *wanted);
void prober_cancel(struct prober *p);

#endif
