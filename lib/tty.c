#include <config.h>

#include "tty.h"

#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool is_raw;

bool tty_is_there(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

void tty_size(struct winsize *ret)
{
	*ret = (struct winsize){ 0 };
	ioctl(STDIN_FILENO, TIOCGWINSZ, ret);
	if (!ret->ws_row || !ret->ws_col) {
		ret->ws_row = 24;
		ret->ws_col = 80;
	}
}

void tty_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	raw = saved;
	cfmakeraw(&raw);
	is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void tty_restore(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	is_raw = false;
}
