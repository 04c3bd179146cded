#include "lib/crypto/sct.h"
#include "lib/crypto/der.h"
#include "lib/crypto/key.h"

#include <openssl/ct.h>
#include <string.h>

static const uint64_t milliseconds_max = UINT64_C(253402300799999); /* the end of the year 9999 */

static int refuse(struct error *err, const char *what)
{
	return error_set(err, ERROR_UNTRUSTED, "its list of SCTs %s", what);
}

static int take(const STACK_OF(SCT) * all, struct sct_list *ret, struct error *err)
{
	struct sct_list list = {0};
	if (sk_SCT_num(all) < 1)
		return refuse(err, "is empty");
	if (sk_SCT_num(all) > SCT_MAX)
		return error_set(
			err, ERROR_UNTRUSTED, "its list of SCTs has %d: at most %d are read", sk_SCT_num(all), SCT_MAX);
	for (int i = 0; i < sk_SCT_num(all); i++) {
		unsigned char *log;
		const SCT *sct = sk_SCT_value(all, i);
		if (SCT_get_version(sct) != SCT_VERSION_V1 || SCT_get0_log_id(sct, &log) != SCT_LOG_SIZE)
			return refuse(err, "has one that is not of version 1");
		if (SCT_get_timestamp(sct) > milliseconds_max)
			return refuse(err, "has one with a time that no clock tells");
		list.items[list.count].when = (int64_t)(SCT_get_timestamp(sct) / 1000);
		memcpy(list.items[list.count++].log, log, SCT_LOG_SIZE);
	}
	*ret = list;
	return 0;
}

/* OpenSSL passes over what stands behind the string with the list, so that is looked at first; and over what stands
 * behind an SCT's signature, which shows in the length of what it would write. */
static int parse(const ASN1_OCTET_STRING *value, struct sct_list *ret, struct error *err)
{
	const unsigned char *at = ASN1_STRING_get0_data(value), *inside;
	size_t left = (size_t)ASN1_STRING_length(value), inside_len;
	if (der_next(&at, &left, &inside, &inside_len) != DER_OCTET_STRING)
		return refuse(err, "is not a string of DER");
	if (left)
		return refuse(err, "has something behind it");
	STACK_OF(SCT) *all = o2i_SCT_LIST(NULL, &inside, inside_len);
	if (!all)
		return openssl_error(err, ERROR_UNTRUSTED, "its list of SCTs cannot be read");
	int result = take(all, ret, err);
	if (result == 0 && i2o_SCT_LIST(all, NULL) != (int)inside_len) {
		*ret = (struct sct_list){0};
		result = refuse(err, "has something behind one of them");
	}
	SCT_LIST_free(all);
	return result;
}

int sct_read(const X509 *certificate, struct sct_list *ret, struct error *err)
{
	int at = X509_get_ext_by_NID(certificate, NID_ct_precert_scts, -1);
	*ret = (struct sct_list){0};
	if (at < 0)
		return 0;
	if (X509_get_ext_by_NID(certificate, NID_ct_precert_scts, at) >= 0)
		return refuse(err, "stands there twice");
	return parse(X509_EXTENSION_get_data(X509_get_ext(certificate, at)), ret, err);
}
