#include "frame.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "crc32c.h"

/* As they lie on the wire. */
struct wire_header {
	uint8_t magic[2];
	uint8_t type, flags;
	uint32_t channel, length, crc;
};
static_assert(sizeof(struct wire_header) == FRAME_HEADER, "header");

struct wire_sync {
	uint8_t nonce[FRAME_NONCE_LEN], echo[FRAME_NONCE_LEN];
	uint8_t boot_id[FRAME_BOOT_ID_LEN];
	uint16_t proto_min, proto_max;
	uint32_t max_frame;
	uint64_t sent;
};
static_assert(sizeof(struct wire_sync) == FRAME_SYNC_LEN, "SYNC");

struct wire_credit {
	uint64_t consumed;
	uint32_t window;
} __attribute__((packed));
static_assert(sizeof(struct wire_credit) == FRAME_CREDIT_LEN, "CREDIT");

static const uint8_t magic[2] = { 'V', 'M' };

static const struct rule {
	const char *name;
	uint8_t flags; /* that it may have */
	bool channel;  /* has it one? */
	uint32_t min, max;
} rules[] = {
	[FRAME_SYNC] = { "SYNC", FRAME_ASK, false, FRAME_SYNC_LEN,
			 FRAME_SYNC_MAX },
	[FRAME_CTRL] = { "CTRL", FRAME_MORE, false, 1, FRAME_PAYLOAD_MAX },
	[FRAME_DATA] = { "DATA", 0, true, 1, FRAME_PAYLOAD_MAX },
	[FRAME_CREDIT] = { "CREDIT", 0, true, FRAME_CREDIT_LEN,
			   FRAME_CREDIT_LEN },
	[FRAME_EOF] = { "EOF", FRAME_BACK, true, 0, 0 },
	[FRAME_RESET] = { "RESET", FRAME_BACK, true, 4, 4 },
	[FRAME_PING] = { "PING", 0, false, 8, 8 },
	[FRAME_PONG] = { "PONG", 0, false, 8, 8 },
};
static_assert(ARRAY_SIZE(rules) == FRAME_TYPES, "a rule for each type");

void frame_encode(const struct frame *f, uint8_t bytes[FRAME_HEADER])
{
	struct wire_header w = {
		.magic = { magic[0], magic[1] },
		.type = f->type,
		.flags = f->flags,
		.channel = htole32(f->channel),
		.length = htole32(f->length),
	};

	w.crc = htole32(crc32c(0, &w, offsetof(struct wire_header, crc)));
	memcpy(bytes, &w, sizeof(w));
}

static int check(const struct frame *f, struct errmsg *err)
{
	const struct rule *rule;

	if (f->type >= FRAME_TYPES)
		return errmsg_say(err, -EBADMSG, "a frame of unknown type %u",
				  f->type);
	rule = &rules[f->type];
	if (f->flags & ~rule->flags)
		return errmsg_say(err, -EBADMSG, "a %s frame with flags 0x%x",
				  rule->name, f->flags);
	if (rule->channel != (f->channel != 0))
		return errmsg_say(err, -EBADMSG, "a %s frame on channel %u",
				  rule->name, f->channel);
	if (f->length < rule->min || f->length > rule->max)
		return errmsg_say(err, -EBADMSG, "a %s frame of %u bytes",
				  rule->name, f->length);
	return 0;
}

int frame_decode(const uint8_t bytes[FRAME_HEADER], struct frame *ret,
		 struct errmsg *err)
{
	struct wire_header w;
	struct frame f;
	int r;

	memcpy(&w, bytes, sizeof(w));
	if (memcmp(w.magic, magic, sizeof(magic)) != 0)
		return errmsg_say(err, -EBADMSG,
				  "no frame where one should begin");
	if (le32toh(w.crc) !=
	    crc32c(0, bytes, offsetof(struct wire_header, crc)))
		return errmsg_say(err, -EBADMSG, "a frame with a bad checksum");
	f = (struct frame){ w.type, w.flags, le32toh(w.channel),
			    le32toh(w.length) };
	r = check(&f, err);
	if (r < 0)
		return r;
	*ret = f;
	return 0;
}

void frame_sync_encode(const struct frame_sync *s,
		       uint8_t bytes[FRAME_SYNC_LEN])
{
	struct wire_sync w = {
		.proto_min = htole16(s->proto_min),
		.proto_max = htole16(s->proto_max),
		.max_frame = htole32(s->max_frame),
		.sent = htole64(s->sent),
	};

	memcpy(w.nonce, s->nonce, sizeof(w.nonce));
	memcpy(w.echo, s->echo, sizeof(w.echo));
	memcpy(w.boot_id, s->boot_id, sizeof(w.boot_id));
	memcpy(bytes, &w, sizeof(w));
}

void frame_sync_decode(const uint8_t bytes[FRAME_SYNC_LEN],
		       struct frame_sync *ret)
{
	struct wire_sync w;

	memcpy(&w, bytes, sizeof(w));
	memcpy(ret->nonce, w.nonce, sizeof(w.nonce));
	memcpy(ret->echo, w.echo, sizeof(w.echo));
	memcpy(ret->boot_id, w.boot_id, sizeof(w.boot_id));
	ret->proto_min = le16toh(w.proto_min);
	ret->proto_max = le16toh(w.proto_max);
	ret->max_frame = le32toh(w.max_frame);
	ret->sent = le64toh(w.sent);
}

void frame_credit_encode(const struct frame_credit *c,
			 uint8_t bytes[FRAME_CREDIT_LEN])
{
	struct wire_credit w = { htole64(c->consumed), htole32(c->window) };

	memcpy(bytes, &w, sizeof(w));
}

void frame_credit_decode(const uint8_t bytes[FRAME_CREDIT_LEN],
			 struct frame_credit *ret)
{
	struct wire_credit w;

	memcpy(&w, bytes, sizeof(w));
	ret->consumed = le64toh(w.consumed);
	ret->window = le32toh(w.window);
}
