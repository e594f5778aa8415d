/* test_vmfam.c - libvmfam, asking real helpers of a step of two nodes
 *
 * Programs are processes of their own, as they are in guests; what does not
 * hold there ends them with the line's number in their words.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "api.h"
#include "test_helpers.h"
#include "vmfam.h"

#define MIB (1024 * 1024)

#define CHECK(is)                                                              \
	do {                                                                   \
		if (!(is)) {                                                   \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, \
				#is, f ? vmfam_words(f) : "");                 \
			_exit(1);                                              \
		}                                                              \
	} while (0)

static struct api *apis[4];
static char dir[] = "/tmp/vmstep-test-XXXXXX";

static int setup(void **state)
{
	char name[32];
	int fd;

	helpers_fam = 16 * MIB;
	begin(2, 2);
	munmap(map_window(0), helpers_fam);
	munmap(map_window(1), helpers_fam);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_PATH | O_DIRECTORY);
	for (uint32_t r = 0; r < 4; r++) {
		snprintf(name, sizeof(name), "%u", r);
		assert_int_equal(api_new(loop, fd, name, helpers[r].ops,
					 json_object(), &apis[r], NULL),
				 0);
	}
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	for (uint32_t r = 0; r < 4; r++)
		api_free(apis[r]);
	rmdir(dir);
	end();
	return 0;
}

/* In a program of @rank's guest. */
static struct vmfam *open_as(uint32_t rank)
{
	struct vmfam *f = NULL;
	char path[96];

	snprintf(path, sizeof(path), "%s/%u", dir, rank);
	setenv("VMSTEP_OPS_SOCKET", path, 1);
	setenv("VMSTEP_FAM", window_file(rank / 2), 1);
	CHECK(vmfam_open(&f) == 0);
	return f;
}

typedef void (*program_fn)(uint32_t rank);

static pid_t start(program_fn fn, uint32_t rank)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	fn(rank);
	_exit(0);
}

static void finish(pid_t pid, int want)
{
	int64_t until = loop_now_ms() + WAIT_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (loop_now_ms() > until) {
			kill(pid, SIGKILL);
			fail_msg("the program does not end");
		}
		run_a_little();
	}
	assert_int_equal(status, want);
}

static void run(program_fn fn, uint32_t rank)
{
	finish(start(fn, rank), 0);
}

/* Item "x" of region "r" on node 1. */
static void make(uint32_t rank)
{
	struct vmfam *f = open_as(rank);
	struct vmfam_region g;
	struct vmfam_item x;

	CHECK(vmfam_region_create(f, "r", 8 * MIB, 0666, 3, &g) == 0);
	CHECK(g.home == 2 && !g.here && g.size == 8 * MIB);
	CHECK(vmfam_alloc(f, &g, "x", 6 * MIB, 0666, &x) == 0);
	CHECK(strcmp(x.name, "x") == 0 && x.size == 6 * MIB && !x.here);
	vmfam_close(f);
}

static struct vmfam *find(uint32_t rank, struct vmfam_item *x)
{
	struct vmfam *f = open_as(rank);

	CHECK(vmfam_lookup(f, "r", "x", x) == 0);
	return f;
}

/* -- data ------------------------------------------------------------------ */

static uint8_t bytes[5 * MIB], back[5 * MIB];

static void fill(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 777 + seed);
}

static void put_and_get(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);

	fill(rank);
	CHECK(vmfam_put(f, &x, 3, bytes, sizeof(bytes)) == 0);
	memset(back, 0, sizeof(back));
	CHECK(vmfam_get(f, &x, 3, back, sizeof(back)) == 0);
	CHECK(memcmp(back, bytes, sizeof(back)) == 0);
	CHECK(vmfam_put(f, &x, 6 * MIB, bytes, 0) == 0);
	CHECK(vmfam_put(f, &x, 6 * MIB, bytes, 1) == -ERANGE);
	CHECK(vmfam_get(f, &x, UINT64_MAX, back, 2) == -ERANGE);
	CHECK(!vmfam_map(f, &x) == !x.here);
	CHECK(x.here == (rank >= 2));
	if (x.here)
		CHECK(memcmp((uint8_t *)vmfam_map(f, &x) + 3, bytes,
			     sizeof(bytes)) == 0);
	vmfam_close(f);
}

