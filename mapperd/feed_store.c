/* SPDX-License-Identifier: Apache-2.0 */
/* The feed's store from opening to end: a new epoch at each start, a map that grows, what is
 * damaged and thrown away. The loop reads from it, so that a store ends or grows only once the loop
 * has let go of it. */
#include "mapperd/feed_internal.h"

#include "common/log.h"
#include "common/random.h"
#include "mapperd/kill_point.h"

#include <inttypes.h>

/* An epoch is new at each start: what a cache holds from before is then of another. */
static enum error begin_epoch(struct feed *feed)
{
    struct store_writer writer;
    struct store_walk walk;
    struct slice key, value;
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    uint32_t mapperd_id = feed->meta.origin.mapperd_id;
    uint64_t version_seen_ms = feed->meta.version_seen_ms;
    e = meta_read(&writer, &feed->meta);
    if (mapperd_id != 0)
        feed->meta.origin.mapperd_id = mapperd_id;
    if (version_seen_ms > feed->meta.version_seen_ms)
        feed->meta.version_seen_ms = version_seen_ms;
    if (e == ERROR_NONE) {
        uint64_t old = feed->meta.serial.epoch;
        do
            feed->meta.serial.epoch = random_u64() >> 1;
        while (feed->meta.serial.epoch == 0 || feed->meta.serial.epoch == old);
        feed->meta.serial.serial = 1;
        meta_write(&writer, &feed->meta);
        store_walk_writer(&writer, STORE_RECENT, SLICE(""), &walk);
        for (feed->recent_count = 0; store_walk_next(&walk, &key, &value);)
            feed->recent_count++;
        store_walk_end(&walk);
        e = walk.error;
    }
    if (e == ERROR_NONE) {
        e = store_commit(&writer);
        kill_point("start-epoch");
        return e;
    }
    store_abort(&writer);
    return e;
}

void feed_store_serve(struct feed *feed, bool ask_first)
{
    struct feed_message *m = feed_message_new(FEED_STORE);
    if (m == NULL)
        feed_end("no memory");
    m->store = feed->store;
    m->serial = feed->meta.serial;
    m->ask_first = ask_first;
    feed->served = true;
    feed_tell(feed, m);
}

/* But what it knows of itself, not of a store. */
static void forget_meta(struct feed *feed)
{
    uint32_t mapperd_id = feed->meta.origin.mapperd_id;
    uint64_t version_seen_ms = feed->meta.version_seen_ms;
    meta_free(&feed->meta);
    meta_init(&feed->meta);
    feed->meta.origin.mapperd_id = mapperd_id;
    feed->meta.version_seen_ms = version_seen_ms;
}

/* At the start; and again at each connect while the disk keeps it from being written: a store that
 * is opened without writing would show an age that nobody can keep. */
void feed_store_open(struct feed *feed)
{
    enum error e = folder_open_current(&feed->folder, &feed->store);
    bool again = feed->unopened;
    feed->unopened = false;
    if (e == ERROR_NONE) {
        e = begin_epoch(feed);
        if (e != ERROR_NONE) {
            folder_close_store(&feed->folder, feed->store, false);
            feed->store = NULL;
        }
    }
    if (e != ERROR_NONE) {
        feed->unopened = e == ERROR_SYSTEM;
        log_write(e == ERROR_NOT_FOUND ? LOG_NOTICE : LOG_ERROR, "store-absent", "%s",
                  feed->unopened ? "what is there can't be written; it is tried again"
                                 : "the database will fill a new one");
        forget_meta(feed);
        return;
    }
    atomic_store(&feed->statistics.mapperd_id, feed->meta.origin.mapperd_id);
    feed_store_serve(feed, again); /* the start's own question may have been given up long ago */
    feed_tell_proof(feed);
}

static void forget_store(struct feed *feed)
{
    struct store *store = feed->store;
    fill_drop(feed);
    if (feed->store == NULL)
        return; /* it was the one being filled */
    feed->store = NULL;
    if (!feed->served) {
        folder_close_store(&feed->folder, store, true);
        return;
    }
    feed->served = false;
    for (size_t i = 0; i < sizeof(feed->retired) / sizeof(feed->retired[0]); i++) {
        if (feed->retired[i] == NULL) {
            feed->retired[i] = store;
            feed_tell_plain(feed, FEED_DAMAGED, 0);
            return;
        }
    }
    feed_end("damaged generations wait for their last reader");
}

/* What was not committed did not happen: above all, the position has not moved past keys that were
 * not queued. */
static bool reload_meta(struct feed *feed)
{
    struct store_writer writer;
    struct meta meta;
    if (feed->store == NULL || feed->store == feed->fill.store)
        return true; /* an unfinished one is thrown away */
    meta_init(&meta);
    if (store_begin(feed->store, &writer) != ERROR_NONE)
        return false;
    bool good = meta_read(&writer, &meta) == ERROR_NONE;
    store_abort(&writer);
    if (!good) {
        meta_free(&meta);
        return false;
    }
    if (meta.version_seen_ms < feed->meta.version_seen_ms)
        meta.version_seen_ms = feed->meta.version_seen_ms;
    meta.origin.mapperd_id = feed->meta.origin.mapperd_id;
    meta_free(&feed->meta);
    feed->meta = meta;
    feed->queue_may_hold = true;
    return true;
}

/* The map can change only while nobody reads from it: the loop is asked to let go, and until it
 * has, there is no store. A new generation that is full is thrown away with its connection; the
 * next is made larger. */
static void grow_map(struct feed *feed)
{
    if (!folder_grow(&feed->folder) || feed->store == NULL || !feed->served)
        return;
    feed->growing = feed->store;
    feed->store = NULL;
    feed->served = false;
    feed_tell_plain(feed, FEED_DAMAGED, 0);
}

void feed_store_failed(struct feed *feed, enum error e, const char *doing)
{
    log_write(LOG_ERROR, "store-failed", "%s: %s", doing, error_text(e));
    if (e == ERROR_TOO_LARGE && reload_meta(feed))
        grow_map(feed);
    else if (e == ERROR_LIBRARY || e == ERROR_MALFORMED || !reload_meta(feed))
        forget_store(feed);
    feed_raise(feed, FEED_EVENT_LOST);
}

/* The loop has let go of the store whose map is full: it grows, and is served again. */
static void grow(struct feed *feed)
{
    struct store *store = feed->growing;
    feed->growing = NULL;
    if (folder_grow_store(&feed->folder, store) != ERROR_NONE)
        log_write(LOG_ERROR, "store-not-grown", "the map stays as it is");
    kill_point("map-grown");
    feed->store = store;
    feed_store_serve(feed, false);
}

void feed_store_release(struct feed *feed, struct store *store)
{
    if (store == feed->growing) {
        grow(feed);
        return;
    }
    for (size_t i = 0; i < sizeof(feed->retired) / sizeof(feed->retired[0]); i++) {
        if (feed->retired[i] == store) {
            feed->retired[i] = NULL;
            folder_close_store(&feed->folder, store, true);
            return;
        }
    }
}
