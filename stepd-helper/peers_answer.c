#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "log.h"
#include "peers_impl.h"

/* Who asked waits for its answer as long as we are there, and does not ask
 * again. So an answer goes only when it was taken, or there is nobody who
 * could: where it finds no room, since the asker reads nothing, or is lost, it
 * is sent again and again. One that is long does not wait in its full length
 * for ever: after some seconds an error takes its place, which is short.
 */

#define RESEND_MS 100 /* after an answer was lost, or found no room */
#define RESENDS	  100

/* To a request of another's, until that task has it. */
struct answer {
	TAILQ_ENTRY(answer) link;
	uint64_t msg; /* 0: to be sent again */
	uint32_t rank;
	unsigned int tries, unreached;
	size_t len;
	char text[];
};

static void send_answer(struct peers *p, struct answer *a);

/* Long ones are counted. */
static size_t counted(const struct answer *a)
{
	return a->len > PEERS_SHORT ? a->len : 0;
}

static void answer_free(struct peers *p, struct answer *a)
{
	TAILQ_REMOVE(&p->answers, a, link);
	p->answer_bytes -= counted(a);
	free(a);
}

static struct answer *answer_new(struct peers *p, uint32_t rank,
				 const char *data, size_t len)
{
	struct answer *a = malloc(sizeof(*a) + len);

	if (!a)
		return NULL;
	*a = (struct answer){ .rank = rank, .len = len };
	memcpy(a->text, data, len);
	TAILQ_INSERT_TAIL(&p->answers, a, link);
	p->answer_bytes += counted(a);
	return a;
}

/* -- in its place ---------------------------------------------------------- */

static size_t given_up_json(const char *text, size_t len, char *ret)
{
	json_t *msg = json_loadb(text, len, 0, NULL);
	json_int_t id = json_integer_value(json_object_get(msg, "id"));

	json_decref(msg);
	return (size_t)snprintf(
		ret, PEERS_SHORT,
		"{\"jsonrpc\":\"2.0\",\"id\":%" JSON_INTEGER_FORMAT
		",\"error\":{\"code\":%d,\"message\":\"%s\"}}",
		id, RPC_E_LOST, PEERS_GIVEN_UP);
}

/* Without memory it stays as it is. */
static void give_up(struct peers *p, struct answer *a)
{
	struct answer *error;
	char text[PEERS_SHORT];
	size_t len = 0;

	if (*a->text == '{')
		len = given_up_json(a->text, a->len, text);
	else if (p->other)
		len = p->other->given_up(a->text, a->len, text, p->other_arg);
	error = len ? answer_new(p, a->rank, text, len) : NULL;
	if (!error && len)
		return;
	log_limited(LOG_LEVEL_WARN,
		    "vm[%" PRIu32
		    "] takes no answers: one of %zu bytes is given up",
		    a->rank, a->len);
	answer_free(p, a);
}

/* -- again ----------------------------------------------------------------- */

static void send_later(struct peers *p, struct answer *a)
{
	a->msg = 0;
	a->tries++;
	if (!p->resends)
		loop_timer_set(p->resend, RESEND_MS);
	p->resends = true;
	if (a->tries > p->patience && a->len > PEERS_SHORT)
		give_up(p, a);
}

static void send_answer(struct peers *p, struct answer *a)
{
	struct rank_range range = { a->rank, a->rank };
	const struct rankset to = { &range, 1 };
	int r = oplink_send(p->oplink, &to, a->text, a->len, &a->msg);

	if (r == -ENOBUFS || r == -ENOMEM)
		send_later(p, a);
	else if (r < 0)
		answer_free(p, a);
}

static void on_resend(void *arg)
{
	struct peers *p = arg;
	struct answer *a, *next;

	p->resends = false;
	for (a = TAILQ_FIRST(&p->answers); a; a = next) {
		next = TAILQ_NEXT(a, link);
		if (!a->msg)
			send_answer(p, a);
	}
}

int peers_answer(struct peers *p, uint32_t rank, const char *data, size_t len)
{
	struct answer *a;

	if (len > OPMSG_BYTES_MAX)
		return -EMSGSIZE;
	if (len > PEERS_SHORT && p->answer_bytes + len > PEERS_BYTES)
		return -ENOBUFS;
	a = answer_new(p, rank, data, len);
	if (!a)
		return -ENOMEM;
	send_answer(p, a);
	return 0;
}

/* A node that was not reached may be again; where it is not for long, who asked
 * there does not reach us either, and was told so. */
static bool is_gone(const struct peers *p, struct answer *a, enum opmsg_end how)
{
	a->unreached = how == OPMSG_UNREACHABLE ? a->unreached + 1 : 0;
	return how == OPMSG_NO_HELPER || a->unreached > p->patience;
}

bool peers_answer_ended(struct peers *p, uint64_t id, enum opmsg_end how)
{
	struct answer *a;

	TAILQ_FOREACH(a, &p->answers, link)
	if (a->msg == id)
		break;
	if (!a)
		return false;
	if (how == OPMSG_TAKEN || is_gone(p, a, how))
		answer_free(p, a);
	else
		send_later(p, a);
	return true;
}

/* -- life ------------------------------------------------------------------ */

int peers_answers_init(struct peers *p)
{
	TAILQ_INIT(&p->answers);
	p->patience = RESENDS;
	return loop_timer_add(p->loop, -1, on_resend, p, &p->resend);
}

void peers_answers_done(struct peers *p)
{
	struct answer *a;

	while ((a = TAILQ_FIRST(&p->answers)))
		answer_free(p, a);
	loop_timer_free(p->resend);
}
