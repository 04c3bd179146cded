#include "hub/daemon/acme/thumbprint.h"
#include "hub/daemon/acme/account_key.h"
#include "lib/crypto/chain.h"

#include <string.h>

static const struct hub_acme *find_section(const struct hub_config *config, const char *account, struct error *err)
{
	for (size_t i = 0; account && i < config->acme_count; i++)
		if (strcmp(config->acmes[i].name, account) == 0)
			return &config->acmes[i];
	if (account)
		error_set(err, ERROR_USAGE, "hub.conf has no section acme \"%s\"", account);
	else if (config->acme_count == 0)
		error_set(err, ERROR_USAGE, "hub.conf has no acme section");
	else if (config->acme_count > 1)
		error_set(err, ERROR_USAGE,
			"hub.conf has %zu acme sections, and HAProxy can answer for one account alone: "
			"say which, with --account",
			config->acme_count);
	else
		return &config->acmes[0];
	return NULL;
}

int thumbprint_get(struct store *store, const char *account, char ret[JWS_THUMBPRINT_MAX], struct error *err)
{
	struct order_key stored;
	auto_pkey EVP_PKEY *key = NULL;
	int found = order_key_load(store, "acme", account, ACCOUNT_KEY, &stored, err);
	if (found <= 0)
		return found;
	int result = order_key_public(&stored, &key, err) == 0 ? jws_thumbprint(key, ret, err) : -1;
	return result < 0 ? error_wrap(err, "account %s", account) : 1;
}

int thumbprint_find(const struct hub_config *config, struct store *store, const char *account, struct thumbprint *ret,
	struct error *err)
{
	const struct hub_acme *section = find_section(config, account, err);
	int found = section ? thumbprint_get(store, section->name, ret->text, err) : -1;
	if (found < 0)
		return -1;
	if (!found)
		return error_set(err, ERROR_USAGE,
			"there is no account \"%s\" yet: the first order makes it, even one that fails: "
			"certsync renew CERTIFICATE, then this again",
			section->name);
	ret->account = section->name;
	return 0;
}
