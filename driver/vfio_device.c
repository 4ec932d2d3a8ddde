/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/vfio_device.h"

#include "driver/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COMMAND = 0x04, COMMAND_MEMORY = 1 << 1, COMMAND_MASTER = 1 << 2 };

static int open_container(struct vfio_device *out, struct error *err)
{
    out->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (out->container < 0)
        return error_set(err, ERROR_IO, "cannot open /dev/vfio/vfio: %s (modprobe vfio-pci)", strerror(errno));
    if (ioctl(out->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
        ioctl(out->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) != 1)
        return error_set(err, ERROR_UNSUPPORTED, "the kernel's vfio is another one (no type 1 IOMMU)");
    return 0;
}

static int open_group(const struct pci_function *function, struct vfio_device *out, struct error *err)
{
    char path[64];
    struct vfio_group_status status = {.argsz = sizeof status};
    if (function->iommu_group < 0)
        return error_set(err, ERROR_UNSUPPORTED, "%s is in no IOMMU group (boot with intel_iommu=on or amd_iommu=on)",
                         function->text);
    snprintf(path, sizeof path, "/dev/vfio/%d", function->iommu_group);
    out->group = open(path, O_RDWR | O_CLOEXEC);
    if (out->group < 0)
        return error_set(err, errno == EBUSY ? ERROR_BUSY : ERROR_IO, "cannot open %s: %s%s", path, strerror(errno),
                         errno == ENOENT ? " (bind the function to vfio-pci)" : "");
    if (ioctl(out->group, VFIO_GROUP_GET_STATUS, &status) != 0 || !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
        return error_set(err, ERROR_BUSY, "IOMMU group %d has a function with another driver: unbind that too",
                         function->iommu_group);
    if (ioctl(out->group, VFIO_GROUP_SET_CONTAINER, &out->container) != 0 ||
        ioctl(out->container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) != 0)
        return error_set(err, ERROR_IO, "cannot set up the IOMMU of group %d: %s", function->iommu_group,
                         strerror(errno));
    return 0;
}

static int region(const struct vfio_device *device, unsigned index, struct vfio_region_info *info, struct error *err)
{
    *info = (struct vfio_region_info){.argsz = sizeof *info, .index = index};
    if (ioctl(device->device, VFIO_DEVICE_GET_REGION_INFO, info) != 0)
        return error_set(err, ERROR_IO, "the function has no region %u: %s", index, strerror(errno));
    return 0;
}

static int enable(const struct vfio_device *device, struct error *err)
{
    struct vfio_region_info config;
    uint8_t bytes[2];
    int status = region(device, VFIO_PCI_CONFIG_REGION_INDEX, &config, err);
    if (status < 0) return status;
    off_t at = (off_t)config.offset + COMMAND;
    if (pread(device->device, bytes, 2, at) != 2) return error_set(err, ERROR_CARD, "the function does not answer");
    bytes[0] |= COMMAND_MEMORY | COMMAND_MASTER;
    return pwrite(device->device, bytes, 2, at) == 2
               ? 0
               : error_set(err, ERROR_IO, "cannot enable the function: %s", strerror(errno));
}

int vfio_device_open(const struct pci_function *function, struct vfio_device *out, struct error *err)
{
    *out = (struct vfio_device){-1, -1, -1};
    int status = open_container(out, err);
    if (status == 0) status = open_group(function, out, err);
    if (status == 0 && (out->device = ioctl(out->group, VFIO_GROUP_GET_DEVICE_FD, function->text)) < 0)
        status = error_set(err, ERROR_IO, "vfio does not give %s: %s", function->text, strerror(errno));
    if (status == 0) status = enable(out, err);
    if (status < 0) vfio_device_close(out);
    return status;
}

void vfio_device_close(struct vfio_device *device)
{
    if (device->device >= 0) close(device->device);
    if (device->group >= 0) close(device->group);
    if (device->container >= 0) close(device->container);
    *device = (struct vfio_device){-1, -1, -1};
}

int vfio_map_bar(const struct vfio_device *device, unsigned number, struct pci_registers *out, struct error *err)
{
    struct vfio_region_info info;
    *out = (struct pci_registers){NULL, 0};
    if (number > 5) return error_set(err, ERROR_BAD_ARGUMENT, "no BAR %u", number);
    int status = region(device, VFIO_PCI_BAR0_REGION_INDEX + number, &info, err);
    if (status < 0) return status;
    if (info.size == 0) return error_set(err, ERROR_NOT_FOUND, "the function has no BAR %u", number);
    if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
        return error_set(err, ERROR_UNSUPPORTED, "BAR %u cannot be mapped (ports, or smaller than a page)", number);
    void *base = mmap(NULL, (size_t)info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device->device, (off_t)info.offset);
    if (base == MAP_FAILED) return error_set(err, ERROR_IO, "cannot map BAR %u: %s", number, strerror(errno));
    *out = (struct pci_registers){base, info.size};
    return 0;
}

int vfio_map_memory(const struct vfio_device *device, void *memory, uint64_t iova, uint64_t bytes, struct error *err)
{
    struct vfio_iommu_type1_dma_map request = {.argsz = sizeof request,
                                               .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                               .vaddr = (uintptr_t)memory,
                                               .iova = iova,
                                               .size = bytes};
    if (ioctl(device->container, VFIO_IOMMU_MAP_DMA, &request) == 0) return 0;
    if (errno == ENOMEM)
        return error_set(
            err, ERROR_NO_MEMORY,
            "%llu bytes are more than may be locked in memory (ulimit -l unlimited, or LimitMEMLOCK=infinity "
            "in the service)",
            (unsigned long long)bytes);
    return error_set(err, ERROR_IO, "cannot map %llu bytes for DMA: %s", (unsigned long long)bytes, strerror(errno));
}

int vfio_unmap_memory(const struct vfio_device *device, uint64_t iova, uint64_t bytes, struct error *err)
{
    struct vfio_iommu_type1_dma_unmap request = {.argsz = sizeof request, .iova = iova, .size = bytes};
    if (ioctl(device->container, VFIO_IOMMU_UNMAP_DMA, &request) == 0 && request.size == bytes) return 0;
    return error_set(err, ERROR_IO, "cannot unmap %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
}

static bool has_interrupt(const struct vfio_device *device, unsigned index)
{
    struct vfio_irq_info info = {.argsz = sizeof info, .index = index};
    return ioctl(device->device, VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 && info.count > 0 &&
           (info.flags & VFIO_IRQ_INFO_EVENTFD);
}

int vfio_await_interrupts(const struct vfio_device *device, int *fd, struct error *err)
{
    union {
        struct vfio_irq_set set;
        uint8_t room[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
    } request;
    unsigned index = has_interrupt(device, VFIO_PCI_MSI_IRQ_INDEX) ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
    *fd = -1;
    if (!has_interrupt(device, index)) return error_set(err, ERROR_UNSUPPORTED, "the function has no interrupt");
    int events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (events < 0) return error_set(err, ERROR_IO, "no eventfd: %s", strerror(errno));
    memset(&request, 0, sizeof request);
    request.set.argsz = sizeof request.room;
    request.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    request.set.index = index;
    request.set.count = 1;
    memcpy(request.set.data, &(int32_t){events}, sizeof(int32_t));
    if (ioctl(device->device, VFIO_DEVICE_SET_IRQS, &request) != 0) {
        int why = errno;
        close(events);
        return error_set(err, ERROR_IO, "cannot take the interrupt: %s", strerror(why));
    }
    *fd = events;
    return 0;
}

int vfio_device_reset(const struct vfio_device *device, struct error *err)
{
    if (ioctl(device->device, VFIO_DEVICE_RESET) == 0) return 0;
    return error_set(err, errno == ENOTTY || errno == EINVAL ? ERROR_UNSUPPORTED : ERROR_IO,
                     "cannot reset the function: %s", strerror(errno));
}
