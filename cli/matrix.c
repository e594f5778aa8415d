#include <config.h>

#include "matrix.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "rankset.h"

/* -- sums ------------------------------------------------------------------ */

static void add(struct matrix *m, uint32_t from, uint32_t column,
		json_int_t frames, json_int_t bytes)
{
	struct matrix_sum *s = &m->sums[from / m->block][column];

	s->frames += (double)frames;
	s->bytes += (double)bytes;
}

static void add_sum(struct matrix *m, uint32_t from, uint32_t column,
		    const json_t *sum)
{
	add(m, from, column, json_integer_value(json_object_get(sum, "frames")),
	    json_integer_value(json_object_get(sum, "bytes")));
}

/* [rank, frames, bytes] */
static void add_peer(struct matrix *m, uint32_t from, const json_t *peer)
{
	json_int_t to = json_integer_value(json_array_get(peer, 0));

	if (to >= 0 && to < (json_int_t)m->ranks)
		add(m, from, (uint32_t)to / m->block,
		    json_integer_value(json_array_get(peer, 1)),
		    json_integer_value(json_array_get(peer, 2)));
}

static void add_port(struct matrix *m, const json_t *node, const json_t *port)
{
	json_int_t rank = json_integer_value(json_object_get(port, "rank"));
	const char *host = json_string_value(json_object_get(node, "node"));
	const json_t *peer;
	uint32_t from;
	size_t i;

	if (rank < 0 || rank >= (json_int_t)m->ranks)
		return;
	from = (uint32_t)rank;
	snprintf(m->hosts[from], sizeof(m->hosts[from]), "%s",
		 host ? host : "");
	json_array_foreach (json_object_get(port, "to"), i, peer)
		add_peer(m, from, peer);
	add_sum(m, from, m->side, json_object_get(port, "to_all"));
	add_sum(m, from, m->side + 1, json_object_get(port, "to_others"));
}

int matrix_make(const json_t *step, struct matrix *ret, struct errmsg *err)
{
	json_int_t ranks = json_integer_value(json_object_get(step, "tasks"));
	const char *name = json_string_value(json_object_get(step, "step"));
	const json_t *node, *port;
	size_t i, j;

	*ret = (struct matrix){ 0 };
	if (ranks < 1 || ranks > (json_int_t)RANK_MAX + 1)
		return errmsg_say(err, -EINVAL,
				  "a step of %lld tasks has no matrix",
				  (long long)ranks);
	snprintf(ret->step, sizeof(ret->step), "%s", name ? name : "?");
	ret->ranks = (uint32_t)ranks;
	ret->block = (ret->ranks + MATRIX_SIDE - 1) / MATRIX_SIDE;
	ret->side = (ret->ranks + ret->block - 1) / ret->block;
	ret->sums = calloc(ret->side, sizeof(*ret->sums));
	ret->hosts = calloc(ret->ranks, sizeof(*ret->hosts));
	if (!ret->sums || !ret->hosts) {
		matrix_done(ret);
		return errmsg_set(err, -ENOMEM, "matrix");
	}
	json_array_foreach (json_object_get(step, "nodes"), i, node)
		json_array_foreach (json_object_get(node, "ports"), j, port)
			add_port(ret, node, port);
	return 0;
}

void matrix_done(struct matrix *m)
{
	free(m->sums);
	free(m->hosts);
	*m = (struct matrix){ 0 };
}

/* -- the picture ----------------------------------------------------------- */

#define CELL   14
#define LEFT   150 /* for the rows' labels */
#define TOP    110 /* for the title and the columns' labels */
#define LEGEND 100

/* Ten steps of the logarithm, from the least that was sent to the most. */
#define SHADES 10

struct scale {
	double least, most; /* bytes, not 0; 0 and 0: nothing was sent */
};

static struct scale scale_of(const struct matrix *m)
{
	struct scale s = { 0, 0 };

	for (uint32_t row = 0; row < m->side; row++)
		for (uint32_t col = 0; col < m->side + 2; col++) {
			double n = m->sums[row][col].bytes;

			if (n > s.most)
				s.most = n;
			if (n > 0 && (s.least == 0 || n < s.least))
				s.least = n;
		}
	return s;
}

/* -1: nothing. */
static int shade(const struct scale *s, double bytes)
{
	double at;

	if (bytes <= 0)
		return -1;
	if (s->most <= s->least)
		return SHADES - 1;
	at = log(bytes / s->least) / log(s->most / s->least);
	return (int)fmin(SHADES - 1, fmax(0, floor(at * SHADES)));
}

/* Light to dark, for a white ground and for black and white alike. */
static void put_fill(FILE *f, int n)
{
	double at = n < 0 ? 0 : (n + 1.0) / SHADES;

	if (n < 0)
		fputs("#f6f6f6", f);
	else
		fprintf(f, "#%02x%02x%02x", (unsigned int)(222 - at * 214),
			(unsigned int)(235 - at * 187),
			(unsigned int)(247 - at * 140));
}

/* Text from elsewhere: a host's or step's name. */
static void put_text(FILE *f, const char *text)
{
	for (const char *p = text; *p; p++)
		if (strchr("<>&\"'", *p) || (unsigned char)*p < ' ' ||
		    (unsigned char)*p >= 0x7f)
			fprintf(f, "&#%d;",
				(unsigned char)*p < ' ' ? '?'
							: (unsigned char)*p);
		else
			fputc(*p, f);
}

