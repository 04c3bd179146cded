#include "hub/worker/acme/client.h"
#include "lib/core/mem.h"

#include <stdio.h>
#include <string.h>

static const char urn[] = "urn:ietf:params:acme:error:";

static const char *short_type(const cJSON *problem)
{
	const char *type = json_text(problem, "type");
	return strncmp(type, urn, sizeof(urn) - 1) == 0 ? type + sizeof(urn) - 1 : type;
}

/* These the same request would meet again until somebody changes something. What depends on DNS, firewalls and the
 * server's own state is worth a retry. */
static enum error_kind kind_of(const char *type)
{
	static const char *const permanent[] = {
		"accountDoesNotExist",
		"badCSR",
		"badPublicKey",
		"badSignatureAlgorithm",
		"externalAccountRequired",
		"invalidContact",
		"invalidProfile",
		"malformed",
		"rejectedIdentifier",
		"unsupportedContact",
		"unsupportedIdentifier",
		"userActionRequired",
	};
	for (size_t i = 0; i < COUNT(permanent); i++)
		if (strcmp(type, permanent[i]) == 0)
			return ERROR_PERMANENT;
	return ERROR_RETRY;
}

/* Of these the one that says no is meant, too, though a change in DNS may help. */
static bool is_refusal(const char *type)
{
	return strcmp(type, "caa") == 0 || kind_of(type) == ERROR_PERMANENT;
}

const char *acme_trouble(const char *type, long status, const struct error *failure)
{
	if (strcmp(type, "rateLimited") == 0 || status == 429)
		return "limits";
	if (is_refusal(type) || failure->kind == ERROR_PERMANENT || failure->kind == ERROR_UNTRUSTED)
		return "refuses";
	return strcmp(type, "serverInternal") == 0 || strcmp(type, "badNonce") == 0 || status == 0 || status >= 500 ||
			(status >= 300 && !type[0])
		? "down"
		: "failed";
}

static const char *what_next(const char *type)
{
	if (strcmp(type, "userActionRequired") == 0)
		return ": open the URL that it names";
	if (strcmp(type, "externalAccountRequired") == 0)
		return ": set eab_kid and eab_hmac in the acme section to what this authority gave you";
	if (strcmp(type, "invalidContact") == 0 || strcmp(type, "unsupportedContact") == 0)
		return ": correct contact in the acme section";
	if (strcmp(type, "invalidProfile") == 0)
		return ": correct profile in the certificate section";
	return "";
}

static void add_subproblems(const cJSON *problem, struct buf *out)
{
	const cJSON *list = json_get(problem, "subproblems"), *sub;
	if (!cJSON_IsArray(list))
		return;
	const char *separator = " [";
	cJSON_ArrayForEach (sub, list) {
		if (buf_addf(out, "%s%s: %s: %s", separator, json_text(json_get(sub, "identifier"), "value"),
			    short_type(sub), json_text(sub, "detail")) < 0)
			break;
		separator = "; ";
	}
	if (separator[0] == ';')
		buf_addf(out, "]");
}

int acme_problem(const cJSON *problem, const char *where, char *ret_type, struct error *err)
{
	auto_buf struct buf text = BUF_INIT(4 * ERROR_MESSAGE_MAX);
	const char *type = short_type(problem);
	if (ret_type)
		snprintf(ret_type, ACME_PROBLEM_MAX, "%s", type);
	if (buf_addf(&text, "%s: %s%s", type[0] ? type : "no type given", json_text(problem, "detail"),
		    what_next(type)) < 0)
		buf_addf(&text, "a problem document of more than %zu bytes", text.max);
	add_subproblems(problem, &text);
	return error_set(err, kind_of(type), "%s: %s", where, buf_text(&text));
}
