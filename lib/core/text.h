/* The alphabet of texts of others that a person reads.
 *
 * What an agent, a hub, an authority, a mail server or a hook says ends up on a terminal (root's, often), on a page, in a mail, a log and a
 * metric. So a text is valid UTF-8 (RFC 3629) without
 *   - control characters: U+0000..U+001F, U+007F, and U+0080..U+009F, which terminals obey too; a line feed and a tab may stand where
 *     a text has lines, which is a hook's output alone;
 *   - characters that cannot be seen or that reorder others, so that a row looks like another: soft hyphen, marks and overrides of
 *     direction, zero-width ones, separators of lines, the byte order mark, tags (Unicode's category Cf, Zl, Zp).
 * What comes from a peer is refused when it has others (text_fault); what is shown is cleaned whoever has checked it before.
 */
#ifndef CERTSYNC_TEXT_H
#define CERTSYNC_TEXT_H

/* What is wrong with the first character that is, for "KEY: has …"; NULL: nothing. Static. */
const char *text_fault(const char *text, int lines);

/* Replaces in place each byte of each such character by '?'. Line feeds and tabs stay when `lines`, else they become spaces; a
 * carriage return is a space. */
void text_clean(char *text, int lines);

#endif