/* "3", "128-255" */
static void row_ranks(const struct matrix *m, uint32_t row, char out[32])
{
	uint32_t first = row * m->block, last = first + m->block - 1;

	if (last >= m->ranks)
		last = m->ranks - 1;
	if (first == last)
		snprintf(out, 32, "%u", first);
	else
		snprintf(out, 32, "%u-%u", first, last);
}

/* "3 on n1", "128-255 on n1 ..." */
static void put_who(FILE *f, const struct matrix *m, uint32_t row)
{
	uint32_t first = row * m->block, last = first + m->block - 1;
	char ranks[32];

	if (last >= m->ranks)
		last = m->ranks - 1;
	row_ranks(m, row, ranks);
	fputs(ranks, f);
	if (!m->hosts[first][0])
		return;
	fputs(" on ", f);
	put_text(f, m->hosts[first]);
	if (strcmp(m->hosts[first], m->hosts[last]) != 0)
		fputs(" ...", f);
}

static void put_column_name(FILE *f, const struct matrix *m, uint32_t col)
{
	if (col < m->side)
		put_who(f, m, col);
	else
		fputs(col == m->side ? "all" : "others", f);
}

/* The last two stand apart. */
static uint32_t column_x(const struct matrix *m, uint32_t col)
{
	return LEFT + col * CELL + (col >= m->side ? CELL / 2 : 0);
}

static void put_cell(FILE *f, const struct matrix *m, const struct scale *s,
		     uint32_t row, uint32_t col)
{
	const struct matrix_sum *sum = &m->sums[row][col];
	char frames[FIGURE_TEXT], bytes[FIGURE_TEXT];

	fprintf(f, "<rect x=\"%u\" y=\"%u\" width=\"%d\" height=\"%d\" fill=\"",
		column_x(m, col), TOP + row * CELL, CELL - 1, CELL - 1);
	put_fill(f, shade(s, sum->bytes));
	fputs("\"><title>", f);
	put_who(f, m, row);
	fputs(" to ", f);
	put_column_name(f, m, col);
	fprintf(f, ": %sB, %s frames</title></rect>\n",
		figure(sum->bytes, bytes), figure(sum->frames, frames));
}

static void put_labels(FILE *f, const struct matrix *m)
{
	for (uint32_t i = 0; i < m->side; i++) {
		fprintf(f, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">",
			LEFT - 5, TOP + i * CELL + CELL - 4);
		put_who(f, m, i);
		fputs("</text>\n", f);
	}
	for (uint32_t i = 0; i < m->side + 2; i++) {
		uint32_t x = column_x(m, i) + CELL - 4;

		fprintf(f, "<text transform=\"translate(%u,%d) rotate(-60)\">",
			x, TOP - 4);
		put_column_name(f, m, i);
		fputs("</text>\n", f);
	}
}

/* What a shade stands for: from that many bytes on. */
static double shade_from(const struct scale *s, int n)
{
	return s->least * pow(s->most / s->least, (double)n / SHADES);
}

static void put_legend(FILE *f, const struct matrix *m, const struct scale *s)
{
	uint32_t y = TOP + m->side * CELL + 20;
	char from[FIGURE_TEXT];

	fprintf(f,
		"<text x=\"%d\" y=\"%u\">bytes sent, from (k, M, G by powers of 1000; broadcast and multicast: all; no task of the step: others)</text>\n",
		10, y);
	y += 10;
	for (int i = -1; i < SHADES && s->most > 0; i++) {
		int x = 10 + (i + 1) * 52;

		fprintf(f,
			"<rect x=\"%d\" y=\"%u\" width=\"50\" height=\"%d\" fill=\"",
			x, y, CELL);
		put_fill(f, i);
		fprintf(f, "\"/>\n<text x=\"%d\" y=\"%u\">%s%s</text>\n", x,
			y + CELL + 14,
			i < 0 ? "none" : figure(shade_from(s, i), from),
			i < 0 ? "" : "B");
	}
	if (s->most <= 0)
		fprintf(f, "<text x=\"10\" y=\"%u\">nothing was sent</text>\n",
			y + CELL);
}

int matrix_svg(const struct matrix *m, FILE *f)
{
	const struct scale s = scale_of(m);
	uint32_t width = column_x(m, m->side + 2) + 80;
	uint32_t height = TOP + m->side * CELL + LEGEND;

	if (width < 720)
		width = 720; /* the legend's */
	fprintf(f,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\" font-family=\"sans-serif\" font-size=\"10\">\n",
		width, height, width, height);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n", f);
	fputs("<text x=\"10\" y=\"20\" font-size=\"14\">step ", f);
	put_text(f, m->step);
	fprintf(f,
		": bytes from task (row) to task (column), %u tasks%s</text>\n",
		m->ranks, m->block > 1 ? " in blocks" : "");
	put_labels(f, m);
	for (uint32_t row = 0; row < m->side; row++)
		for (uint32_t col = 0; col < m->side + 2; col++)
			put_cell(f, m, &s, row, col);
	put_legend(f, m, &s);
	fputs("</svg>\n", f);
	return fflush(f) == 0 && !ferror(f) ? 0 : -EIO;
}
