#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "answer.h"
#include "dns.h"
#include "inet.h"

#define NET 0x0a000000u

enum { A = 1, NS = 2, SOA = 6, PTR = 12, TXT = 16, AAAA = 28, ANY = 255 };
enum { OK = 0, FORMERR = 1, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 };
enum { NOTHING = -1 };

static struct answer_conf conf;
static uint8_t ask[700], reply[DNS_MAX];
static size_t ask_len, reply_len;

static int set_up(void **state)
{
	conf = (struct answer_conf){
		{ NET, 8 }, 130, 9000, { "vm%t", "example.org" }
	};
	return 0;
}

/* -- questions ------------------------------------------------------------ */

static void begin(void)
{
	memset(ask, 0, sizeof(ask));
	header_put16(ask, 0xbeef);
	ask[2] = 1; /* recursion, please */
	header_put16(ask + 4, 1);
	ask_len = 12;
}

static void put_name(const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");

		ask[ask_len++] = (uint8_t)len;
		memcpy(ask + ask_len, name, len);
		ask_len += len;
		name += len + (name[len] == '.');
	}
	ask[ask_len++] = 0;
}

static void put16(uint16_t v)
{
	header_put16(ask + ask_len, v);
	ask_len += 2;
}

static void make(const char *name, uint16_t type)
{
	begin();
	put_name(name);
	put16(type);
	put16(1);
}

static void put_edns(uint8_t version)
{
	static const uint8_t opt[11] = { 0, 0, 41, 4, 208 };

	header_put16(ask + 10, 1);
	memcpy(ask + ask_len, opt, sizeof(opt));
	ask[ask_len + 6] = version;
	ask_len += sizeof(opt);
}

/* The reply's code; NOTHING where there is none. In memory of its own size, so
 * that a sanitizer sees each byte too far. */
static int reply_code(void)
{
	uint8_t *copy = malloc(ask_len);

	assert_non_null(copy);
	memcpy(copy, ask, ask_len);
	memset(reply, 0x5a, sizeof(reply));
	reply_len = dns_answer(&conf, copy, ask_len, reply);
	free(copy);
	if (!reply_len)
		return NOTHING;
	assert_in_range(reply_len, 12, DNS_MAX);
	assert_int_equal(header_get16(reply), 0xbeef);
	assert_int_equal(reply[2] & 0x82, 0x80); /* a reply, not cut */
	assert_int_equal(reply[3] & 0xf0, 0);
	return reply[3];
}

static int question(const char *name, uint16_t type)
{
	make(name, type);
	return reply_code();
}

/* How many questions, answers, records of authority, others there are. */
static void assert_counts(int qd, int an, int ns, int ar)
{
	assert_int_equal(header_get16(reply + 4), qd);
	assert_int_equal(header_get16(reply + 6), an);
	assert_int_equal(header_get16(reply + 8), ns);
	assert_int_equal(header_get16(reply + 10), ar);
}

static void assert_address(const char *name, uint32_t ip)
{
	assert_int_equal(question(name, A), OK);
	assert_counts(1, 1, 0, 0);
	assert_int_equal(reply[2], 0x85); /* authoritative */
	assert_memory_equal(reply + 12, ask + 12, ask_len - 12);
	assert_int_equal(reply_len, ask_len + 16);
	assert_memory_equal(reply + ask_len, "\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4",
			    12);
	assert_int_equal(header_get32(reply + ask_len + 12), ip);
}

static void assert_no_data(const char *name, uint16_t type, int authority)
{
	assert_int_equal(question(name, type), OK);
	assert_counts(1, 0, authority, 0);
}

static void assert_ptr(const char *name, const char *wire, size_t len)
{
	assert_int_equal(question(name, PTR), OK);
	assert_counts(1, 1, 0, 0);
	assert_int_equal(header_get16(reply + ask_len + 10), len);
	assert_memory_equal(reply + ask_len + 12, wire, len);
	assert_int_equal(reply_len, ask_len + 12 + len);
}

