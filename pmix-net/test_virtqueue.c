#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "guest_mem.h"
#include "virtqueue.h"

/* A guest of two regions with a hole between them, and one ring in the first.
 * The front end has both at USER and up. */

#define GUEST 0x10000u
#define SIZE  0x10000u
#define HOLE  0x10000u
#define LOW   (GUEST + SIZE) /* the first region's end */
#define HIGH  (LOW + HOLE)
#define USER  0x7f0000000000ull
#define RING  8
#define AVAIL 0x1000u
#define USED  0x2000u
#define TABLE 0x3000u /* an indirect one */
#define DATA  (GUEST + 0x8000u)

static struct {
	struct guest_mem mem;
	struct virtqueue vq;
	struct vq_chain chain;
	int fd;
	uint8_t *ram;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
} t;

static int make_memfd(size_t size, int seals)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void map_ring(void)
{
	const struct vhost_addr addr = {
		.desc = USER,
		.avail = USER + AVAIL,
		.used = USER + USED,
	};

	assert_int_equal(vq_map(&t.vq, &t.mem, &addr, RING, NULL), 0);
	vq_start(&t.vq, 0);
}

static int set_up(void **state)
{
	const struct vhost_region low = { GUEST, SIZE, USER, 0 };
	const struct vhost_region high = { HIGH, SIZE, USER + SIZE, SIZE };

	memset(&t, 0, sizeof(t));
	t.fd = make_memfd(2 * SIZE, F_SEAL_SHRINK);
	t.ram = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, t.fd,
		     0);
	assert_true(t.ram != MAP_FAILED);
	assert_int_equal(guest_mem_add(&t.mem, &low, t.fd, NULL), 0);
	assert_int_equal(guest_mem_add(&t.mem, &high, t.fd, NULL), 0);
	t.desc = (struct vring_desc *)t.ram;
	t.avail = (struct vring_avail *)(t.ram + AVAIL);
	t.used = (struct vring_used *)(t.ram + USED);
	map_ring();
	t.vq.indirect = t.vq.event_idx = true;
	return 0;
}

static int tear_down(void **state)
{
	guest_mem_clear(&t.mem);
	munmap(t.ram, 2 * SIZE);
	close(t.fd);
	return 0;
}

static void offer(uint16_t head)
{
	t.avail->ring[t.avail->idx % RING] = head;
	t.avail->idx++;
}

static void desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	t.desc[i] = (struct vring_desc){ addr, len, flags, next };
}

static void assert_bad(const char *why)
{
	assert_int_equal(vq_take(&t.vq, &t.chain), -EPROTO);
	assert_non_null(t.vq.bad);
	if (!strstr(t.vq.bad, why))
		fail_msg("'%s' in place of '%s'", t.vq.bad, why);
}

/* -- chains that are right --------------------------------------------------
 */

static void a_chain_comes_in_its_pieces(void **state)
{
	memcpy(t.ram + 0x8000, "hello", 5);
	desc(3, DATA, 3, VRING_DESC_F_NEXT, 5);
	desc(5, DATA + 3, 2, VRING_DESC_F_NEXT, 0);
	desc(0, DATA + 100, 50, VRING_DESC_F_WRITE, 0);
	assert_int_equal(vq_take(&t.vq, &t.chain), 0);
	offer(3);
	assert_int_equal(vq_count(&t.vq), 1);
	assert_int_equal(vq_take(&t.vq, &t.chain), 1);
	assert_int_equal(t.chain.head, 3);
	assert_int_equal(t.chain.n_out, 2);
	assert_int_equal(t.chain.out_len, 5);
	assert_int_equal(t.chain.n_in, 1);
	assert_int_equal(t.chain.in_len, 50);
	assert_memory_equal(t.chain.iov[0].iov_base, "hel", 3);
	assert_memory_equal(t.chain.iov[1].iov_base, "lo", 2);
	assert_int_equal(vq_take(&t.vq, &t.chain), 0);
}

