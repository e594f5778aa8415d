/* fam.c - fabric-attached memory as a guest's program sees it, for t0350-fam.t
 *
 *	fam hello [PATH]    write what uname says to its begin, as the hello
 *world of Fabric-Attached Memory Emulation does fam read [PATH]     print the
 *text that stands there fam add PARTIES N [PATH] wait for the others, add 1 to
 *one counter N times, wait for the others, print it
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LEN 4096

struct shared {
	char text[1024];
	_Alignas(64) uint64_t ready;
	_Alignas(64) uint64_t counter;
	_Alignas(64) uint64_t done;
};

static struct shared *map(const char *path)
{
	int fd = open(path ? path : "/dev/vmstep-fam", O_RDWR);
	void *p = fd < 0 ? MAP_FAILED
			 : mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
				fd, 0);

	if (p == MAP_FAILED) {
		perror(path ? path : "/dev/vmstep-fam");
		exit(1);
	}
	return p;
}

static void meet(uint64_t *at, uint64_t parties)
{
	__atomic_fetch_add(at, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(at, __ATOMIC_SEQ_CST) < parties)
		usleep(1000);
}

static void add(struct shared *s, uint64_t parties, uint64_t n)
{
	meet(&s->ready, parties);
	for (uint64_t i = 0; i < n; i++)
		__atomic_fetch_add(&s->counter, 1, __ATOMIC_RELAXED);
	meet(&s->done, parties);
	printf("%llu\n", (unsigned long long)s->counter);
}

static void hello(struct shared *s)
{
	struct utsname u;

	uname(&u);
	snprintf(s->text, sizeof(s->text), "%s %s %s\n", u.sysname, u.nodename,
		 u.release);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "hello") == 0 && argc <= 3) {
		hello(map(argv[2]));
	} else if (strcmp(what, "read") == 0 && argc <= 3) {
		fputs(map(argv[2])->text, stdout);
	} else if (strcmp(what, "add") == 0 && (argc == 4 || argc == 5)) {
		add(map(argv[4]), strtoull(argv[2], NULL, 10),
		    strtoull(argv[3], NULL, 10));
	} else {
		fprintf(stderr, "usage: see the top of fam.c\n");
		return 2;
	}
	return 0;
}
