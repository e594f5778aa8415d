#include <config.h>

#include "userdata.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "digest.h"
#include "memstream.h"

/* -- YAML ------------------------------------------------------------------ */

static int yaml_error(const yaml_parser_t *p, struct errmsg *err)
{
	return errmsg_say(err, -EINVAL, "line %zu, column %zu: %s",
			  p->problem_mark.line + 1, p->problem_mark.column + 1,
			  p->problem ? p->problem : "not YAML");
}

/* Of the first document; the parser holds what it says of an error. */
static int load_mapping(yaml_parser_t *p, const char *text, size_t len,
			yaml_document_t *ret, struct errmsg *err)
{
	const yaml_node_t *root;

	yaml_parser_set_input_string(p, (const unsigned char *)text, len);
	if (!yaml_parser_load(p, ret))
		return yaml_error(p, err);
	root = yaml_document_get_root_node(ret);
	if (!root || root->type == YAML_MAPPING_NODE)
		return 0;
	yaml_document_delete(ret);
	return errmsg_say(
		err, -EINVAL,
		"it is no mapping: write lines of the form key: value");
}

static int load(const char *text, size_t len, yaml_document_t *ret,
		struct errmsg *err)
{
	yaml_parser_t p;
	int r;

	if (!yaml_parser_initialize(&p))
		return errmsg_set(err, -ENOMEM, "YAML");
	r = load_mapping(&p, text, len, ret, err);
	yaml_parser_delete(&p);
	return r;
}

int userdata_check_yaml(const char *text, size_t len, struct errmsg *err)
{
	yaml_document_t doc;
	int r = load(text, len, &doc, err);

	if (r == 0)
		yaml_document_delete(&doc);
	return r;
}

/* -- meta-data ------------------------------------------------------------- */

static const char *scalar(yaml_document_t *doc, int id)
{
	const yaml_node_t *n = yaml_document_get_node(doc, id);

	return n && n->type == YAML_SCALAR_NODE
		       ? (const char *)n->data.scalar.value
		       : NULL;
}

static int find_key(yaml_document_t *doc, const char *key)
{
	yaml_node_t *root = yaml_document_get_root_node(doc);
	yaml_node_pair_t *at;

	for (at = root->data.mapping.pairs.start;
	     at < root->data.mapping.pairs.top; at++) {
		const char *name = scalar(doc, at->key);

		if (name && strcmp(name, key) == 0)
			return (int)(at - root->data.mapping.pairs.start);
	}
	return -1;
}

static int add_scalar(yaml_document_t *doc, const char *text)
{
	return yaml_document_add_scalar(doc, NULL, (const yaml_char_t *)text,
					-1, YAML_ANY_SCALAR_STYLE);
}

/* A scalar that is added moves the nodes: the root is looked up after it. */
static bool set_key(yaml_document_t *doc, const char *key, const char *value)
{
	int at = find_key(doc, key), v = add_scalar(doc, value), k;
	yaml_node_t *root;

	if (!v)
		return false;
	if (at < 0) {
		k = add_scalar(doc, key);
		return k && yaml_document_append_mapping_pair(doc, 1, k, v);
	}
	root = yaml_document_get_root_node(doc);
	root->data.mapping.pairs.start[at].value = v;
	return true;
}

static bool tail_instance(yaml_document_t *doc, const char *tail)
{
	static const char key[] = "instance-id";
	yaml_node_t *root = yaml_document_get_root_node(doc);
	_cleanup_free_ char *both = NULL;
	int at = find_key(doc, key);
	const char *old;

	old = at < 0 ? NULL
		     : scalar(doc, root->data.mapping.pairs.start[at].value);
	if (asprintf(&both, "%s%s", old ? old : "vmstep", tail) < 0) {
		both = NULL;
		return false;
	}
	return set_key(doc, key, both);
}

/* Lines of the form "key: value", which we wrote ourselves. */
static bool set_lines(yaml_document_t *doc, const char *lines)
{
	_cleanup_free_ char *copy = strdup(lines);
	char *rest = copy, *line;

	if (!copy)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		char *colon = strstr(line, ": ");

		if (!colon)
			continue;
		*colon = '\0';
		if (!set_key(doc, line, colon + 2))
			return false;
	}
	return true;
}

static int append(void *arg, unsigned char *data, size_t size)
{
	return fwrite(data, 1, size, arg) == size;
}

/* Takes @doc, whatever comes of it. */
static int write_out(yaml_document_t *doc, char **ret, struct errmsg *err)
{
	struct memstream m;
	yaml_emitter_t e;
	bool good = false;

	if (!yaml_emitter_initialize(&e)) {
		yaml_document_delete(doc);
		return errmsg_set(err, -ENOMEM, "YAML");
	}
	if (!memstream_open(&m)) {
		yaml_emitter_delete(&e);
		yaml_document_delete(doc);
		return errmsg_set(err, -ENOMEM, "YAML");
	}
	yaml_emitter_set_output(&e, append, m.f);
	yaml_emitter_set_unicode(&e, 1);
	if (yaml_emitter_open(&e)) {
		good = yaml_emitter_dump(&e, doc);
		good = yaml_emitter_close(&e) && good;
	} else {
		yaml_document_delete(doc);
	}
	yaml_emitter_delete(&e);
	*ret = memstream_close(&m, NULL);
	if (*ret && good)
		return 0;
	free(TAKE_PTR(*ret));
	return errmsg_set(err, -ENOMEM, "YAML");
}

