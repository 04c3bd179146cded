#include "hub/daemon/acme/challenge.h"
#include "hub/daemon/httpd.h"
#include "hub/common/jws.h"
#include "lib/core/base64.h"
#include "lib/core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CHALLENGE_TOKENS_MAX = 4096, CHALLENGE_TOKEN_MAX = 256 };

static const struct httpd_limits limits = {.purpose = "http-01", .seconds = 5, .visits = 256, .output = 256 * 1024};
static const char prefix[] = "/.well-known/acme-challenge/";

struct token {
	char *token, *authorization;
};

struct challenge {
	struct httpd *httpd;
	struct token *tokens;
	size_t token_count;
};

static struct token *find(const struct challenge *c, const char *token)
{
	for (size_t i = 0; i < c->token_count; i++)
		if (strcmp(c->tokens[i].token, token) == 0)
			return &c->tokens[i];
	return NULL;
}

static void answer_challenge(const char *path, struct httpd_answer *answer, void *context)
{
	const struct challenge *c = context;
	const struct token *found = NULL;
	answer->headers = "Content-Type: application/octet-stream\r\n";
	if (strncmp(path, prefix, sizeof(prefix) - 1) == 0)
		found = find(c, path + sizeof(prefix) - 1);
	if (!found)
		return;
	answer->status = "200 OK";
	answer->body = found->authorization;
	answer->len = strlen(found->authorization);
}

struct challenge *challenge_new(struct event_base *base, const char *address, struct error *err)
{
	struct challenge *c = mem_alloc(sizeof(*c));
	c->httpd = httpd_new(base, address, &limits, answer_challenge, c, err);
	if (c->httpd)
		return c;
	challenge_free(c);
	return NULL;
}

uint16_t challenge_port(const struct challenge *c)
{
	return httpd_port(c->httpd);
}

static void token_release(struct token *t)
{
	free(t->token);
	free(t->authorization);
}

void challenge_free(struct challenge *c)
{
	if (!c)
		return;
	httpd_free(c->httpd);
	for (size_t i = 0; i < c->token_count; i++)
		token_release(&c->tokens[i]);
	free(c->tokens);
	free(c);
}

int challenge_add(struct challenge *c, const char *token, const char *authorization, struct error *err)
{
	size_t len = strcspn(authorization, ".");
	if (!base64url_is(token, CHALLENGE_TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the challenge's token \"%.80s\" is not base64url", token);
	if (len != strlen(token) || strncmp(authorization, token, len) != 0 || !authorization[len] ||
		!base64url_is(authorization + len + 1, CHALLENGE_TOKEN_MAX))
		return error_set(err, ERROR_PERMANENT, "the key authorization does not belong to the token %s", token);
	challenge_remove(c, token);
	if (c->token_count == CHALLENGE_TOKENS_MAX)
		return error_set(err, ERROR_RETRY, "%d challenges are being answered already", CHALLENGE_TOKENS_MAX);
	c->tokens = mem_grow(c->tokens, c->token_count + 1, sizeof(*c->tokens));
	c->tokens[c->token_count++] = (struct token){mem_strdup(token), mem_strdup(authorization)};
	return 0;
}

void challenge_remove(struct challenge *c, const char *token)
{
	struct token *t = find(c, token);
	if (!t)
		return;
	token_release(t);
	*t = c->tokens[--c->token_count];
}