static void an_indirect_table_is_followed(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(t.ram + TABLE);

	desc(1, DATA, 10, VRING_DESC_F_NEXT, 2);
	desc(2, GUEST + TABLE, 2 * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
	table[0] = (struct vring_desc){ DATA, 7, VRING_DESC_F_NEXT, 1 };
	table[1] = (struct vring_desc){ DATA, 9, VRING_DESC_F_WRITE, 0 };
	offer(1);
	assert_int_equal(vq_take(&t.vq, &t.chain), 1);
	assert_int_equal(t.chain.out_len, 17);
	assert_int_equal(t.chain.in_len, 9);
}

static void a_buffer_may_cross_regions_that_touch(void **state)
{
	const struct vhost_region next = { HIGH + SIZE, 4096, USER + 4 * SIZE,
					   0 };

	assert_int_equal(guest_mem_add(&t.mem, &next, t.fd, NULL), 0);
	desc(0, HIGH + SIZE - 10, 30, 0, 0);
	offer(0);
	assert_int_equal(vq_take(&t.vq, &t.chain), 1);
	assert_int_equal(t.chain.n_out, 2);
	assert_int_equal(t.chain.iov[0].iov_len, 10);
	assert_int_equal(t.chain.iov[1].iov_len, 20);
}

static void indices_wrap(void **state)
{
	desc(0, DATA, 1, 0, 0);
	t.avail->idx = t.used->idx = 65530;
	vq_start(&t.vq, 65530);
	for (int i = 0; i < 20; i++) {
		offer(0);
		assert_int_equal(vq_take(&t.vq, &t.chain), 1);
		vq_give(&t.vq, t.chain.head, 0);
		vq_publish(&t.vq);
	}
	assert_int_equal(t.used->idx, (uint16_t)(65530 + 20));
	assert_int_equal(vq_take(&t.vq, &t.chain), 0);
}

/* -- chains that are not ----------------------------------------------------
 */

static void too_many_available(void **state)
{
	t.avail->idx = RING + 1;
	assert_bad("more entries");
}

static void index_that_goes_back(void **state)
{
	t.avail->idx = (uint16_t)-1;
	assert_bad("more entries");
}

static void head_beyond_the_table(void **state)
{
	offer(RING);
	assert_bad("the table has not");
}

static void next_beyond_the_table(void **state)
{
	desc(0, DATA, 1, VRING_DESC_F_NEXT, 65535);
	offer(0);
	assert_bad("the table has not");
}

static void chain_in_a_circle(void **state)
{
	desc(0, DATA, 1, VRING_DESC_F_NEXT, 1);
	desc(1, DATA, 1, VRING_DESC_F_NEXT, 0);
	offer(0);
	assert_bad("never ends");
}

static void empty_descriptor(void **state)
{
	desc(0, DATA, 0, 0, 0);
	offer(0);
	assert_bad("empty");
}

static void readable_after_writable(void **state)
{
	desc(0, DATA, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc(1, DATA, 1, 0, 0);
	offer(0);
	assert_bad("after a writable");
}

static void bad_address(uint64_t addr, uint32_t len)
{
	desc(0, addr, len, 0, 0);
	offer(0);
	assert_bad("outside the guest's memory");
}

static void address_below_memory(void **state)
{
	bad_address(GUEST - 1, 1);
}

static void address_in_the_hole(void **state)
{
	bad_address(LOW, 1);
}

static void buffer_into_the_hole(void **state)
{
	bad_address(LOW - 1, 2);
}

static void buffer_past_the_end(void **state)
{
	bad_address(HIGH + SIZE - 1, 0xffffffff);
}

static void address_that_wraps(void **state)
{
	bad_address(UINT64_MAX, 0xffffffff);
}

static void front_end_address(void **state)
{
	bad_address(USER, 1);
}

static void indirect(uint64_t addr, uint32_t len, uint16_t flags,
		     const char *why)
{
	desc(0, addr, len, VRING_DESC_F_INDIRECT | flags, 1);
	offer(0);
	assert_bad(why);
}

static void indirect_not_negotiated(void **state)
{
	t.vq.indirect = false;
	indirect(GUEST + TABLE, 16, 0, "not negotiated");
}

static void indirect_with_next(void **state)
{
	indirect(GUEST + TABLE, 16, VRING_DESC_F_NEXT, "within or before");
}

static void indirect_within_indirect(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(t.ram + TABLE);

	table[0] = (struct vring_desc){ GUEST + TABLE, 16,
					VRING_DESC_F_INDIRECT, 0 };
	indirect(GUEST + TABLE, 16, 0, "within or before");
}

static void indirect_of_no_size(void **state)
{
	indirect(GUEST + TABLE, 0, 0, "impossible size");
}

static void indirect_of_odd_size(void **state)
{
	indirect(GUEST + TABLE, 17, 0, "impossible size");
}

static void indirect_too_large(void **state)
{
	indirect(GUEST, 16 * (VQ_SIZE_MAX + 1), 0, "impossible size");
}

static void indirect_at_an_odd_address(void **state)
{
	const struct vring_desc piece = { DATA, 7, 0, 0 };
	struct vq_chain c;

	memcpy(t.ram + TABLE + 1, &piece, sizeof(piece));
	desc(0, GUEST + TABLE + 1, 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	assert_int_equal(vq_take(&t.vq, &c), 1);
	assert_int_equal(c.out_len, 7);
}

static void indirect_outside_memory(void **state)
{
	indirect(LOW, 16, 0, "table outside");
}

static void indirect_half_outside_memory(void **state)
{
	indirect(LOW - 16, 32, 0, "table outside");
}

static void indirect_next_beyond_its_table(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(t.ram + TABLE);

	table[0] = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 1 };
	indirect(GUEST + TABLE, 16, 0, "the table has not");
}

static void indirect_in_a_circle(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(t.ram + TABLE);

	table[0] = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 1 };
	table[1] = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 0 };
	indirect(GUEST + TABLE, 32, 0, "never ends");
}

