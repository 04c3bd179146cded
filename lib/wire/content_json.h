/* What a certificate's revision is (lib/crypto/content.h) as members of a JSON object: revision, digest, fingerprint (of
 * the leaf), not_before, not_after. The hub's manifests and the messages `inventory` and `offer` have them.
 */
#ifndef CERTSYNC_LIB_WIRE_CONTENT_JSON_H
#define CERTSYNC_LIB_WIRE_CONTENT_JSON_H

#include "lib/crypto/content.h"
#include "lib/wire/json.h"

void content_to_json(const struct content *c, cJSON *o);
/* An empty digest or fingerprint stands for one that is not known; who needs it says so. */
int content_from_json(const cJSON *o, struct content *ret, struct error *err);

void revision_to_json(struct revision r, const char *key, cJSON *o);
int revision_from_json(const cJSON *o, const char *key, struct revision *ret, struct error *err);
void sha256_to_json(const uint8_t sha256[CHAIN_SHA256_SIZE], const char *key, cJSON *o);
int sha256_from_json(const cJSON *o, const char *key, uint8_t ret[CHAIN_SHA256_SIZE], struct error *err);

#endif
