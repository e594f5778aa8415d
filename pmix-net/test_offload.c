#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "link_wire.h"
#include "test_gso.h"

#define NEEDS_CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define DATA_VALID VIRTIO_NET_HDR_F_DATA_VALID
#define RSC_INFO   4
#define ECN	   VIRTIO_NET_HDR_GSO_ECN
#define TCPV4	   VIRTIO_NET_HDR_GSO_TCPV4
#define TCPV6	   VIRTIO_NET_HDR_GSO_TCPV6
#define UDP_L4	   VIRTIO_NET_HDR_GSO_UDP_L4

static const struct test_gso tcp4 = { .payload = 3000, .gso_size = 1460 };
static const struct test_gso tcp6 = {
	.ip6 = true, .payload = 3000, .gso_size = 1440, .extra = 16
};
static const struct test_gso udp4 = { .udp = true,
				      .payload = 3000,
				      .gso_size = 1472 };

static uint8_t frame[WIRE_FRAME_MAX + 1];

static void assert_offload(const struct offload *a, const struct offload *b)
{
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->gso, b->gso);
	assert_int_equal(a->hdr_len, b->hdr_len);
	assert_int_equal(a->gso_size, b->gso_size);
	assert_int_equal(a->csum_start, b->csum_start);
	assert_int_equal(a->csum_offset, b->csum_offset);
}

/* The head ends after @len bytes, of which there are no more: not to be read
 * beyond. */
static int check_head(const struct packet *whole, size_t len, size_t frame_len)
{
	uint8_t *head = malloc(len);
	struct packet p = *whole;
	int r;

	assert_true(head || len == 0);
	if (len)
		memcpy(head, whole->head, len);
	p.head = head;
	p.head_len = len;
	p.len = frame_len;
	r = offload_check(&p);
	free(head);
	return r;
}

/* -- what is refused ------------------------------------------------------ */

/* One byte of a good packet's headers is another: refused. At -1: none is. */
static void assert_refused(const struct test_gso *g, int at, int value,
			   struct offload *change)
{
	struct packet p = test_gso_packet(g, frame);

	assert_int_equal(offload_check(&p), 0);
	if (change)
		p.offload = *change;
	if (at >= 0) {
		assert_int_not_equal(frame[at], value);
		frame[at] = (uint8_t)value;
	}
	if (check_head(&p, PACKET_HEAD, p.len) != -EINVAL)
		fail_msg("byte %d as %#x is accepted", at, value);
}

static void headers_that_lie(void **state)
{
	static const struct {
		const struct test_gso *g;
		int at, value;
	} lies[] = {
		{ &tcp4, 12, 0x86 }, /* another EtherType */
		{ &tcp4, 13, 0x06 }, /* ARP */
		{ &tcp4, 14, 0x55 }, /* version 5 */
		{ &tcp4, 14, 0x65 }, /* version 6 */
		{ &tcp4, 14, 0x44 }, /* a header too short */
		{ &tcp4, 14, 0x46 }, /* with options: TCP is elsewhere */
		{ &tcp4, 16, 0 },    /* total length */
		{ &tcp4, 17, 0 },    /* likewise */
		{ &tcp4, 20, 0x20 }, /* the first fragment */
		{ &tcp4, 21, 1 },    /* a later one */
		{ &tcp4, 23, 17 },   /* UDP, it says */
		{ &tcp4, 46, 0x40 }, /* TCP's header too short */
		{ &tcp6, 14, 0x40 }, /* version 4 */
		{ &tcp6, 18, 0 },    /* payload length */
		{ &tcp6, 20, 44 },   /* a fragment */
		{ &tcp6, 20, 51 },   /* IPsec's AH */
		{ &tcp6, 20, 59 },   /* nothing follows */
		{ &tcp6, 55, 1 },    /* an extension that is longer */
		{ &tcp6, 55, 255 },  /* and out of the head */
		{ &tcp6, 62, 17 },   /* UDP behind it */
		{ &tcp6, 62, 0 },    /* more extensions, it says */
		{ &udp4, 23, 6 },    /* TCP, it says */
		{ &udp4, 38, 0 },    /* UDP's length */
		{ &udp4, 39, 0 },    /* likewise */
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		assert_refused(lies[i].g, lies[i].at, lies[i].value, NULL);
}

static void offloads_that_lie(void **state)
{
	static const struct {
		const struct test_gso *g;
		struct offload o;
	} lies[] = {
		{ &tcp4, { 0, TCPV4, 54, 1460, 34, 16 } },
		{ &tcp4, { DATA_VALID, TCPV4, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, TCPV4, 54, 0, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, TCPV4, 54, 1, 34, 16 } }, /* 3000 */
		{ &tcp4, { NEEDS_CSUM, TCPV6, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, UDP_L4, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, UDP_L4, 54, 1460, 34, 6 } },
		{ &tcp4, { NEEDS_CSUM, 2, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, 6, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, 0x41, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, ECN, 54, 1460, 34, 16 } },
		{ &tcp4, { NEEDS_CSUM, TCPV4, 54, 1460, 33, 17 } },
		{ &tcp4, { NEEDS_CSUM, TCPV4, 54, 1460, 36, 14 } },
		{ &tcp4, { NEEDS_CSUM, TCPV4, 54, 1460, 34, 6 } },
		{ &tcp6, { NEEDS_CSUM, TCPV4, 90, 1460, 70, 16 } },
		{ &tcp6, { NEEDS_CSUM, TCPV6, 90, 1460, 54, 16 } },
		{ &udp4, { NEEDS_CSUM, TCPV4, 42, 1472, 34, 6 } },
		{ &udp4,
		  { NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP, 42, 1472, 34, 6 } },
		{ &udp4, { NEEDS_CSUM, UDP_L4, 42, 1472, 34, 16 } },
		{ &udp4, { NEEDS_CSUM, UDP_L4 | ECN, 42, 1472, 34, 6 } },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct offload o = lies[i].o;

		assert_refused(lies[i].g, -1, 0, &o);
	}
}

/* What is not in the table must not match a packet of protocol 0. */
static void no_kind_at_all(void **state)
{
	static const uint8_t kinds[] = { 2, VIRTIO_NET_HDR_GSO_UDP, ECN };

	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct offload o = { NEEDS_CSUM, kinds[i], 54, 1460, 34, 0 };

		assert_refused(&tcp4, 23, 0, &o);
	}
}