static void what_is_put_is_got(void **state)
{
	run(make, 0);
	run(put_and_get, 0);
	run(put_and_get, 3);
	run(put_and_get, 1);
}

static void do_not_wait(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);

	fill(rank);
	for (size_t i = 0; i < sizeof(bytes); i += 100000)
		CHECK(vmfam_put_nb(f, &x, i, bytes + i,
				   i + 100000 < sizeof(bytes)
					   ? 100000
					   : sizeof(bytes) - i) == 0);
	CHECK(vmfam_quiet(f) == 0);
	CHECK(vmfam_get_nb(f, &x, 0, back, sizeof(back)) == 0);
	CHECK(vmfam_quiet(f) == 0);
	CHECK(memcmp(back, bytes, sizeof(back)) == 0);
	CHECK(vmfam_put_nb(f, &x, 0, "a", 1) == 0);
	CHECK(vmfam_fence(f) == 0);
	CHECK(vmfam_put_nb(f, &x, 0, "b", 1) == 0);
	CHECK(vmfam_get(f, &x, 0, back, 1) == 0 && *back == 'b');
	CHECK(vmfam_free(f, &x) == 0);
	CHECK(vmfam_put_nb(f, &x, 0, "c", 1) == 0);
	CHECK(vmfam_quiet(f) == -ENOENT);
	CHECK(strstr(vmfam_words(f), "no such item"));
	CHECK(vmfam_quiet(f) == 0);
	CHECK(vmfam_get(f, &x, 0, back, 1) == -ENOENT);
	vmfam_close(f);
}

static void quiet_is_the_end_of_what_was_begun(void **state)
{
	run(make, 0);
	run(do_not_wait, 1);
}

static void spread_out(uint32_t rank)
{
	static uint64_t in[5000], out[5000], at[5000];
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);

	for (uint64_t i = 0; i < 5000; i++) {
		in[i] = i * i + rank;
		at[i] = (i * 7919) % 5000 * 2;
	}
	CHECK(vmfam_scatter(f, &x, 10, 3, 8, 5000, in) == 0);
	CHECK(vmfam_gather(f, &x, 10, 3, 8, 5000, out) == 0);
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CHECK(vmfam_get(f, &x, (10 + 3 * 4999) * 8, out, 8) == 0);
	CHECK(out[0] == in[4999]);
	CHECK(vmfam_scatter_index(f, &x, at, 8, 5000, in) == 0);
	CHECK(vmfam_get(f, &x, at[77] * 8, out, 8) == 0 && out[0] == in[77]);
	CHECK(vmfam_gather_index(f, &x, at, 8, 5000, out) == 0);
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CHECK(vmfam_gather(f, &x, 6 * MIB / 8, 1, 8, 1, out) == -ERANGE);
	CHECK(vmfam_gather(f, &x, 2, UINT64_MAX / 2, 8, 3, out) == -ERANGE);
	CHECK(vmfam_scatter(f, &x, 0, 0, 8, 3, in) == -EINVAL);
	vmfam_close(f);
}

static void elements_are_the_same_near_and_far(void **state)
{
	run(make, 0);
	run(spread_out, 0);
	run(spread_out, 2);
}