/* -- what is no question -------------------------------------------------- */

static void what_is_no_question_gets_no_reply(void **state)
{
	make("vm0", A);
	for (ask_len = 0; ask_len < 12; ask_len++)
		assert_int_equal(reply_code(), NOTHING);
	make("vm0", A);
	ask[2] = 0x80; /* a reply */
	assert_int_equal(reply_code(), NOTHING);
}

static void assert_only_header(int code)
{
	assert_int_equal(reply_code(), code);
	assert_int_equal(reply_len, 12);
	assert_counts(0, 0, 0, 0);
}

static void malformed_questions_are_told_so(void **state)
{
	size_t whole;

	make("vm0", A);
	whole = ask_len;
	for (ask_len = 12; ask_len < whole; ask_len++)
		assert_only_header(FORMERR);
	ask[5] = 2; /* questions */
	assert_only_header(FORMERR);
	ask[5] = 0;
	assert_only_header(FORMERR);
	make("vm0", A);
	ask[7] = 1; /* with an answer */
	assert_only_header(FORMERR);
	make("vm0", A);
	ask[9] = 1; /* with an authority */
	assert_only_header(FORMERR);
}

static void names_that_are_none_are_malformed(void **state)
{
	begin();
	put16(0xc00c); /* a pointer, to itself */
	put16(A);
	put16(1);
	assert_only_header(FORMERR);
	begin();
	ask[ask_len++] = 0x40; /* no kind of label there is */
	ask_len += 80;
	assert_only_header(FORMERR);
	begin();
	for (int i = 0; i < 127; i++, ask_len += 2)
		ask[ask_len] = 1; /* 254 bytes, and the root's is the 255th */
	ask_len++;
	put16(A);
	put16(1);
	assert_int_equal(reply_code(), REFUSED);
	begin();
	for (int i = 0; i < 128; i++, ask_len += 2)
		ask[ask_len] = 1;
	ask_len += 20;
	assert_only_header(FORMERR);
}

static void other_operations_are_not_there(void **state)
{
	make("vm0", A);
	ask[2] = 5 << 3; /* UPDATE */
	assert_only_header(NOTIMP);
	assert_int_equal(reply[2], 0x80 | 5 << 3);
	ask_len = 12;
	assert_only_header(NOTIMP);
}

/* -- names ---------------------------------------------------------------- */

static void hosts_have_their_addresses(void **state)
{
	assert_address("vm0", NET + 1);
	assert_address("vm129", NET + 130);
	assert_address("vm3.example.org", NET + 4);
	assert_address("VM3.Example.ORG", NET + 4);
}

static void who_is_not_there_is_denied(void **state)
{
	static const char *const nobody[] = {
		"vm130",
		"vm03",
		"vm",
		"localhost",
		"com",
		"x.example.org",
		"vm130.example.org",
		"x.vm0.example.org",
	};

	for (size_t i = 0; i < sizeof(nobody) / sizeof(*nobody); i++) {
		assert_int_equal(question(nobody[i], A), NXDOMAIN);
		assert_counts(1, 0, strchr(nobody[i], '.') != NULL, 0);
		assert_int_equal(reply[2], 0x85);
	}
}

static void foreign_names_are_refused(void **state)
{
	static const char *const foreign[] = {
		"",
		"www.example.com",
		"org",
		"vm0.vm0",
		"vm0.xexample.org",
		"vm0.example.org.com",
		"1.1.168.192.in-addr.arpa",
	};

	conf.names.pattern = "n.%t";
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
		int want = strcmp(foreign[i], "org") == 0 ? NXDOMAIN : REFUSED;

		assert_int_equal(question(foreign[i], A), want);
		assert_counts(1, 0, 0, 0);
	}
	assert_int_equal(question("n.130", A), NXDOMAIN);
	assert_int_equal(question("n.129", A), OK);
}

