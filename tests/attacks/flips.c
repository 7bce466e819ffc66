// Every bit flip, every truncation and one byte more of each part of a genuine release, judged by
// the code that a node runs: flips STATE NOW ENVELOPE PROVEN BLOB TREE. Prints how many were tried;
// exit status 1 at the first that is not refused.
#include "judge.h"

#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"envelope", "proven", "blob", "tree"};

struct scene {
    struct config config;
    char identity[PATH_MAX];
    int dir;
    uint8_t node_id[HASH_BYTES];
    uint64_t now;
    struct buf good[4];
    struct bytes parts[4]; // what is shown
    unsigned long long tried;
};

_Noreturn static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s: %s\n", what, code_name(e->code), e->text);
    exit(EXIT_FAILURE);
}

static bool show(void *context, enum part part, const uint8_t hash[HASH_BYTES], uint64_t len,
    struct buf *out, struct err *e)
{
    const struct scene *s = context;
    (void)hash;
    (void)len;
    (void)e;
    buf_append(out, s->parts[part].at, s->parts[part].len);
    return true;
}

static enum verdict judge(struct scene *s, struct floor *floor, struct err *e)
{
    struct judged judged;
    const struct judge judge = {.config = &s->config,
        .dir = s->dir,
        .floor = floor,
        .node_id = s->node_id,
        .unix_s = s->now,
        .read = show,
        .context = s};
    enum verdict verdict = judge_release(&judge, &judged, e);
    judged_clear(&judged);
    return verdict;
}

// An envelope comes to a node that has seen nothing, and may not leave a trace; the rest comes with
// a head that is known.
static void expect_refusal(
    struct scene *s, size_t part, const struct floor *known, const char *what, size_t at)
{
    struct err e = {0};
    struct floor floor = part == PART_ENVELOPE ? (struct floor){0} : *known;
    const struct floor before = floor;
    enum verdict verdict = judge(s, &floor, &e);
    s->tried++;
    if (verdict != VERDICT_REFUSED || memcmp(&floor, &before, sizeof floor) != 0) {
        fprintf(stderr, "%s of %s at %zu: verdict %d, %s\n", what, names[part], at, verdict,
            code_name(e.code));
        exit(EXIT_FAILURE);
    }
}

static void attack(struct scene *s, size_t part, const struct floor *known)
{
    struct buf bad CLEANUP(buf_clear) = {0};
    size_t len = s->good[part].len;
    buf_append(&bad, s->good[part].at, len);
    buf_append(&bad, "\0", 1);
    s->parts[part] = bytes_of(bad.at, len + 1);
    expect_refusal(s, part, known, "one byte more", len);
    for (size_t i = 0; i < len; i++) {
        s->parts[part] = bytes_of(bad.at, i);
        expect_refusal(s, part, known, "truncation", i);
        s->parts[part] = bytes_of(bad.at, len);
        for (int bit = 0; bit < 8; bit++) {
            bad.at[i] ^= (uint8_t)(1 << bit);
            expect_refusal(s, part, known, "flip", i * 8 + (size_t)bit);
            bad.at[i] ^= (uint8_t)(1 << bit);
        }
    }
    s->parts[part] = buf_bytes(&s->good[part]);
}

static void read_text(int at, const char *path, struct buf *text)
{
    struct err e;
    if (!fs_read(at, path, 4096, text, &e)) {
        die(path, &e);
    }
    if (text->len > 0 && text->at[text->len - 1] == '\n') {
        text->len--;
    }
}

static void open_scene(struct scene *s, char **argv)
{
    struct buf fleet CLEANUP(buf_clear) = {0};
    struct buf signer CLEANUP(buf_clear) = {0};
    struct buf pem CLEANUP(buf_clear) = {0};
    struct secret_key identity;
    struct err e;
    if (!fs_open_dir(AT_FDCWD, argv[0], &s->dir, &e)) {
        die(argv[0], &e);
    }
    config_defaults(argv[0], &s->config);
    snprintf(s->identity, sizeof s->identity, "%s/identity", argv[0]);
    s->config.identity = s->identity;
    s->config.floor_copy = NULL;
    s->config.trust.threshold = 1;
    read_text(s->dir, "fleet", &fleet);
    read_text(s->dir, "signers", &signer);
    read_text(s->dir, "identity", &pem);
    buf_append_text(&pem, "\n");
    struct trust *trust = &s->config.trust;
    if (!hex_decode((const char *)fleet.at, fleet.len, trust->fleet, sizeof trust->fleet) ||
        !trust_add(trust, buf_text(&signer), &e) ||
        !secret_key_parse(buf_bytes(&pem), &identity, &e)) {
        die("state", &e);
    }
    public_key_id(&identity.public, s->node_id);
    secret_key_wipe(&identity);
    s->now = strtoull(argv[1], NULL, 10);
    for (size_t i = 0; i < 4; i++) {
        if (!fs_read(AT_FDCWD, argv[2 + i], BLOB_BYTES_MAX, &s->good[i], &e)) {
            die(argv[2 + i], &e);
        }
        s->parts[i] = buf_bytes(&s->good[i]);
    }
}

int main(int argc, char **argv)
{
    struct scene s = {.dir = -1};
    struct floor known = {0};
    struct err e = {0};
    if (argc != 7 || sodium_init() < 0) {
        fprintf(stderr, "usage: flips STATE NOW ENVELOPE PROVEN BLOB TREE\n");
        return 64;
    }
    open_scene(&s, argv + 1);
    attack(&s, PART_ENVELOPE, &known);
    if (judge(&s, &known, &e) != VERDICT_READY) { // the untouched one is what raises the floor
        die("the genuine release", &e);
    }
    for (size_t part = PART_PROVEN; part <= PART_TREE; part++) {
        attack(&s, part, &known);
    }
    for (size_t i = 0; i < 4; i++) {
        buf_clear(&s.good[i]);
    }
    fd_closep(&s.dir);
    printf("%llu\n", s.tried);
    return EXIT_SUCCESS;
}
