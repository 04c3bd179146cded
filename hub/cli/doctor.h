/* `certsync doctor`: the hub's node is looked over, and mended.
 */
#ifndef CERTSYNC_HUB_DOCTOR_H
#define CERTSYNC_HUB_DOCTOR_H

#include "lib/cli/cli.h"

int command_doctor(const struct cli_line *line);

#endif