static void copy_over(uint32_t rank)
{
	struct vmfam_item x, y;
	struct vmfam_region g;
	struct vmfam *f = find(rank, &x);

	fill(9);
	CHECK(vmfam_region_create(f, "near", 2 * MIB, 0666, VMFAM_OWN_NODE,
				  &g) == 0);
	CHECK(g.here);
	CHECK(vmfam_region_create(f, "near", 1, 0666, VMFAM_OWN_NODE, &g) ==
	      -EEXIST);
	CHECK(vmfam_region_lookup(f, "near", &g) == 0);
	CHECK(vmfam_alloc(f, &g, NULL, MIB, 0600, &y) == 0 && y.here);
	CHECK(vmfam_put(f, &x, 5, bytes, MIB) == 0);
	CHECK(vmfam_copy(f, &x, 5, &y, 0, MIB) == 0);
	CHECK(memcmp(vmfam_map(f, &y), bytes, MIB) == 0);
	CHECK(vmfam_copy(f, &y, 0, &x, 4 * MIB, MIB) == 0);
	CHECK(vmfam_get(f, &x, 4 * MIB, back, MIB) == 0);
	CHECK(memcmp(back, bytes, MIB) == 0);
	CHECK(vmfam_copy(f, &y, 1, &x, 0, MIB) == -ERANGE);
	CHECK(vmfam_chmod(f, &y, 0640) == 0);
	y.mode = 0;
	CHECK(vmfam_stat(f, &y) == 0 && y.mode == 0640);
	CHECK(vmfam_region_resize(f, &g, MIB) == 0 && g.size == MIB);
	CHECK(vmfam_region_destroy(f, &g) == 0);
	CHECK(vmfam_stat(f, &y) == -ENOENT);
	vmfam_close(f);
}

static void items_are_copied_both_ways(void **state)
{
	run(make, 0);
	run(copy_over, 0);
}

/* -- atomics --------------------------------------------------------------- */

#define ADDS 100000

static void add(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);

	for (int i = 0; i < ADDS; i++)
		CHECK(vmfam_add_u64(f, &x, 64, 1) == 0);
	CHECK(vmfam_quiet(f) == 0);
	vmfam_close(f);
}

static void read_sum(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	uint64_t sum, old;

	CHECK(vmfam_fetch_u64(f, &x, 64, &sum) == 0 && sum == 4 * ADDS);
	CHECK(vmfam_cas_u64(f, &x, 64, sum + 1, 0, &old) == 0 && old == sum);
	CHECK(vmfam_cas_u64(f, &x, 64, sum, 7, &old) == 0 && old == sum);
	CHECK(vmfam_fetch_add_u64(f, &x, 64, 3, &old) == 0 && old == 7);
	CHECK(vmfam_add_u64(f, &x, 64, 5) == 0);
	CHECK(vmfam_fetch_u64(f, &x, 64, &old) == 0 && old == 15);
	CHECK(vmfam_atomic(f, &x, 64, VMFAM_SET, VMFAM_U64, 4 * ADDS, 0,
			   NULL) == 0);
	CHECK(vmfam_atomic(f, &x, 72, VMFAM_SET, VMFAM_F64, vmfam_f64(0.5), 0,
			   NULL) == 0);
	CHECK(vmfam_atomic(f, &x, 72, VMFAM_ADD, VMFAM_F64, vmfam_f64(1), 0,
			   &old) == 0);
	CHECK(old == vmfam_f64(0.5));
	CHECK(vmfam_atomic(f, &x, 65, VMFAM_ADD, VMFAM_U64, 1, 0, NULL) ==
	      -ERANGE);
	CHECK(vmfam_atomic(f, &x, 64, VMFAM_XOR, VMFAM_F64, 1, 0, NULL) ==
	      -EINVAL);
	CHECK(vmfam_atomic(f, &x, 6 * MIB, VMFAM_ADD, VMFAM_U64, 1, 0, NULL) ==
	      -ERANGE);
	vmfam_close(f);
}

static void no_update_is_lost(void **state)
{
	pid_t pids[4];

	run(make, 0);
	for (uint32_t r = 0; r < 4; r++)
		pids[r] = start(add, r);
	for (uint32_t r = 0; r < 4; r++)
		finish(pids[r], 0);
	run(read_sum, 1);
	run(read_sum, 2);
}

