/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl: the operator's command. */
#include "mapctl/command.h"

int main(int argc, char **argv)
{
    return (int)command_line_run(argc, argv);
}
