/* Exim's lists, and its texts that are expanded for each connection, as far as they depend on nothing but the name that
 * the client asks for.
 */
#ifndef CERTSYNC_AGENT_CLI_SERVICES_EXIM_H
#define CERTSYNC_AGENT_CLI_SERVICES_EXIM_H

#include "agent/cli/services/found.h"
#include "agent/cli/services/tokens.h"

/* Appends the items of a list: colons are between them, or the character behind a "<" at the start; twice that character
 * is itself. The places of the words are not set. */
void exim_list(const char *list, struct words *ret);

/* Returns whether the text depends on the client's name alone, and on files that only root can change: it has no word
 * but those that exim_text.c knows to be so. */
bool exim_is_by_name(const char *text);
/* Returns the text with the name in the place of the variable for it; the caller frees it. The name must have no
 * character but those of found_name(). */
char *exim_with_name(const char *text, const char *name);
/* Adds the names that the text knows clients by: those that it compares with, the keys of its maps, and those for which
 * there is a file. */
void exim_names(struct found_service *s, const char *text);

#endif
