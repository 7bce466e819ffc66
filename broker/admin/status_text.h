// The report for people.
#pragma once

#include "rows.h"

// In four parts, each of whole lines, so that a terminal which is too short can leave out the ends of
// the middle ones.
struct status_page {
    struct buf head;  // the release, and what is wrong with the broker
    struct buf table; // its first line holds the titles
    struct buf notes; // what needs explaining, and what to do about it
    struct buf foot;  // one line that sums it up
};
// width: of the terminal, 0: none. Appends to an empty page.
void status_page_draw(const struct report *report, const struct rows_choice *choice, uint64_t now_s,
    size_t width, bool color, struct status_page *page);
void status_page_clear(struct status_page *page);
