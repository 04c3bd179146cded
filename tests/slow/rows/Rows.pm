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
use FileRows;
use MariadbRows;
use PostgresqlRows;
use ForeignRows;

# Each row is {service, title, files => {NAME => text, or \target of a link}, at => [expectations]} and, where it needs
# them, run (commands before the start), configs (of HAProxy), words (of adopt), services (of
# agent.conf), servers (of Courier), clusters (of PostgreSQL), told, exit.
sub all {
	return (NginxRows::rows(), ApacheRows::rows(), DovecotRows::rows(), PostfixRows::rows(), HaproxyRows::rows(), EximRows::rows(), CourierRows::rows(), FileRows::rows(), MariadbRows::rows(), PostgresqlRows::rows(), ForeignRows::rows());
}

1;
