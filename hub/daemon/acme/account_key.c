#include "hub/daemon/acme/account_key.h"
#include "lib/core/base64.h"

int account_key_make(struct store *store, struct keys *keys, const char *kind, const char *account,
	struct order_key *ret, struct error *err)
{
	auto_buf struct buf spki = BUF_INIT(KEYS_SPKI_MAX);
	if (keys_make_account(keys, &spki, err) < 0 || order_key_take(ret, &spki, err) < 0)
		return error_wrap(err, "a new account key");
	return order_key_store(store, kind, account, ACCOUNT_KEY, ret, err);
}

cJSON *account_key_sign(struct keys *keys, enum keys_class key_class, const uint8_t id[KEYS_ID_SIZE],
	const cJSON *message, struct error *err)
{
	uint8_t signature[KEYS_SIGNATURE_SIZE];
	auto_buf struct buf text = BUF_INIT(2 * KEYS_SIGNATURE_SIZE);
	const char *input = json_string(message, "input", KEYS_INPUT_MAX - 1, err);
	if (!input || keys_jws(keys, key_class, id, input, signature, err) < 0)
		return NULL;
	base64url_encode(signature, sizeof(signature), &text);
	cJSON *answer = cJSON_CreateObject();
	cJSON_AddStringToObject(answer, "event", "signed");
	cJSON_AddStringToObject(answer, "signature", buf_text(&text));
	return answer;
}
