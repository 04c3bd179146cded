#include "hub/daemon/acme/order_answers.h"
#include "hub/daemon/acme/thumbprint.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_MAX = 512, AUTHORIZATION_MAX = 1024 };

/* What proves a name to an authority is the account's own thumbprint behind the token. */
static int check(
	struct store *store, const char *account, const char *token, const char *authorization, struct error *err)
{
	char own[JWS_THUMBPRINT_MAX];
	size_t len = strlen(token);
	int found = thumbprint_get(store, account, own, err);
	if (found < 0)
		return -1;
	if (!found || strncmp(authorization, token, len) != 0 || authorization[len] != '.' ||
		strcmp(authorization + len + 1, own) != 0)
		return error_set(err, ERROR_PERMANENT,
			"the worker wants the token \"%.80s\" answered for another account than this order's", token);
	return 0;
}

static void drop_last(struct order_answers *a)
{
	char *last = a->given[--a->count];
	if (a->responder)
		responder_remove(a->responder, last);
	else
		challenge_remove(a->challenge, last);
	free(last);
}

static void take_back(struct order_answers *a, const char *given)
{
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->given[i], given) != 0)
			continue;
		char *found = a->given[i];
		a->given[i] = a->given[a->count - 1];
		a->given[a->count - 1] = found;
		drop_last(a);
	}
}

int order_answers_give(struct order_answers *a, struct store *store, const char *account, const cJSON *message,
	responder_ready *ready, void *context, struct error *err)
{
	const char *name = json_string(message, "name", 253, err);
	const char *token = name ? json_string(message, "token", TOKEN_MAX, err) : NULL;
	const char *authorization = token ? json_string(message, "authorization", AUTHORIZATION_MAX, err) : NULL;
	if (!authorization || check(store, account, token, authorization, err) < 0)
		return -1;
	/* The order of the second pair is proven anew, by the name that is there already. */
	take_back(a, a->responder ? name : token);
	if (a->count == ORDER_ANSWERS_MAX)
		return error_set(
			err, ERROR_PERMANENT, "the server wants more than %d challenges answered", ORDER_ANSWERS_MAX);
	if (a->responder ? responder_add(a->responder, name, authorization, ready, context, err)
			 : challenge_add(a->challenge, token, authorization, err))
		return -1;
	a->given[a->count++] = mem_strdup(a->responder ? name : token);
	return a->responder ? 0 : 1;
}

void order_answers_release(struct order_answers *a)
{
	while (a->count > 0)
		drop_last(a);
}
