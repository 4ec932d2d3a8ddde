/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenCL program inside ours, in the order in which it is compiled. */
    .section .rodata
    .balign 64
    .globl sluice_opencl_source
    .hidden sluice_opencl_source
sluice_opencl_source:
    .incbin "kernels/opencl/prelude.cl"
    .incbin "kernels/abi/card_layout.h"
    .incbin "kernels/abi/card_math.h"
    .incbin "kernels/opencl/vectors.cl"
    .incbin "kernels/opencl/choices.cl"
    .incbin "kernels/opencl/pages.cl"
    .incbin "kernels/opencl/attention.cl"
    .incbin "kernels/opencl/index.cl"
    .incbin "kernels/opencl/recurrent.cl"
    .incbin "kernels/opencl/matmul.cl"
    .incbin "kernels/opencl/checks.cl"
    .incbin "kernels/opencl/probe.cl"
    .globl sluice_opencl_source_end
    .hidden sluice_opencl_source_end
sluice_opencl_source_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
