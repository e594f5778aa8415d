#include <config.h>

#include "figures.h"

#include <stdio.h>

const char *figure(double n, char text[FIGURE_TEXT])
{
	static const char units[] = "kMGTPE";
	int unit = -1;

	/* what would be rounded up to 1000 is in the next unit */
	while (n >= 999.5 && units[unit + 1]) {
		n /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(text, FIGURE_TEXT, "%.0f", n);
	else
		snprintf(text, FIGURE_TEXT, "%.*f%c",
			 n < 9.995   ? 2
			 : n < 99.95 ? 1
				     : 0,
			 n, units[unit]);
	return text;
}