static void more_pieces_than_a_chain_may_have(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(t.ram + TABLE);

	for (unsigned int i = 0; i <= VQ_CHAIN_MAX; i++)
		table[i] = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT,
						(uint16_t)(i + 1) };
	indirect(GUEST + TABLE, 16 * (VQ_CHAIN_MAX + 1), 0, "too many pieces");
}

/* -- where a ring is ---------------------------------------------------------
 */

static void rings_that_cannot_be_are_refused(void **state)
{
	static const struct {
		struct vhost_addr addr;
		uint32_t size;
		int r;
	} bad[] = {
		{ { .desc = USER, .avail = USER, .used = USER }, 0, -EINVAL },
		{ { .desc = USER, .avail = USER, .used = USER }, 7, -EINVAL },
		{ { .desc = USER, .avail = USER, .used = USER },
		  65536,
		  -EINVAL },
		{ { .desc = USER + 8, .avail = USER, .used = USER },
		  8,
		  -EINVAL },
		{ { .desc = USER, .avail = USER + 1, .used = USER },
		  8,
		  -EINVAL },
		{ { .desc = USER, .avail = USER, .used = USER + 2 },
		  8,
		  -EINVAL },
		{ { .desc = 0, .avail = USER, .used = USER }, 8, -EFAULT },
		{ { .desc = USER + SIZE - 16, .avail = USER, .used = USER },
		  8,
		  -EFAULT },
		{ { .desc = USER, .avail = USER + 2 * SIZE - 4, .used = USER },
		  8,
		  -EFAULT },
		{ { .desc = USER, .avail = USER, .used = UINT64_MAX - 3 },
		  8,
		  -EFAULT },
	};
	struct virtqueue vq = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			vq_map(&vq, &t.mem, &bad[i].addr, bad[i].size, NULL),
			bad[i].r);
}