static void a_dot_in_a_label_is_none(void **state)
{
	make("vm0xexample.org", A);
	ask[12 + 4] = '.';
	assert_int_equal(reply_code(), REFUSED);
	make("vm0xexamplexorg", A);
	ask[12 + 4] = ask[12 + 12] = '.';
	assert_int_equal(reply_code(), NXDOMAIN);
	make("vmx", A);
	ask[12 + 3] = 0;
	assert_int_equal(reply_code(), NXDOMAIN);
}

static void other_types_have_no_data(void **state)
{
	assert_no_data("vm0", AAAA, 0);
	assert_no_data("vm0.example.org", AAAA, 1);
	assert_no_data("vm0.example.org", TXT, 1);
	assert_no_data("vm0.example.org", PTR, 1);
	assert_no_data("example.org", A, 1);
	assert_no_data("1.0.0.10.in-addr.arpa", A, 0);
	assert_int_equal(question("vm0", ANY), OK);
	assert_counts(1, 1, 0, 0);
	assert_int_equal(question("example.org", 252), REFUSED);
	make("vm0", TXT);
	ask[ask_len - 1] = 3; /* of class CH */
	assert_int_equal(reply_code(), REFUSED);
}

static void a_denial_says_how_long_it_holds(void **state)
{
	const uint8_t *soa;

	assert_int_equal(question("x.example.org", A), NXDOMAIN);
	soa = reply + ask_len;
	assert_int_equal(reply_len, ask_len + 50);
	/* "example.org" begins behind "\1x" */
	assert_memory_equal(soa, "\xc0\x0e\0\6\0\1\0\0\x0e\x10\0\x26\xc0\x0e",
			    14);
	assert_memory_equal(soa + 14, "\6nobody\7invalid", 16);
	assert_int_equal(header_get32(soa + 46), 3600);
	assert_int_equal(question("example.org", SOA), OK);
	assert_counts(1, 1, 0, 0);
	assert_memory_equal(reply + ask_len, "\xc0\x0c\0\6", 4);
}

static void without_a_domain_there_are_short_names(void **state)
{
	conf.names.domain = NULL;
	assert_address("vm5", NET + 6);
	assert_int_equal(question("vm5.example.org", A), REFUSED);
	assert_ptr("6.0.0.10.in-addr.arpa", "\3vm5", 5);
}

/* -- the way back --------------------------------------------------------- */

static void addresses_have_names(void **state)
{
	assert_ptr("1.0.0.10.in-addr.arpa", "\3vm0\7example\3org", 17);
	assert_ptr("130.0.0.10.IN-ADDR.ARPA", "\5vm129\7example\3org", 19);
	assert_ptr("1.8.0.0.0.0.E.F.F.F.0.0.4.5.0.5.0.0.0.0.0.0.0.0.0.0.0.0.0.8"
		   ".e.f.ip6.arpa",
		   "\5vm129\7example\3org", 19);
}

static void addresses_of_nobody_are_denied(void **state)
{
	static const char *const nobody[] = {
		"131.0.0.10.in-addr.arpa",
		"0.0.0.10.in-addr.arpa",
		"254.255.255.10.in-addr.arpa",
		"255.255.255.10.in-addr.arpa",
		("2.8.0.0.0.0.e.f.f.f.0.0.4.5.0.5.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f"
		 ".ip6.arpa"),
	};
	static const char *const foreign[] = {
		"1.0.0.11.in-addr.arpa",
		"0.0.10.in-addr.arpa",
		"01.0.0.10.in-addr.arpa",
		"256.0.0.10.in-addr.arpa",
		"1.1.0.0.10.in-addr.arpa",
		"1.0.0.x.in-addr.arpa",
		"1234567890.0.0.10.in-addr.arpa",
		"in-addr.arpa",
		("1.8.0.0.0.0.e.f.f.f.0.0.4.5.0.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f"
		 ".ip6.arpa"),
		("1.8.0.0.0.0.e.f.f.f.0.0.4.5.0.5.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.g"
		 ".ip6.arpa"),
		"8.e.f.ip6.arpa",
		"ip6.arpa",
	};

	for (size_t i = 0; i < sizeof(nobody) / sizeof(*nobody); i++)
		assert_int_equal(question(nobody[i], PTR), NXDOMAIN);
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
		assert_int_equal(question(foreign[i], PTR), REFUSED);
}

