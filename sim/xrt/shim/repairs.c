/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacements for three functions of Debian's XRT emulation shims (libxrt 202210.2.13.466+dfsg-8), linked in their place
 * by build.sh. SHIM_HWEMU: for the hw_emu shim, else for sw_emu.
 *
 *   alloc_void   the package's drops the result of realloc: the heap is corrupt after the first large message
 *   sk_read      the package's reads for ever from a device process that has gone
 *   xclExecWait  hw_emu: sleeps 10 s at first, then 1 s a call; sw_emu: returns at once, and its caller burns a core
 *
 * Names are those of the C++ compiler; places of members were read from the package's code, which build.sh pins.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef SHIM_HWEMU
#define ALLOC_VOID _ZN11xclhwemhal28HwEmShim10alloc_voidEm
#define EXEC_WAIT _ZN11xclhwemhal28HwEmShim11xclExecWaitEi
#define BUFFER_AT 0x560
#else
#define ALLOC_VOID _ZN12xclcpuemhal29CpuemShim10alloc_voidEm
#define EXEC_WAIT _ZN12xclcpuemhal29CpuemShim11xclExecWaitEi
#define BUFFER_AT 0x670
#endif
#define SOCKET_READ _ZN11unix_socket7sk_readEPvm
#define EXIT_DEVICE_GONE 70
#define EXIT_NO_MEMORY 71
#define POLL_NS 20000

/* The shim's buffer for messages and its size, side by side. */
struct message_buffer {
    void *bytes;
    size_t size;
};

/* The beginning of the shim's unix_socket: a descriptor, then a std::string, which begins with a pointer to its text. */
struct socket_object {
    int descriptor;
    const char *name;
};

size_t ALLOC_VOID(char *shim, size_t size);
int EXEC_WAIT(void *shim, int milliseconds);
ssize_t SOCKET_READ(struct socket_object *object, void *to, size_t bytes);

size_t ALLOC_VOID(char *shim, size_t size)
{
    struct message_buffer *buffer = (struct message_buffer *)(void *)(shim + BUFFER_AT);
    if (buffer->size && buffer->size >= size) return buffer->size;
    void *grown = realloc(buffer->size ? buffer->bytes : NULL, size);
    if (!grown) {
        fprintf(stderr, "XRT emulation: no memory for a message of %zu bytes\n", size);
        _exit(EXIT_NO_MEMORY);
    }
    buffer->bytes = grown;
    return size; /* the caller keeps it */
}

int EXEC_WAIT(void *shim, int milliseconds)
{
    (void)shim;
    (void)milliseconds;
    nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    return 1;
}

ssize_t SOCKET_READ(struct socket_object *object, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = read(object->descriptor, (char *)to + done, bytes - done);
        if (got > 0) done += (size_t)got;
        if (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN))) continue;
        if (strstr(object->name, "D2X_")) return -1; /* hw_emu's second socket, which just ends */
        fprintf(stderr, "XRT emulation: the device process has gone\n");
        _exit(EXIT_DEVICE_GONE);
    }
    return (ssize_t)bytes;
}
