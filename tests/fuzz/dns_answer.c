/* An authoritative server's answer, as the wait for dns-01 judges it. ldns parses the packet itself. */
#include "hub/worker/acme/lookup.c"
#include "tests/fuzz/fuzz.h"

#define VALUE "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_rdf ldns_rdf *name = ldns_dname_new_frm_str("_acme-challenge.domain.pl.");
	char text[LOOKUP_TEXT_MAX], target[LOOKUP_NAME_MAX];
	ldns_pkt *parsed = NULL;
	if (ldns_wire2pkt(&parsed, data, size) != LDNS_STATUS_OK)
		return 0;
	auto_pkt ldns_pkt *answer = parsed;
	for (int of_resolver = 0; of_resolver < 2; of_resolver++) {
		enum lookup_view view = lookup_judge(answer, of_resolver, name, VALUE, text);
		FUZZ_CHECK(memchr(text, '\0', sizeof(text)) && text[0]);
		FUZZ_CHECK(view == LOOKUP_SHOWN || view == LOOKUP_ABSENT || view == LOOKUP_SILENT);
		/* An answer that is an error, or not the server's own word where it has to be, must not be believed. */
		if (view == LOOKUP_SHOWN)
			FUZZ_CHECK((of_resolver || ldns_pkt_aa(answer)) &&
				ldns_pkt_get_rcode(answer) == LDNS_RCODE_NOERROR);
	}
	const ldns_rr *cname = find_rr(answer, name, LDNS_RR_TYPE_CNAME);
	if (cname)
		print_rdf(ldns_rr_rdf(cname, 0), target, sizeof(target));
	return 0;
}