static int check_csum(struct packet *p, uint16_t start, uint16_t offset)
{
	p->offload = (struct offload){ .flags = NEEDS_CSUM,
				       .csum_start = start,
				       .csum_offset = offset };
	return offload_check(p);
}

/* The head that matters ends before the packet does. */
static void a_checksum_out_of_place(void **state)
{
	struct packet p = test_gso_packet(&tcp4, frame);
	uint16_t len = (uint16_t)p.len;

	assert_int_equal(check_csum(&p, 0, 6), -EINVAL); /* the source MAC */
	assert_int_equal(check_csum(&p, 14, 2), -EINVAL);
	assert_int_equal(check_csum(&p, 33, 1), -EINVAL);
	assert_int_equal(check_csum(&p, 34, len - 35), -EINVAL);
	assert_int_equal(check_csum(&p, 34, 65535), -EINVAL);
	assert_int_equal(check_csum(&p, 65535, 65535), -EINVAL);
	assert_int_equal(check_csum(&p, 34, len - 36), 0);
	assert_int_equal(check_csum(&p, 191, 16), 0);
	p.head_len = PACKET_HEAD;
	assert_int_equal(check_csum(&p, 191, 16), 0);
	assert_int_equal(check_csum(&p, 192, 16), -EINVAL);
	p.len = p.head_len = 14 + 20;
	assert_int_equal(check_csum(&p, 34, 0), -EINVAL);
}

static void a_checksum_where_there_is_no_ip(void **state)
{
	static const struct {
		int at, value;
	} lies[] = {
		{ 12, 0x86 }, { 13, 0x06 }, { 12, 0x81 }, { 14, 0x54 },
		{ 14, 0x65 }, { 14, 0x44 }, { 14, 0x4f },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct packet p = test_gso_packet(&tcp4, frame);

		assert_int_equal(check_csum(&p, 34, 16), 0);
		frame[lies[i].at] = (uint8_t)lies[i].value;
		assert_int_equal(check_csum(&p, 34, 16), -EINVAL);
	}
}

static void three_tags(void **state)
{
	struct test_gso g = { .payload = 100, .gso_size = 60, .tags = 3 };
	struct packet p = test_gso_packet(&g, frame);

	assert_int_equal(offload_check(&p), -EINVAL);
}

static void cut_off(const struct test_gso *g)
{
	struct packet p = test_gso_packet(g, frame);
	size_t header = test_header_len(g);

	for (size_t len = 0; len < header; len++) {
		assert_int_equal(check_head(&p, len, p.len), -EINVAL);
		assert_int_equal(check_head(&p, len, len), -EINVAL);
	}
	assert_int_equal(check_head(&p, header, p.len), 0);
}

static void headers_that_are_cut_off(void **state)
{
	for (size_t i = 0; i < TEST_GSOS; i++)
		cut_off(&test_gsos[i]);
}

static void headers_longer_than_a_head(void **state)
{
	struct test_gso g = { .ip6 = true,
			      .udp = true,
			      .payload = 100,
			      .gso_size = 60,
			      .extra = 128 };
	struct packet p = test_gso_packet(&g, frame);

	assert_int_equal(offload_check(&p), 0);
	g.extra = 136;
	p = test_gso_packet(&g, frame);
	assert_int_equal(offload_check(&p), -EINVAL);
}

static void longer_than_any_frame(void **state)
{
	struct packet p = test_gso_packet(&tcp4, frame);

	p.len = p.head_len = WIRE_FRAME_MAX;
	assert_int_equal(check_csum(&p, 34, 16), 0);
	p.len = p.head_len = WIRE_FRAME_MAX + 1;
	assert_int_equal(check_csum(&p, 34, 16), -EINVAL);
}

/* -- what is taken -------------------------------------------------------- */

