/* Which protocols a transfer of libcurl may use: of a URL that others have written, or a redirect. */
#ifndef CERTSYNC_HUB_WORKER_PROTOCOLS_H
#define CERTSYNC_HUB_WORKER_PROTOCOLS_H

#include <curl/curl.h>

/* `protocols`: CURLPROTO_… or-ed. The option with words in its place is of libcurl 7.85, which is newer than Oracle Linux 9's 7.76 and
 * Ubuntu 22.04's 7.81; this one is kept in all later versions, where it is only advised against. */
static inline CURLcode protocols_allow(CURL *curl, long protocols)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, protocols);
#pragma GCC diagnostic pop
}

#endif
