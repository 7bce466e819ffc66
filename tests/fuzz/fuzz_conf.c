// JSON of any shape, asked for in every way.
#include "conf.h"

#include "fuzz.h"

static void ask(struct conf_object *object, const char *key)
{
    const char *text = NULL, *texts[4];
    uint64_t number = 7;
    bool yes = false;
    uint8_t hash[HASH_BYTES];
    conf_u64(object, key, 1, 1000, &number);
    ASSERT(number >= 1 && number <= 1000);
    conf_text(object, key, &text);
    conf_bool(object, key, &yes);
    ASSERT(conf_texts(object, key, texts, 4) <= 4);
    conf_need_hex(object, key, hash, sizeof hash);
}

static void walk(struct conf_object *object, unsigned depth)
{
    const char **keys;
    size_t count = conf_keys(object, &keys);
    for (size_t i = 0; i < count; i++) {
        switch (
            keys[i][0] % 4) { // the key says how it is asked for, since the first fault ends all
        case 0:
            ask(object, keys[i]);
            break;
        case 1:
            if (depth < 3)
                walk(conf_object(object, keys[i]), depth + 1);
            break;
        case 2:
            for (size_t j = 0; j < conf_count(object, keys[i]) && j < 16; j++)
                ask(conf_at(object, keys[i], j), "port");
            break;
        default:
            conf_need_text(conf_object(object, keys[i]), "host", &(const char *){NULL});
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct err e = {0};
    struct conf *conf = conf_parse(bytes_of(data, len), "fuzz.json", &e);
    if (conf == NULL)
        return fuzz_refused(&e);
    if (len % 2 == 0)
        walk(conf_root(conf), 0);
    else
        ask(conf_root(conf), "port");
    if (!conf_end(conf, &e))
        fuzz_refused(&e);
    conf_free(conf);
    return 0;
}
