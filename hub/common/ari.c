#include "hub/common/ari.h"
#include "hub/common/jws.h"
#include "hub/common/url.h"
#include "lib/core/base64.h"
#include "lib/wire/json.h"

#include <ctype.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SERIAL_MAX = 20, KEY_ID_MAX = 64, DATE_MAX = 40 };

/* ---- the certificate's identifier ---- */

/* Adds the value octets of the DER INTEGER; a leading zero stays where the first bit is set. */
static int add_serial(const X509 *leaf, struct buf *out, struct error *err)
{
	uint8_t der[SERIAL_MAX + 8], *at = der;
	const ASN1_INTEGER *serial = X509_get0_serialNumber(leaf);
	int len = ASN1_STRING_length(serial) > SERIAL_MAX ? -1 : i2d_ASN1_INTEGER(serial, NULL);
	if (len < 3 || len > (int)sizeof(der))
		return error_set(err, ERROR_PERMANENT, "its serial number is longer than %d octets", SERIAL_MAX);
	i2d_ASN1_INTEGER(serial, &at);
	return base64url_encode(der + 2, (size_t)len - 2, out);
}

static int add_issuer(const X509 *leaf, struct buf *out, struct error *err)
{
	AUTHORITY_KEYID *named = X509_get_ext_d2i(leaf, NID_authority_key_identifier, NULL, NULL);
	const ASN1_OCTET_STRING *key = named ? named->keyid : NULL;
	int result = -1;
	if (!key || ASN1_STRING_length(key) < 1 || ASN1_STRING_length(key) > KEY_ID_MAX)
		error_set(err, ERROR_PERMANENT, "the certificate names no key of its issuer");
	else
		result = base64url_encode(ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key), out);
	AUTHORITY_KEYID_free(named);
	return result;
}

int ari_id(const X509 *leaf, char ret[ARI_ID_MAX], struct error *err)
{
	auto_buf struct buf id = BUF_INIT(ARI_ID_MAX - 1);
	if (add_issuer(leaf, &id, err) < 0 || buf_addf(&id, ".") < 0 || add_serial(leaf, &id, err) < 0)
		return -1;
	snprintf(ret, ARI_ID_MAX, "%s", buf_text(&id));
	return 0;
}

/* ---- an answer ---- */

static bool take_number(const char **at, int digits, int *ret)
{
	*ret = 0;
	for (int i = 0; i < digits; i++, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return false;
		*ret = *ret * 10 + (**at - '0');
	}
	return true;
}

static bool take_letter(const char **at, const char *these)
{
	if (!**at || !strchr(these, **at))
		return false;
	(*at)++;
	return true;
}

