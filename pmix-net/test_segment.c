#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "segment.h"
#include "test_gso.h"

#define PIECES 4096

static uint8_t frame[SEGMENT_MAX], got[SEGMENT_MAX], want[SEGMENT_MAX];
static struct iovec pieces[PIECES];

/* What follows the head, in pieces of the @n lengths, over and over; the last
 * takes what is left. */
static void scatter(struct packet *p, const size_t *lens, size_t n)
{
	size_t at = p->len < PACKET_HEAD ? p->len : PACKET_HEAD, len;

	p->head_len = at;
	p->rest = pieces;
	for (p->n_rest = 0; at < p->len; at += len) {
		len = lens[p->n_rest % n];
		if (len > p->len - at || p->n_rest == PIECES - 1)
			len = p->len - at;
		pieces[p->n_rest++] = (struct iovec){ frame + at, len };
	}
}

static void assert_frame(const char *name, size_t len, size_t want_len)
{
	if (len != want_len || memcmp(got, want, want_len) != 0)
		fail_msg("%s: not the frame of %zu bytes", name, want_len);
}

/* From segment @first on. */
static void assert_segments(const struct test_gso *g, struct packet p,
			    size_t first)
{
	size_t len, n;
	struct segment s;

	assert_int_equal(offload_check(&p), 0);
	segment_init(&s, &p);
	segment_skip(&s, first);
	for (size_t at = first * g->gso_size; at < g->payload; at += n) {
		n = g->payload - at;
		if (n > g->gso_size)
			n = g->gso_size;
		len = test_gso_build(g, at, n, true, want);
		assert_frame(g->name, segment_next(&s, got), len);
		assert_true(len <= offload_longest(&p));
	}
	assert_int_equal(segment_next(&s, got), 0);
	assert_int_equal(segment_next(&s, got), 0);
}

static void each_segment_is_what_it_should_be(void **state)
{
	for (size_t i = 0; i < TEST_GSOS; i++) {
		const struct test_gso *g = &test_gsos[i];

		assert_segments(g, test_gso_packet(g, frame), 0);
	}
}

static void wherever_the_payload_lies(void **state)
{
	static const size_t lens[][3] = {
		{ 1, 1, 1 },
		{ 3, 1, 777 },
		{ 4096, 1, 65536 },
		{ 31, 1447, 2 },
	};

	for (size_t i = 0; i < TEST_GSOS; i++)
		for (size_t k = 0; k < 4; k++) {
			struct packet p = test_gso_packet(&test_gsos[i], frame);

			scatter(&p, lens[k], 3);
			assert_segments(&test_gsos[i], p, 0);
		}
}

static void every_size_of_the_last(void **state)
{
	struct test_gso g = { .name = "last", .ip6 = true, .gso_size = 16 };

	for (int udp = 0; udp < 2; udp++)
		for (g.payload = 17; g.payload < 70; g.payload++) {
			g.udp = udp;
			assert_segments(&g, test_gso_packet(&g, frame), 0);
		}
}

static void it_goes_on_where_it_stopped(void **state)
{
	static const size_t lens[] = { 701, 1, 40 };

	for (size_t i = 0; i < TEST_GSOS; i++) {
		const struct test_gso *g = &test_gsos[i];
		size_t n = (g->payload + g->gso_size - 1) / g->gso_size;
		struct packet p = test_gso_packet(g, frame);

		scatter(&p, lens, 3);
		assert_segments(g, p, 1);
		assert_segments(g, p, n / 2);
		assert_segments(g, p, n - 1);
		assert_segments(g, p, n);
		assert_segments(g, p, n + 1);
		assert_segments(g, p, SIZE_MAX / 65536);
	}
}

static void skipping_adds_up(void **state)
{
	const struct test_gso *g = &test_gsos[2];
	struct packet p = test_gso_packet(g, frame);
	struct segment s;
	size_t len;

	assert_int_equal(offload_check(&p), 0);
	segment_init(&s, &p);
	segment_skip(&s, 0);
	segment_skip(&s, 3);
	assert_int_not_equal(segment_next(&s, got), 0);
	segment_skip(&s, 2);
	len = test_gso_build(g, 6 * g->gso_size, g->gso_size, true, want);
	assert_frame(g->name, segment_next(&s, got), len);
	segment_skip(&s, SIZE_MAX);
	assert_int_equal(segment_next(&s, got), 0);
}

/* -- one frame ------------------------------------------------------------ */

