/* nomem.c - one allocation of a program fails: preloaded by tests/nomem
 *
 * An allocation is known by its stack: by what lies between it and the third
 * function of the program itself. Without NOMEM_FAIL each that is new is
 * written to NOMEM_OUT, a line of its number and of the places in the program,
 * innermost first, as they are before the program is moved. With it, the first
 * allocation of that number finds no memory. A crash of the program is a line
 * "crash" and places.
 *
 * Only NOMEM_EXE and what it forks is looked at. Allocations by the C library
 * when it is asked for the stack itself, or before main(), are let pass.
 */
#include <config.h>

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 48
#define OWN    3  /* functions of the program that make a stack what it is */
#define PLACES 12 /* that are written */
#define KNOWN  (1 << 16)

#define REPLACES __attribute__((visibility("default")))

/* glibc's own, behind what is replaced here */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct {
	uintptr_t from, to; /* of the program's code */
	uintptr_t moved;
	uint64_t fail; /* 0: none is to */
	bool on, failed;
	int out;
	uint64_t known[KNOWN];
} nomem;

static __thread bool within;

static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

/* -- the stack ------------------------------------------------------------- */

static bool is_own(const void *pc)
{
	return (uintptr_t)pc >= nomem.from && (uintptr_t)pc < nomem.to;
}

/* A call's place is before where it returns to. */
static uintptr_t place_of(const void *pc)
{
	return (uintptr_t)pc - nomem.moved - 1;
}

static int own_places(void *const *pcs, int n, uintptr_t *places, int max)
{
	int found = 0;

	for (int i = 0; i < n && found < max; i++)
		if (is_own(pcs[i]))
			places[found++] = place_of(pcs[i]);
	return found;
}

/* FNV-1a. Libraries move, too: of theirs what lies within a page counts. */
static uint64_t number_of(void *const *pcs, int n)
{
	uint64_t h = 0xcbf29ce484222325;

	for (int i = 0, own = 0; i < n && own < OWN; i++) {
		bool mine = is_own(pcs[i]);
		uint64_t v = mine ? place_of(pcs[i]) : (uintptr_t)pcs[i] & 4095;

		own += mine;
		h = (h ^ v) * 0x100000001b3;
	}
	return h ? h : 1;
}

static void write_line(const char *head, void *const *pcs, int n)
{
	uintptr_t places[PLACES];
	int own = own_places(pcs, n, places, PLACES);
	char line[32 + PLACES * 20];
	int len = snprintf(line, sizeof(line), "%s", head);

	for (int i = 0; i < own; i++)
		len += snprintf(line + len, sizeof(line) - (size_t)len,
				" 0x%lx", (unsigned long)places[i]);
	line[len++] = '\n';
	if (write(nomem.out, line, (size_t)len) < 0)
		return; /* a child has closed it */
}

static bool is_new(uint64_t number)
{
	for (size_t i = number % KNOWN;; i = (i + 1) % KNOWN) {
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&nomem.known[i], &none, number,
						false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return true;
		if (none == number)
			return false;
	}
}

/* Has this one no memory? */
static bool none_left(void)
{
	void *pcs[FRAMES];
	uint64_t number;
	char head[32];
	uintptr_t place;
	int n;

	if (!nomem.on || within)
		return false;
	within = true;
	n = backtrace(pcs, FRAMES);
	within = false;
	if (!own_places(pcs, n, &place, 1))
		return false;
	number = number_of(pcs, n);
	if (nomem.fail)
		return number == nomem.fail &&
		       !__atomic_exchange_n(&nomem.failed, true,
					    __ATOMIC_RELAXED);
	if (is_new(number)) {
		snprintf(head, sizeof(head), "%llx",
			 (unsigned long long)number);
		write_line(head, pcs, n);
	}
	return false;
}

/* -- what is replaced ------------------------------------------------------ */

REPLACES void *malloc(size_t size)
{
	if (!none_left())
		return __libc_malloc(size);
	errno = ENOMEM;
	return NULL;
}

REPLACES void *calloc(size_t n, size_t size)
{
	if (!none_left())
		return __libc_calloc(n, size);
	errno = ENOMEM;
	return NULL;
}

REPLACES void *realloc(void *p, size_t size)
{
	if (!none_left())
		return __libc_realloc(p, size);
	errno = ENOMEM;
	return NULL;
}

static void on_crash(int sig)
{
	void *pcs[FRAMES];

	within = true;
	write_line("crash", pcs, backtrace(pcs, FRAMES));
	_exit(99);
}

/* cmocka would make a failed test of a crash. */
REPLACES sighandler_t signal(int sig, sighandler_t handler)
{
	struct sigaction old,
		action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	for (size_t i = 0; nomem.on && i < sizeof(crashes) / sizeof(int); i++)
		if (sig == crashes[i])
			return SIG_DFL;
	if (sigaction(sig, &action, &old) < 0)
		return SIG_ERR;
	return old.sa_handler;
}

/* -------------------------------------------------------------------------- */

static int find_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	nomem.moved = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
			continue;
		nomem.from = nomem.moved + p->p_vaddr;
		nomem.to = nomem.from + p->p_memsz;
	}
	return 1; /* the first is the program */
}

static bool is_looked_at(void)
{
	const char *exe = getenv("NOMEM_EXE");
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (!exe || n < 0)
		return false;
	self[n] = '\0';
	return strcmp(self, exe) == 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *out = getenv("NOMEM_OUT"), *fail = getenv("NOMEM_FAIL");
	void *pc;

	if (!out || !is_looked_at())
		return;
	nomem.out = open(out, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (nomem.out < 0)
		return;
	nomem.fail = fail ? strtoull(fail, NULL, 16) : 0;
	dl_iterate_phdr(find_program, NULL);
	within = true;
	backtrace(&pc, 1); /* loads what it needs */
	within = false;
	for (size_t i = 0; i < sizeof(crashes) / sizeof(int); i++)
		sigaction(crashes[i],
			  &(struct sigaction){ .sa_handler = on_crash,
					       .sa_flags = SA_NODEFER },
			  NULL);
	nomem.on = true;
}
