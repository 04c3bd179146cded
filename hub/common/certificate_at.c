#include "hub/common/certificate_at.h"

struct hub_certificate certificate_at(const struct hub_certificate *c, size_t at)
{
	struct hub_certificate result = *c;
	result.acme = c->acmes[at];
	if (at > 0 || !c->profile)
		result.profile = result.acme->profile;
	if (at > 0 || !c->preferred_chain)
		result.preferred_chain = result.acme->preferred_chain;
	return result;
}