/* Takes "Z" or "+02:00" as seconds east of Greenwich. */
static bool take_zone(const char **at, int64_t *ret)
{
	int hours, minutes, sign = **at == '-' ? -1 : 1;
	*ret = 0;
	if (take_letter(at, "Zz"))
		return true;
	if (!take_letter(at, "+-") || !take_number(at, 2, &hours) || !take_letter(at, ":") ||
		!take_number(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* timegm takes the 31st of February for the 3rd of March, so a date that comes back changed is none. */
static bool to_wall(const struct tm *parts, int64_t *ret)
{
	struct tm copy = *parts;
	copy.tm_sec = 0; /* a leap second is allowed */
	time_t minute = timegm(&copy);
	*ret = (int64_t)minute + parts->tm_sec;
	return copy.tm_mday == parts->tm_mday && copy.tm_mon == parts->tm_mon && copy.tm_hour == parts->tm_hour &&
		copy.tm_min == parts->tm_min && parts->tm_sec <= 60;
}

bool ari_date(const char *text, int64_t *ret)
{
	struct tm parts = {0};
	int64_t zone;
	const char *at = text;
	if (!take_number(&at, 4, &parts.tm_year) || !take_letter(&at, "-") || !take_number(&at, 2, &parts.tm_mon) ||
		!take_letter(&at, "-") || !take_number(&at, 2, &parts.tm_mday) || !take_letter(&at, "Tt ") ||
		!take_number(&at, 2, &parts.tm_hour) || !take_letter(&at, ":") || !take_number(&at, 2, &parts.tm_min) ||
		!take_letter(&at, ":") || !take_number(&at, 2, &parts.tm_sec))
		return false;
	if (take_letter(&at, "."))
		at += strspn(at, "0123456789");
	if (!take_zone(&at, &zone) || *at || parts.tm_year < 1970)
		return false;
	parts.tm_year -= 1900;
	parts.tm_mon--;
	if (!to_wall(&parts, ret))
		return false;
	*ret -= zone;
	return *ret >= 0;
}

static int take_date(const cJSON *window, const char *key, int64_t *ret, struct error *err)
{
	const char *text = json_string(window, key, DATE_MAX, err);
	if (!text)
		return error_wrap(err, "suggestedWindow");
	if (!ari_date(text, ret))
		return error_set(err, ERROR_PERMANENT, "suggestedWindow: %s: \"%s\" is not a date", key, text);
	return 0;
}

int ari_parse(const void *body, size_t len, struct ari_window *ret, struct error *err)
{
	struct ari_window w = {0};
	auto_json cJSON *answer = json_parse(body, len, err);
	const cJSON *window = answer ? json_object(answer, "suggestedWindow", err) : NULL;
	if (!window || take_date(window, "start", &w.start, err) < 0 || take_date(window, "end", &w.end, err) < 0)
		return -1;
	const cJSON *page = json_get(answer, "explanationURL");
	if (cJSON_IsString(page) && strlen(page->valuestring) < sizeof(w.explanation) && url_is_good(page->valuestring))
		snprintf(w.explanation, sizeof(w.explanation), "%s", page->valuestring);
	*ret = w;
	return 0;
}

int ari_judge(const struct ari_window *w, int64_t not_before, int64_t not_after, struct error *err)
{
	int64_t life = not_after - not_before;
	if (w->end <= w->start)
		return error_set(err, ERROR_PERMANENT, "the authority's window ends before it starts");
	if (w->end > not_after - life / 10)
		return error_set(err, ERROR_PERMANENT,
			"the authority's window ends in the last tenth of the certificate's life, or after "
			"it");
	if (w->end - w->start > life / 2)
		return error_set(
			err, ERROR_PERMANENT, "the authority's window is longer than half of the certificate's life");
	if (w->start < not_before - life)
		return error_set(
			err, ERROR_PERMANENT, "the authority's window begins long before the certificate does");
	return 0;
}

int64_t ari_draw(const struct ari_window *w, uint64_t random)
{
	return w->start + (int64_t)(random % (uint64_t)(w->end - w->start));
}

int64_t ari_ask_after(int64_t retry_after)
{
	if (!retry_after)
		return ARI_ASK_DEFAULT;
	return retry_after < ARI_ASK_MIN ? ARI_ASK_MIN : retry_after > ARI_ASK_MAX ? ARI_ASK_MAX : retry_after;
}

void ari_answer(
	struct ari_record *r, const struct ari_window *w, int64_t not_before, int64_t not_after, uint64_t random)
{
	struct error err = {.message = ""};
	bool same = r->window.start == w->start && r->window.end == w->end;
	r->window = *w;
	r->failures = 0;
	if (ari_judge(w, not_before, not_after, &err) < 0)
		r->moment = 0;
	else if (!same || !r->moment)
		r->moment = ari_draw(w, random);
	snprintf(r->trouble, sizeof(r->trouble), "%s", err.message);
}

/* ---- the record: encoder and decoder ---- */

cJSON *ari_encode(const struct ari_record *r)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "leaf", r->leaf);
	cJSON_AddStringToObject(o, "id", r->id);
	cJSON_AddNumberToObject(o, "start", (double)r->window.start);
	cJSON_AddNumberToObject(o, "end", (double)r->window.end);
	cJSON_AddStringToObject(o, "explanation", r->window.explanation);
	cJSON_AddNumberToObject(o, "moment", (double)r->moment);
	cJSON_AddNumberToObject(o, "next", (double)r->next);
	cJSON_AddNumberToObject(o, "failures", r->failures);
	cJSON_AddStringToObject(o, "trouble", r->trouble);
	return o;
}

int ari_decode(const cJSON *o, struct ari_record *ret, struct error *err)
{
	struct ari_record r = {.id = ""};
	const char *leaf = json_string(o, "leaf", sizeof(r.leaf) - 1, err);
	const char *id = leaf ? json_string(o, "id", ARI_ID_MAX - 1, err) : NULL;
	const char *page = id ? json_string(o, "explanation", ARI_URL_MAX - 1, err) : NULL;
	const char *trouble = page ? json_string(o, "trouble", ERROR_MESSAGE_MAX - 1, err) : NULL;
	if (!trouble || json_i64(o, "start", &r.window.start, err) < 0 || json_i64(o, "end", &r.window.end, err) < 0 ||
		json_i64(o, "moment", &r.moment, err) < 0 || json_i64(o, "next", &r.next, err) < 0 ||
		json_u32(o, "failures", &r.failures, err) < 0)
		return -1;
	snprintf(r.leaf, sizeof(r.leaf), "%s", leaf);
	snprintf(r.id, sizeof(r.id), "%s", id);
	snprintf(r.window.explanation, sizeof(r.window.explanation), "%s", page);
	snprintf(r.trouble, sizeof(r.trouble), "%s", trouble);
	*ret = r;
	return 0;
}