static void all_that_guests_send(void **state)
{
	for (size_t i = 0; i < TEST_GSOS; i++) {
		struct packet p = test_gso_packet(&test_gsos[i], frame);
		struct offload sent = p.offload;

		p.offload.hdr_len = 1; /* "MUST NOT rely on" it */
		p.offload.flags |= DATA_VALID;
		if (!test_gsos[i].udp)
			p.offload.gso ^= ECN;
		assert_int_equal(offload_check(&p), 0);
		assert_offload(&p.offload, &sent);
		assert_int_equal(offload_longest(&p),
				 sent.hdr_len + sent.gso_size);
		assert_int_equal(offload_check(&p), 0); /* and once more */
		assert_offload(&p.offload, &sent);
	}
}

/* Not even looked at. */
static void nothing_to_do(void **state)
{
	static const struct offload none = { 0 };
	static const struct offload odd[] = {
		{ 0 },
		{ .hdr_len = 54, .gso_size = 9, .csum_start = 65535 },
		{ .flags = DATA_VALID, .csum_offset = 65535 },
		{ .flags = (uint8_t)~NEEDS_CSUM },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct packet p = { .len = 1000000, .offload = odd[i] };

		assert_int_equal(offload_check(&p), 0);
		assert_offload(&p.offload, &none);
		assert_int_equal(offload_longest(&p), 1000000);
	}
}

static void a_vouched_for_checksum_is_one_to_be_checked(void **state)
{
	static const struct offload clean = { .flags = NEEDS_CSUM,
					      .csum_start = 34,
					      .csum_offset = 16 };
	struct packet p = test_gso_packet(&tcp4, frame);

	p.offload.gso = VIRTIO_NET_HDR_GSO_NONE;
	p.offload.flags = NEEDS_CSUM | DATA_VALID | RSC_INFO | 0x80;
	assert_int_equal(offload_check(&p), 0);
	assert_offload(&p.offload, &clean);
}

static void one_segment_need_not_be_cut(void **state)
{
	static const struct offload clean = { .flags = NEEDS_CSUM,
					      .csum_start = 34,
					      .csum_offset = 16 };
	struct test_gso g = { .gso_size = 1460 };
	struct packet p;

	for (g.payload = 0; g.payload <= 1460; g.payload += 730) {
		p = test_gso_packet(&g, frame);
		assert_int_equal(offload_check(&p), 0);
		assert_offload(&p.offload, &clean);
		assert_int_equal(offload_longest(&p), p.len);
	}
}

/* A tunnel of the guest's own: the checksum is that of the inner packet. */
static void a_checksum_further_in(void **state)
{
	struct packet p = test_gso_packet(&udp4, frame);

	assert_int_equal(check_csum(&p, 34 + 8 + 8 + 14 + 20, 16), 0);
	p = test_gso_packet(&tcp6, frame);
	assert_int_equal(check_csum(&p, 70, 16), 0);
}

static void as_many_segments_as_allowed(void **state)
{
	struct test_gso g = { .payload = OFFLOAD_SEGMENTS_MAX * 3,
			      .gso_size = 3 };
	struct packet p = test_gso_packet(&g, frame);

	assert_int_equal(offload_check(&p), 0);
	g.payload++;
	p = test_gso_packet(&g, frame);
	assert_int_equal(offload_check(&p), -EINVAL);
}

static void what_a_receiver_must_take(void **state)
{
	static const struct {
		uint8_t flags, gso;
		unsigned int needs;
	} rows[] = {
		{ 0, 0, 0 },
		{ NEEDS_CSUM, 0, OFFLOAD_CSUM },
		{ NEEDS_CSUM, TCPV4, OFFLOAD_CSUM | OFFLOAD_TSO4 },
		{ NEEDS_CSUM, TCPV4 | ECN,
		  OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_ECN },
		{ NEEDS_CSUM, TCPV6, OFFLOAD_CSUM | OFFLOAD_TSO6 },
		{ NEEDS_CSUM, TCPV6 | ECN,
		  OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_ECN },
		{ NEEDS_CSUM, UDP_L4, OFFLOAD_CSUM | OFFLOAD_USO },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct offload o = { .flags = rows[i].flags,
				     .gso = rows[i].gso };

		assert_int_equal(offload_needs(&o), rows[i].needs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_that_lie),
		cmocka_unit_test(offloads_that_lie),
		cmocka_unit_test(no_kind_at_all),
		cmocka_unit_test(a_checksum_out_of_place),
		cmocka_unit_test(a_checksum_where_there_is_no_ip),
		cmocka_unit_test(three_tags),
		cmocka_unit_test(headers_that_are_cut_off),
		cmocka_unit_test(headers_longer_than_a_head),
		cmocka_unit_test(longer_than_any_frame),
		cmocka_unit_test(all_that_guests_send),
		cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(a_vouched_for_checksum_is_one_to_be_checked),
		cmocka_unit_test(one_segment_need_not_be_cut),
		cmocka_unit_test(a_checksum_further_in),
		cmocka_unit_test(as_many_segments_as_allowed),
		cmocka_unit_test(what_a_receiver_must_take),
	};

	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