static void only_the_checksum(void **state)
{
	static const size_t lens[] = { 1, 5, 800 };
	struct segment s;
	struct packet p;
	size_t len;

	for (size_t i = 0; i < TEST_GSOS; i++) {
		struct test_gso g = test_gsos[i];

		if (g.payload > 9000)
			g.payload = 8999;
		p = test_gso_packet(&g, frame);
		p.offload.gso = VIRTIO_NET_HDR_GSO_NONE;
		scatter(&p, lens, 3);
		assert_int_equal(offload_check(&p), 0);
		len = test_gso_build(&g, 0, g.payload, true, want);
		segment_init(&s, &p);
		assert_frame(g.name, segment_next(&s, got), len);
		assert_int_equal(segment_next(&s, got), 0);
		segment_init(&s, &p);
		segment_skip(&s, 1);
		assert_int_equal(segment_next(&s, got), 0);
	}
}

static void nothing_to_do(void **state)
{
	struct packet p = packet_flat(frame, SEGMENT_MAX);
	struct segment s;

	memset(frame, 0x5a, sizeof(frame));
	assert_int_equal(offload_check(&p), 0);
	segment_init(&s, &p);
	assert_int_equal(segment_next(&s, got), SEGMENT_MAX);
	assert_memory_equal(got, frame, SEGMENT_MAX);
	assert_int_equal(segment_next(&s, got), 0);
	p.len = p.head_len = 0;
	segment_init(&s, &p);
	segment_skip(&s, 1);
	assert_int_equal(segment_next(&s, got), 0);
}

static uint16_t first_checksum(const struct packet *p)
{
	const struct offload *o = &p->offload;
	const uint8_t *sum = got + o->csum_start + o->csum_offset;
	struct segment s;

	segment_init(&s, p);
	assert_true(segment_next(&s, got) > 0);
	return (uint16_t)(sum[0] << 8 | sum[1]);
}

/* A checksum is the complement of a sum: added to it, that of the new one is
 * 0. */
static void no_udp_checksum_of_0(void **state)
{
	struct test_gso g = { .udp = true, .payload = 4, .gso_size = 2 };
	struct packet p = test_gso_packet(&g, frame);
	uint8_t *payload = frame + 42;

	assert_int_equal(offload_check(&p), 0);
	test_put16(payload, 0);
	test_put16(payload, first_checksum(&p));
	assert_int_equal(first_checksum(&p), 0xffff);
	p.offload.gso = VIRTIO_NET_HDR_GSO_NONE;
	p.offload.hdr_len = 0;
	p.len = p.head_len = 44;
	test_put16(frame + 40, test_pseudo(&g, frame + 14, 10));
	test_put16(frame + 38, 10);
	assert_int_equal(first_checksum(&p), 0xffff);
}

static void a_tcp_checksum_of_0(void **state)
{
	struct test_gso g = { .payload = 4, .gso_size = 2 };
	struct packet p = test_gso_packet(&g, frame);
	uint8_t *payload = frame + 54;

	assert_int_equal(offload_check(&p), 0);
	test_put16(payload, 0);
	test_put16(payload, first_checksum(&p));
	assert_int_equal(first_checksum(&p), 0);
}

/* -- a guest that writes while we read ------------------------------------ */

static void write_on(uint8_t *memory, size_t len)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int x = 0;; x++)
		for (size_t i = 0; i < len; i += 16)
			memory[i] = (uint8_t)(x + i);
}

static bool sums_are_right(const struct test_gso *g, const uint8_t *segment,
			   size_t len)
{
	size_t l4 = test_l4_at(g);

	return test_sum(segment + l4, len - l4,
			test_pseudo(g, segment + test_ip_at(g), len - l4)) ==
	       0xffff;
}

static void a_payload_that_changes(void **state)
{
	const struct test_gso *g = &test_gsos[2];
	struct packet p = test_gso_packet(g, frame);
	size_t rest = p.len - PACKET_HEAD, len;
	uint8_t *memory = mmap(NULL, rest, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct iovec io = { memory, rest };
	struct segment s;
	pid_t guest;

	assert_ptr_not_equal(memory, MAP_FAILED);
	p.head_len = PACKET_HEAD;
	p.rest = &io;
	p.n_rest = 1;
	assert_int_equal(offload_check(&p), 0);
	guest = fork();
	if (guest == 0)
		write_on(memory, rest);
	assert_true(guest > 0);
	for (int i = 0; i < 100; i++) {
		segment_init(&s, &p);
		while ((len = segment_next(&s, got)))
			assert_true(sums_are_right(g, got, len));
	}
	kill(guest, SIGKILL);
	assert_int_equal(waitpid(guest, NULL, 0), guest);
	munmap(memory, rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_segment_is_what_it_should_be),
		cmocka_unit_test(wherever_the_payload_lies),
		cmocka_unit_test(every_size_of_the_last),
		cmocka_unit_test(it_goes_on_where_it_stopped),
		cmocka_unit_test(skipping_adds_up),
		cmocka_unit_test(only_the_checksum),
		cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(no_udp_checksum_of_0),
		cmocka_unit_test(a_tcp_checksum_of_0),
		cmocka_unit_test(a_payload_that_changes),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