int userdata_merge_meta(const char *text, size_t len, const char *tail,
			const char *ours, char **ret, struct errmsg *err)
{
	yaml_document_t doc;
	int r = load(text, len, &doc, err);

	*ret = NULL;
	if (r < 0)
		return r;
	if (!yaml_document_get_root_node(&doc) &&
	    !yaml_document_add_mapping(&doc, NULL, YAML_BLOCK_MAPPING_STYLE)) {
		yaml_document_delete(&doc);
		return errmsg_set(err, -ENOMEM, "YAML");
	}
	if (!tail_instance(&doc, tail) || !set_lines(&doc, ours)) {
		yaml_document_delete(&doc);
		return errmsg_set(err, -ENOMEM, "YAML");
	}
	return write_out(&doc, ret, err);
}

/* -- user-data ------------------------------------------------------------- */

/* By the beginning of the text, the longer before what they begin with. NULL:
 * it is MIME already, and its own headers are those of the part. */
static const struct kind {
	const char *begin, *type;
	bool yaml;
} kinds[] = {
	{ "#cloud-config-archive", "text/cloud-config-archive", false },
	{ "#cloud-config-jsonp", "text/cloud-config-jsonp", false },
	{ "#cloud-config", "text/cloud-config", true },
	{ "#cloud-boothook", "text/cloud-boothook", false },
	{ "#include-once", "text/x-include-once-url", false },
	{ "#include", "text/x-include-url", false },
	{ "#part-handler", "text/part-handler", false },
	{ "## template: jinja", "text/jinja2", false },
	{ "#!", "text/x-shellscript", false },
	{ "Content-Type:", NULL, false },
	{ "MIME-Version:", NULL, false },
};

static const struct kind *kind_of(const char *text, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i].begin);

		if (len >= n && strncasecmp(text, kinds[i].begin, n) == 0)
			return &kinds[i];
	}
	return NULL;
}

int userdata_check(const char *text, size_t len, struct errmsg *err)
{
	const struct kind *k = kind_of(text, len);

	if (len >= 2 && memcmp(text, "\x1f\x8b", 2) == 0)
		return errmsg_say(err, -EINVAL,
				  "it is compressed: unpack it by gunzip");
	if (!k)
		return errmsg_say(
			err, -EINVAL,
			"its first line, '%.*s', is none that cloud-init knows: begin it with #cloud-config, #! or another of these",
			(int)strnlen(text, strcspn(text, "\r\n") < 60
						   ? strcspn(text, "\r\n")
						   : 60),
			text);
	return k->yaml ? userdata_check_yaml(text, len, err) : 0;
}

/* In base64, so that no line of it can be the boundary, or be changed. */
static void put_encoded(FILE *f, const char *text, size_t len)
{
	unsigned char line[80];

	for (size_t at = 0; at < len; at += 57) {
		size_t n = len - at < 57 ? len - at : 57;

		EVP_EncodeBlock(line, (const unsigned char *)text + at, (int)n);
		fprintf(f, "%s\n", line);
	}
}

static void put_users(FILE *f, const char *text, size_t len)
{
	const struct kind *k = kind_of(text, len);

	if (!k || !k->type) {
		fwrite(text, 1, len, f);
		return;
	}
	fprintf(f,
		"Content-Type: %s; charset=\"utf-8\"\n"
		"Content-Transfer-Encoding: base64\n\n",
		k->type);
	put_encoded(f, text, len);
}

char *userdata_merge(const char *text, size_t len, const char *ours)
{
	char sum[DIGEST_TEXT];
	struct memstream m;
	struct digest d;

	if (!memstream_open(&m))
		return NULL;
	/* what no text has in it that does not know all of itself */
	digest_init(&d, DIGEST_SHA256);
	digest_add(&d, text, len);
	digest_add(&d, ours, strlen(ours));
	digest_text(&d, sum);
	sum[48] = '\0';
	fprintf(m.f,
		"Content-Type: multipart/mixed; boundary=\"vmstep-%s\"\n"
		"MIME-Version: 1.0\n\n"
		"--vmstep-%s\n",
		sum, sum);
	put_users(m.f, text, len);
	fprintf(m.f,
		"\n--vmstep-%s\n"
		"Content-Type: text/cloud-config; charset=\"utf-8\"\n\n"
		"%s\n"
		"--vmstep-%s--\n",
		sum, ours, sum);
	return memstream_close(&m, NULL);
}
