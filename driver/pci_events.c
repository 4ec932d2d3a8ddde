/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_events.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KERNEL_EVENTS 1u        /* multicast group; 2 is udev's */
#define MAX_MESSAGE_BYTES 8192u /* UEVENT_BUFFER_SIZE of the kernel is 2048 */
#define RECEIVE_BYTES (1 << 20) /* a shelf of cards that goes at once */

static const char *const names[] = {[PCI_EVENT_OTHER] = "other",
                                    [PCI_EVENT_ADD] = "add",
                                    [PCI_EVENT_REMOVE] = "remove",
                                    [PCI_EVENT_BIND] = "bind",
                                    [PCI_EVENT_UNBIND] = "unbind"};

const char *pci_event_name(enum pci_event_kind kind) { return names[kind]; }

int pci_events_open(struct error *err)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_EVENTS};
    const int room = RECEIVE_BYTES;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0) return error_set(err, ERROR_IO, "cannot listen for hot-plug events: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room,
                     sizeof room); /* less room only drops events sooner, which is told */
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno;
        close(fd);
        return error_set(err, ERROR_IO, "cannot listen for hot-plug events: %s", strerror(why));
    }
    return fd;
}

/* Behind key within one text; NULL if it has another. */
static const char *value_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    return strncmp(text, key, length) == 0 && text[length] == '=' ? text + length + 1 : NULL;
}

void pci_event_parse(const char *message, size_t n_bytes, struct pci_event *event)
{
    const char *action = NULL, *subsystem = NULL, *slot = NULL;
    struct pci_address address;
    *event = (struct pci_event){PCI_EVENT_OTHER, ""};
    for (size_t at = 0; at < n_bytes;) {
        const char *text = message + at, *end = memchr(text, '\0', n_bytes - at);
        if (!end) return; /* cut */
        const char *value;
        if ((value = value_of(text, "ACTION"))) action = value;
        if ((value = value_of(text, "SUBSYSTEM"))) subsystem = value;
        if ((value = value_of(text, "PCI_SLOT_NAME"))) slot = value;
        at += (size_t)(end - text) + 1;
    }
    if (!action || !subsystem || !slot || strcmp(subsystem, "pci") != 0 || !pci_address_parse(slot, &address)) return;
    for (int kind = PCI_EVENT_ADD; kind <= PCI_EVENT_UNBIND; kind++)
        if (strcmp(action, names[kind]) == 0) event->kind = (enum pci_event_kind)kind;
    if (event->kind != PCI_EVENT_OTHER) pci_address_text(&address, event->address);
}

int pci_events_next(int fd, struct pci_event *event, struct error *err)
{
    char message[MAX_MESSAGE_BYTES];
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec part = {message, sizeof message};
        struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
        ssize_t got = recvmsg(fd, &header, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (got < 0 && errno == ENOBUFS)
            return error_set(err, ERROR_TOO_LARGE, "the kernel dropped hot-plug events; look at all cards again");
        if (got < 0) return error_set(err, ERROR_IO, "cannot read hot-plug events: %s", strerror(errno));
        if (from.nl_pid != 0 || (header.msg_flags & MSG_TRUNC)) continue;
        pci_event_parse(message, (size_t)got, event);
        if (event->kind != PCI_EVENT_OTHER) return 1;
    }
}