static void memory_that_cannot_be_is_refused(void **state)
{
	static const struct {
		struct vhost_region region;
		int r;
	} bad[] = {
		{ { 0, 0, 0, 0 }, -EINVAL },
		{ { UINT64_MAX, 2, 0, 0 }, -EINVAL },
		{ { 0, 2, UINT64_MAX, 0 }, -EINVAL },
		{ { 0, 4096, 0, UINT64_MAX - 4095 }, -EINVAL },
		{ { 0, 4096, 0, 2 * SIZE }, -EINVAL }, /* past its file */
		{ { 0, 4096, USER + 4096, 0 }, -EEXIST },
		{ { GUEST + SIZE - 4096, 1, 0, 0 }, -EEXIST },
		/* where what is aligned in one is not in the others */
		{ { 1, 4096, 0, 0 }, -EINVAL },
		{ { 0, 4096, 4098, 0 }, -EINVAL },
		{ { 0, 4096, 0, 100 }, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			guest_mem_add(&t.mem, &bad[i].region, t.fd, NULL),
			bad[i].r);
	assert_int_equal(guest_mem_remove(&t.mem, &bad[0].region), -ENOENT);
}

static void what_is_no_file_in_memory_is_refused(void **state)
{
	const struct vhost_region r = { 0, 4096, 0, 0 };
	int fds[] = { open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
		      eventfd(0, EFD_CLOEXEC) };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		assert_true(fds[i] >= 0);
		assert_int_equal(guest_mem_add(&t.mem, &r, fds[i], NULL),
				 -EPERM);
		close(fds[i]);
	}
}

static void memory_that_goes_away_reads_as_zeroes(void **state)
{
	const struct vhost_region r = { 1 << 20, 8192, 1 << 20, 4096 };
	int fd = make_memfd(3 * 4096, 0);
	uint64_t len = 8192;
	uint8_t *at;

	assert_int_equal(guest_mem_add(&t.mem, &r, fd, NULL), 0);
	at = guest_mem_at(&t.mem, 1 << 20, &len);
	memset(at, 7, 8192);
	assert_int_equal(ftruncate(fd, 2 * 4096), 0);
	assert_int_equal(at[4095], 7);
	assert_false(guest_mem_gone(&t.mem));
	assert_int_equal(at[4096], 0);
	assert_true(guest_mem_gone(&t.mem));
	at[8191] = 9;
	assert_int_equal(at[8191], 9);
	assert_int_equal(at[4095], 7);
	close(fd);
}