/* -- many programs --------------------------------------------------------- */

static void own_piece(uint32_t n)
{
	struct vmfam_item x;
	struct vmfam *f = find(0, &x);
	uint64_t at = (uint64_t)n * 200000;

	fill(n);
	for (int i = 0; i < 3; i++) {
		CHECK(vmfam_put_nb(f, &x, at, bytes, 200000) == 0);
		CHECK(vmfam_add_u64(f, &x, 6 * MIB - 8, 1) == 0);
		CHECK(vmfam_get(f, &x, at, back, 200000) == 0);
		CHECK(memcmp(back, bytes, 200000) == 0);
	}
	CHECK(vmfam_quiet(f) == 0);
	vmfam_close(f);
}

static void read_turns(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	uint64_t sum;

	CHECK(vmfam_fetch_u64(f, &x, 6 * MIB - 8, &sum) == 0 && sum == 20 * 3);
	vmfam_close(f);
}

/* More than there are slots. */
static void programs_of_a_guest_share_its_slots(void **state)
{
	pid_t pids[20];

	run(make, 0);
	for (uint32_t n = 0; n < 20; n++)
		pids[n] = start(own_piece, n);
	for (uint32_t n = 0; n < 20; n++)
		finish(pids[n], 0);
	run(read_turns, 3);
}

/* Nobody else comes on before that is read. */
static int go_on[2];

static void hold_a_piece(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	char byte;

	close(go_on[1]); /* the test may end without a word */
	CHECK(vmfam_add_u64(f, &x, 6 * MIB - 8, 1) == 0);
	CHECK(read(go_on[0], &byte, 1) == 1);
	vmfam_close(f); /* which does what was begun */
}

static void find_no_piece(uint32_t rank)
{
	static uint64_t at[3000];
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	uint64_t old;

	fill(rank);
	CHECK(vmfam_put(f, &x, 1, bytes, MIB) == 0);
	CHECK(vmfam_get(f, &x, 1, back, MIB) == 0);
	CHECK(memcmp(back, bytes, MIB) == 0);
	for (uint64_t i = 0; i < 3000; i++)
		at[i] = i * 2;
	CHECK(vmfam_scatter_index(f, &x, at, 8, 3000, bytes) == 0);
	CHECK(vmfam_gather_index(f, &x, at, 8, 3000, back) == 0);
	CHECK(memcmp(back, bytes, 24000) == 0);
	CHECK(vmfam_atomic(f, &x, 64, VMFAM_SET, VMFAM_U64, 7, 0, NULL) == 0);
	for (int i = 0; i < 5000; i++)
		CHECK(vmfam_add_u64(f, &x, 64, 1) == 0);
	CHECK(vmfam_quiet(f) == 0);
	CHECK(vmfam_fetch_add_u64(f, &x, 64, 1, &old) == 0 && old == 5007);
	CHECK(vmfam_put_nb(f, &x, 6 * MIB, "a", 0) == 0);
	CHECK(vmfam_atomic(f, &x, 68, VMFAM_ADD, VMFAM_U64, 1, 0, NULL) ==
	      -ERANGE);
	vmfam_close(f);
}

static void read_eight(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	uint64_t sum;

	CHECK(vmfam_fetch_u64(f, &x, 6 * MIB - 8, &sum) == 0 && sum == 8);
	vmfam_close(f);
}

/* Those that have them may wait for the one that has none. */
static void nobody_waits_for_another_program(void **state)
{
	pid_t pids[8];

	assert_int_equal(pipe(go_on), 0);
	run(make, 0);
	for (int i = 0; i < 8; i++)
		pids[i] = start(hold_a_piece, 0);
	for (int i = 0; i < 100; i++)
		run_a_little();
	run(find_no_piece, 0);
	assert_int_equal(write(go_on[1], "12345678", 8), 8);
	for (int i = 0; i < 8; i++)
		finish(pids[i], 0);
	run(read_eight, 3);
	close(go_on[0]);
	close(go_on[1]);
}

