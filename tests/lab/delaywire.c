// delaywire A B DELAY_MS [JITTER_MS [LOSS_PERCENT]]: carries frames between two interfaces like a long wire, both ways,
// until it is ended. For kernels without netem. Jitter reorders. The offload headers travel along (PACKET_VNET_HDR), so that
// large segments of veth devices survive.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FRAME_BYTES_MAX 70000
#define BUFFER_BYTES (8 << 20)

struct frame {
    struct frame *next;
    uint64_t due_ns;
    int to; // descriptor
    size_t len;
    unsigned char content[];
};

struct wire {
    struct pollfd ends[2];
    double delay_ms, jitter_ms, loss_percent;
    struct frame *first; // ascending by due_ns
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int open_end(const char *interface)
{
    int one = 1, big = BUFFER_BYTES;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(interface)};
    struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || at.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0) {
        perror(interface);
        exit(1);
    }
    // As far as we may: without it bursts are lost, as on any other wire.
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
    return fd;
}

static double random_below(double limit)
{
    return limit * (double)random() / RAND_MAX;
}

static void take(struct wire *wire, int from, int to)
{
    static unsigned char content[FRAME_BYTES_MAX];
    ssize_t len;
    while ((len = recv(from, content, sizeof content, 0)) > 0) {
        if (random_below(100) < wire->loss_percent) {
            continue;
        }
        struct frame *frame = malloc(sizeof *frame + (size_t)len);
        if (frame == NULL) {
            continue;
        }
        double wait_ms = wire->delay_ms + random_below(2 * wire->jitter_ms) - wire->jitter_ms;
        frame->due_ns = now_ns() + (uint64_t)(wait_ms > 0 ? wait_ms * 1e6 : 0);
        frame->to = to;
        frame->len = (size_t)len;
        memcpy(frame->content, content, (size_t)len);
        struct frame **place = &wire->first;
        while (*place != NULL && (*place)->due_ns <= frame->due_ns) {
            place = &(*place)->next;
        }
        frame->next = *place;
        *place = frame;
    }
}

static void hand_out(struct wire *wire)
{
    while (wire->first != NULL && wire->first->due_ns <= now_ns()) {
        struct frame *frame = wire->first;
        wire->first = frame->next;
        (void)!send(frame->to, frame->content, frame->len, 0); // an end that is down loses it
        free(frame);
    }
}

static void wait_for_something(struct wire *wire)
{
    struct timespec left;
    const struct timespec *timeout = NULL;
    if (wire->first != NULL) {
        uint64_t now = now_ns(), due = wire->first->due_ns, wait = due > now ? due - now : 0;
        left = (struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        timeout = &left;
    }
    (void)ppoll(wire->ends, 2, timeout, NULL);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 6) {
        fprintf(stderr, "usage: delaywire A B DELAY_MS [JITTER_MS [LOSS_PERCENT]]\n");
        return 64;
    }
    struct wire wire = {.ends = {{open_end(argv[1]), POLLIN, 0}, {open_end(argv[2]), POLLIN, 0}},
        .delay_ms = atof(argv[3]),
        .jitter_ms = argc > 4 ? atof(argv[4]) : 0,
        .loss_percent = argc > 5 ? atof(argv[5]) : 0};
    srandom((unsigned)now_ns());
    for (;;) {
        hand_out(&wire);
        wait_for_something(&wire);
        take(&wire, wire.ends[0].fd, wire.ends[1].fd);
        take(&wire, wire.ends[1].fd, wire.ends[0].fd);
    }
}
