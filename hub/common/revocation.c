#include "hub/common/revocation.h"
#include "lib/core/mem.h"

#include <stddef.h>
#include <string.h>

const char revoked_reasons[] = "unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation";

int revoked_code(const char *reason)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {{"unspecified", 0}, {"keyCompromise", 1}, {"affiliationChanged", 3}, {"superseded", 4},
		{"cessationOfOperation", 5}};
	for (size_t i = 0; i < COUNT(codes); i++)
		if (strcmp(reason, codes[i].name) == 0)
			return codes[i].code;
	return REVOKED_CODE_NONE;
}
