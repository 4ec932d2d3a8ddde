/* SPDX-License-Identifier: Apache-2.0 */
/* The demo model's file inside the program: what model_open(NULL) opens. */
    .section .rodata
    .balign 64
    .globl sluice_demo_model
    .hidden sluice_demo_model
sluice_demo_model:
    .incbin "host/model/demo/demo.gguf"
    .globl sluice_demo_model_end
    .hidden sluice_demo_model_end
sluice_demo_model_end:
    .section .note.GNU-stack, "", %progbits
