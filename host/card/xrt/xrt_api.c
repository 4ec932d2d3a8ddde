/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt/xrt_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CLASS 1 /* XRT_ERROR_CLASS_SYSTEM */
#define LAST_CLASS 3  /* XRT_ERROR_CLASS_HARDWARE; behind it: of other devices */

/* A function by name, or by its mangled one: XRT 2.13 declares two of them outside extern "C". */
static void *find(void *library, const char *name, const char *mangled)
{
    void *found = library ? dlsym(library, name) : NULL;
    return found || !library ? found : dlsym(library, mangled);
}

int xrt_api_open(struct xrt_api *api, struct error *err)
{
    *api = (struct xrt_api){.library = dlopen("libxrt_coreutil.so.2", RTLD_NOW | RTLD_LOCAL)};
    if (!api->library)
        return error_set(
            err, ERROR_NOT_FOUND,
            "XRT is not installed: %s (apt-get install libxrt1, or AMD's xrt package; then `sluice doctor`)",
            dlerror());
#define XRT_LOAD(name)                                                                                                 \
    *(void **)(void *)&api->name = dlsym(api->library, #name);                                                         \
    if (!api->name)                                                                                                    \
        return error_set(err, ERROR_UNSUPPORTED, "this XRT has no %s: version 2.13 (2022.1) or later of it is needed", \
                         #name);
    XRT_FUNCTIONS(XRT_LOAD)
#undef XRT_LOAD
    return 0;
}

void xrt_api_find_errors(struct xrt_api *api)
{
    void *core = dlopen("libxrt_core.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    void *const place[] = {api->library, core};
    for (unsigned i = 0; i < 2 && !api->last_error; i++) {
        *(void **)(void *)&api->last_error =
            find(place[i], "xrtErrorGetLast", "_Z15xrtErrorGetLastPv13xrtErrorClassPmS1_");
        *(void **)(void *)&api->error_text = find(place[i], "xrtErrorGetString", "_Z17xrtErrorGetStringPvmPcmPm");
    }
}

void xrt_api_explain(const struct xrt_api *api, xrtDeviceHandle device, struct error *err)
{
    if (!api->last_error || !api->error_text || !device) return;
    for (int class = FIRST_CLASS; class <= LAST_CLASS; class ++) {
        uint64_t code = 0, when = 0;
        char text[128] = "", so_far[sizeof err->text];
        if (api->last_error(device, class, &code, &when) != 0 || code == 0) continue;
        if (api->error_text(device, code, text, sizeof text - 1, NULL) != 0 || !text[0]) continue;
        text[strcspn(text, "\n")] = 0;
        memcpy(so_far, err->text, sizeof so_far);
        error_set(err, err->code, "%.350s; the card's last error: %s", so_far, text);
        return;
    }
}
