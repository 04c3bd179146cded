# The configurations of adopted.t, one package for each service.
package Rows;
use strict;
use warnings;
use NginxRows;
use ApacheRows;
use DovecotRows;
use PostfixRows;
use HaproxyRows;
use EximRows;
use CourierRows;
use StunnelRows;
use MariadbRows;
use PostgresqlRows;
use ForeignRows;

# Each row is {service, title, files => {NAME => text, or \target of a link}, at => [expectations]} and, where it needs
# them, run (commands before the start), after (commands in the end), configs (of HAProxy and stunnel), words (of adopt), services (of
# agent.conf), servers (of Courier), clusters (of PostgreSQL), told, exit, and
# refused (what the hook says of it, so that there is no renewal).
sub all {
	return (NginxRows::rows(), ApacheRows::rows(), DovecotRows::rows(), PostfixRows::rows(), HaproxyRows::rows(), EximRows::rows(), CourierRows::rows(), StunnelRows::rows(), MariadbRows::rows(), PostgresqlRows::rows(), ForeignRows::rows());
}

1;
