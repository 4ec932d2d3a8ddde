/* SPDX-License-Identifier: Apache-2.0 */
/* The document of GET /openapi.json inside the program. */
    .section .rodata
    .globl sluice_openapi
    .hidden sluice_openapi
sluice_openapi:
    .incbin "host/serve/openapi.json"
    .globl sluice_openapi_end
    .hidden sluice_openapi_end
sluice_openapi_end:
    .section .note.GNU-stack, "", %progbits
