/* certsync-worker KIND: one slow or risky job for the daemon. A program of its own, so that libcurl and all that it brings are
 * mapped here and not in the daemon, which lives for months.
 */
#include "hub/acme.h"
#include "lib/proc.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	proc_harden();
	if (argc == 2 && strcmp(argv[1], "acme") == 0)
		return acme_worker();
	fputs("usage: certsync-worker KIND, by certsync hub alone; it knows: acme\n", stderr);
	return 2;
}