/* -- EDNS ----------------------------------------------------------------- */

static void extended_questions_get_extended_replies(void **state)
{
	static const uint8_t opt[11] = { 0, 0, 41, 2, 0 };
	static const uint8_t bad[11] = { 0, 0, 41, 2, 0, 1 };

	make("vm0", A);
	put_edns(0);
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 1, 0, 1);
	assert_memory_equal(reply + reply_len - 11, opt, sizeof(opt));
	make("www.example.com", A);
	put_edns(0);
	assert_int_equal(reply_code(), REFUSED);
	assert_counts(1, 0, 0, 1);
	make("vm0", A);
	put_edns(1); /* which there is none of */
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 0, 0, 1);
	assert_memory_equal(reply + reply_len - 11, bad, sizeof(bad));
}

static void other_extras_are_passed_over(void **state)
{
	make("vm0", A);
	put_edns(0);
	ask_len--; /* cut */
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 1, 0, 0);
	ask_len = 12 + 5 + 4; /* missing */
	assert_int_equal(reply_code(), OK);
	ask_len += 11;
	ask[12 + 5 + 4 + 2] = 250; /* TSIG */
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 1, 0, 0);
}

/* A name of 253 bytes: asked for, denied, and as an answer. */
static void the_longest_replies_fit(void **state)
{
	char pattern[256], name[256];

	for (int i = 0; i < 240; i++)
		pattern[i] = i % 50 == 49 ? '.' : 'a';
	strcpy(pattern + 240, "%t");
	memcpy(name, pattern, 240);
	strcpy(name + 240, "7.example.org");
	conf.nranks = 10;
	conf.names.pattern = pattern;
	assert_int_equal(names_check(&conf.names, 10, NULL), 0);
	make(name, A);
	put_edns(0);
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 1, 0, 1);
	make(name, AAAA);
	put_edns(0);
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 0, 1, 1);
	make("7.0.0.0.0.0.e.f.f.f.0.0.4.5.0.5.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f"
	     ".ip6.arpa",
	     PTR);
	put_edns(0);
	assert_int_equal(reply_code(), OK);
	assert_counts(1, 1, 0, 1);
	assert_int_equal(header_get16(reply + 12 + 74 + 4 + 10), 255);
	assert_int_equal(reply_len, ask_len + 12 + 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_no_question_gets_no_reply,
				       set_up),
		cmocka_unit_test_setup(malformed_questions_are_told_so, set_up),
		cmocka_unit_test_setup(names_that_are_none_are_malformed,
				       set_up),
		cmocka_unit_test_setup(other_operations_are_not_there, set_up),
		cmocka_unit_test_setup(hosts_have_their_addresses, set_up),
		cmocka_unit_test_setup(who_is_not_there_is_denied, set_up),
		cmocka_unit_test_setup(foreign_names_are_refused, set_up),
		cmocka_unit_test_setup(a_dot_in_a_label_is_none, set_up),
		cmocka_unit_test_setup(other_types_have_no_data, set_up),
		cmocka_unit_test_setup(a_denial_says_how_long_it_holds, set_up),
		cmocka_unit_test_setup(without_a_domain_there_are_short_names,
				       set_up),
		cmocka_unit_test_setup(addresses_have_names, set_up),
		cmocka_unit_test_setup(addresses_of_nobody_are_denied, set_up),
		cmocka_unit_test_setup(extended_questions_get_extended_replies,
				       set_up),
		cmocka_unit_test_setup(other_extras_are_passed_over, set_up),
		cmocka_unit_test_setup(the_longest_replies_fit, set_up),
	};

	return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
