/* image.h - vmstep image: look at images, and make them, without a step */
#ifndef VMSTEP_CLI_IMAGE_H
#define VMSTEP_CLI_IMAGE_H

#include "command.h"

enum { IMAGE_PACKAGES, IMAGE_KEY };
extern const struct cmd_option image_options[];

int image_run(const struct invocation *inv);

#endif