static void so_does_a_log(void **state)
{
	const struct vhost_log log = { .size = 8, .offset = 0 };
	int fd = make_memfd(4096, 0);

	assert_int_equal(guest_mem_log(&t.mem, &log, fd, NULL), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	guest_mem_mark(&t.mem, GUEST, 1);
	assert_true(guest_mem_gone(&t.mem));
	close(fd);
}

/* -- telling each other ------------------------------------------------------
 */

static void the_driver_is_told_when_it_wants_to_be(void **state)
{
	uint16_t *used_event = &t.avail->ring[RING];

	*used_event = 1; /* when the second is done */
	vq_give(&t.vq, 0, 10);
	assert_int_equal(t.used->idx, 0);
	assert_false(vq_publish(&t.vq));
	assert_int_equal(t.used->idx, 1);
	assert_int_equal(t.used->ring[0].len, 10);
	vq_give(&t.vq, 0, 10);
	assert_true(vq_publish(&t.vq));
	assert_false(vq_publish(&t.vq)); /* nothing new */

	t.vq.event_idx = false;
	t.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	vq_give(&t.vq, 0, 10);
	assert_false(vq_publish(&t.vq));
	t.avail->flags = 0;
	vq_give(&t.vq, 0, 10);
	assert_true(vq_publish(&t.vq));
}

static void a_kick_is_asked_for_when_it_matters(void **state)
{
	const uint16_t *avail_event = (uint16_t *)&t.used->ring[RING];

	desc(0, DATA, 1, 0, 0);
	assert_false(vq_arm(&t.vq, 3));
	assert_int_equal(*avail_event, 2);
	offer(0);
	assert_false(vq_arm(&t.vq, 2));
	assert_true(vq_arm(&t.vq, 1)); /* it is there already */

	t.vq.event_idx = false;
	vq_disarm(&t.vq);
	assert_int_equal(t.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_true(vq_arm(&t.vq, 1));
	assert_int_equal(t.used->flags, 0);
}

static void what_is_taken_back_was_never_there(void **state)
{
	desc(0, DATA, 1, 0, 0);
	offer(0);
	assert_int_equal(vq_take(&t.vq, &t.chain), 1);
	vq_give(&t.vq, 0, 1);
	vq_ungive(&t.vq, 1);
	vq_untake(&t.vq, 1);
	assert_false(vq_publish(&t.vq));
	assert_int_equal(t.used->idx, 0);
	assert_int_equal(vq_take(&t.vq, &t.chain), 1);
}

static void writes_are_logged(void **state)
{
	const struct vhost_log log = { .size = 8, .offset = 0 };
	int fd = make_memfd(4096, F_SEAL_SHRINK);
	uint8_t *bits;

	bits = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_int_equal(guest_mem_log(&t.mem, &log, fd, NULL), 0);
	guest_mem_mark_host(&t.mem, t.vq.used, 1);
	assert_int_equal(bits[2], 1 << 2); /* page 0x12 */
	t.vq.log_used = true;
	t.vq.log_at = GUEST + 0x5000;
	vq_give(&t.vq, 0, 1);
	vq_publish(&t.vq);
	assert_int_equal(bits[2], 1 << 2 | 1 << 5);
	guest_mem_mark(&t.mem, GUEST + 0x6fff, 2); /* two pages */
	assert_int_equal(bits[2], 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7);
	guest_mem_mark(&t.mem, 64 * 4096, 1); /* past the log */
	guest_mem_mark(&t.mem, UINT64_MAX, 2);
	guest_mem_no_log(&t.mem);
	guest_mem_mark(&t.mem, GUEST, 1);
	assert_int_equal(bits[2], 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7);
	munmap(bits, 4096);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_chain_comes_in_its_pieces),
		TEST(an_indirect_table_is_followed),
		TEST(a_buffer_may_cross_regions_that_touch),
		TEST(indices_wrap),
		TEST(too_many_available),
		TEST(index_that_goes_back),
		TEST(head_beyond_the_table),
		TEST(next_beyond_the_table),
		TEST(chain_in_a_circle),
		TEST(empty_descriptor),
		TEST(readable_after_writable),
		TEST(address_below_memory),
		TEST(address_in_the_hole),
		TEST(buffer_into_the_hole),
		TEST(buffer_past_the_end),
		TEST(address_that_wraps),
		TEST(front_end_address),
		TEST(indirect_not_negotiated),
		TEST(indirect_with_next),
		TEST(indirect_within_indirect),
		TEST(indirect_of_no_size),
		TEST(indirect_of_odd_size),
		TEST(indirect_too_large),
		TEST(indirect_at_an_odd_address),
		TEST(indirect_outside_memory),
		TEST(indirect_half_outside_memory),
		TEST(indirect_next_beyond_its_table),
		TEST(indirect_in_a_circle),
		TEST(more_pieces_than_a_chain_may_have),
		TEST(rings_that_cannot_be_are_refused),
		TEST(memory_that_cannot_be_is_refused),
		TEST(what_is_no_file_in_memory_is_refused),
		TEST(memory_that_goes_away_reads_as_zeroes),
		TEST(so_does_a_log),
		TEST(the_driver_is_told_when_it_wants_to_be),
		TEST(a_kick_is_asked_for_when_it_matters),
		TEST(what_is_taken_back_was_never_there),
		TEST(writes_are_logged),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