static void die(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);

	CHECK(vmfam_put_nb(f, &x, 0, bytes, 3 * MIB) == 0);
	CHECK(vmfam_add_u64(f, &x, 0, 1) == 0);
	kill(getpid(), SIGKILL);
}

static void one_that_dies_leaves_nothing_behind(void **state)
{
	run(make, 0);
	for (int i = 0; i < 5; i++)
		finish(start(die, 0), SIGKILL);
	run(put_and_get, 0);
}

/* -- what is missing ------------------------------------------------------- */

static void open_nothing(uint32_t rank)
{
	struct vmfam *f = NULL;

	setenv("VMSTEP_FAM", "/nonexistent", 1);
	CHECK(vmfam_open(&f) == -ENODEV);
	CHECK(strstr(vmfam_words(NULL), "--vm-fam"));
	setenv("VMSTEP_FAM", window_file(0), 1);
	setenv("VMSTEP_OPS_SOCKET", "/nonexistent", 1);
	CHECK(vmfam_open(&f) == -ECONNREFUSED);
	CHECK(strstr(vmfam_words(NULL), "vmstep-agent"));
	f = open_as(rank);
	CHECK(vmfam_lookup(f, "r", "x", &(struct vmfam_item){ 0 }) == -ENOENT);
	CHECK(strcmp(vmfam_words(f), "no region 'r'") == 0);
	vmfam_close(f);
}

/* An agent that closes at once. */
static void be_refused(uint32_t rank)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct vmfam *f = NULL;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/no", dir);
	CHECK(bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	CHECK(listen(fd, 1) == 0);
	setenv("VMSTEP_FAM", window_file(0), 1);
	setenv("VMSTEP_OPS_SOCKET", un.sun_path, 1);
	CHECK(vmfam_open(&f) == 0);
	close(accept(fd, NULL, NULL));
	unlink(un.sun_path);
	CHECK(vmfam_lookup(f, "r", "x", &(struct vmfam_item){ 0 }) == -EACCES);
	CHECK(strstr(vmfam_words(f), "root"));
	vmfam_close(f);
}

static void be_left(uint32_t rank)
{
	struct vmfam_item x;
	struct vmfam *f = find(rank, &x);
	int r = 0;

	CHECK(write(go_on[1], "1", 1) == 1);
	while (r == 0)
		r = vmfam_stat(f, &x);
	CHECK(r == -ECONNRESET);
	CHECK(strstr(vmfam_words(f), "has closed"));
	vmfam_close(f);
}

static void an_agent_that_goes_is_no_refusal(void **state)
{
	struct pollfd p;
	pid_t pid;

	assert_int_equal(pipe(go_on), 0);
	run(be_refused, 0);
	run(make, 0);
	pid = start(be_left, 0);
	p = (struct pollfd){ .fd = go_on[0], .events = POLLIN };
	while (poll(&p, 1, 0) == 0)
		run_a_little();
	api_free(apis[0]);
	apis[0] = NULL;
	finish(pid, 0);
	close(go_on[0]);
	close(go_on[1]);
}

static void what_is_missing_is_named(void **state)
{
	run(open_nothing, 0);
}

int main(void)
{
#define EACH(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(what_is_put_is_got),
		EACH(quiet_is_the_end_of_what_was_begun),
		EACH(elements_are_the_same_near_and_far),
		EACH(items_are_copied_both_ways),
		EACH(no_update_is_lost),
		EACH(programs_of_a_guest_share_its_slots),
		EACH(nobody_waits_for_another_program),
		EACH(one_that_dies_leaves_nothing_behind),
		EACH(an_agent_that_goes_is_no_refusal),
		EACH(what_is_missing_is_named),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
