/* The alphabet of other people's texts that a person reads.
 *
 * What an agent, a hub, an authority, a mail server or a hook says ends up on a terminal (often root's), on a page, in
 * a mail, a log and a metric. So a text is valid UTF-8 (RFC 3629) without
 *   - control characters: U+0000..U+001F, U+007F, and U+0080..U+009F, which terminals obey too; a line feed and a tab
 *     may stand only where a text has lines, which is a hook's output;
 *   - characters that cannot be seen or that reorder others, so that a row looks like another: soft hyphen, marks and
 *     overrides of direction, zero-width ones, separators of lines, the byte order mark, tags (Unicode's categories Cf,
 *     Zl, Zp).
 * What comes from a peer is refused when it has other characters (text_fault); what is shown is cleaned whoever has
 * checked it before.
 */
#ifndef CERTSYNC_LIB_CORE_TEXT_H
#define CERTSYNC_LIB_CORE_TEXT_H

/* Returns what is wrong with the first faulty character, as the end of "KEY: has …", or NULL when nothing is. The text
 * is static. */
const char *text_fault(const char *text, int lines);

/* Replaces in place each byte of each such character by '?'. When `lines`, line feeds and tabs stay, else they become
 * spaces; a carriage return becomes a space. */
void text_clean(char *text, int lines);

#endif
