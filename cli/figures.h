/* figures.h - numbers as a person reads them, in few columns */
#ifndef VMSTEP_CLI_FIGURES_H
#define VMSTEP_CLI_FIGURES_H

#include <stdint.h>

#define FIGURE_TEXT 24

/* "0", "999", "12.3k", "4.56M": 5 columns at the most, by powers of 1000, up to
 * 999E. Returns @text. */
const char *figure(double n, char text[FIGURE_TEXT]);

#endif
