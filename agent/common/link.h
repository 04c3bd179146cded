/* certsync-link: one SSH connection to the hub's gate account, relayed to a socketpair. It is a child of the agent's
 * daemon, which starts a new one for each attempt, and the only program of an agent that links libssh.
 *
 *   certsync-link --user USER --host HOST --port PORT --key FILE --pins FILE [--timeout SECONDS]
 *   certsync-link --user USER --host HOST --port PORT --key-fd N --pin SHA256:… … [--timeout SECONDS]
 *
 * In the second form, which is for a node that joins, the private key is read from descriptor N to its end, and nothing
 * is on disk yet.
 *
 * Descriptor 0 is the socketpair to the agent, both ways; descriptor 2 takes lines of text. On descriptor 0 the hub's
 * stream simply starts (the hub answers `hello`): nothing says "ready". What the far side's program writes to its
 * standard error appears as lines "certsync-link: USER@HOST:PORT says: …", up to 2 KiB of it. The last line before any
 * exit but 0 is the reason: what, where, why, what to do.
 *
 * It ends by itself when descriptor 0 ends. --timeout (30) counts until the stream starts. The pins file has a
 * fingerprint "SHA256:…" on each line, as ssh-keygen -l prints it; # begins a comment. No other file of ssh's is read,
 * and none is written.
 */
#ifndef CERTSYNC_AGENT_COMMON_LINK_H
#define CERTSYNC_AGENT_COMMON_LINK_H

enum link_exit {
	LINK_DONE = 0,         /* descriptor 0 ended, or the hub closed the stream in good order */
	LINK_USAGE = 2,        /* arguments, key file or pins file: a person has to mend it */
	LINK_UNREACHABLE = 10, /* cannot connect, or the connection or the far side's program broke: retry */
	LINK_UNPINNED = 11,    /* the host key is not one of the pins: retry slowly, alert */
	LINK_DENIED = 12,      /* the login was refused: retry slowly, each try counts for fail2ban */
	LINK_PROTOCOL = 13,    /* no common algorithms, no channel, and the like */
};

enum { LINK_TIMEOUT_DEFAULT = 30 };

#endif
