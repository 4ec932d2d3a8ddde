/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in architectures inside the program, one after the other; each is a JSON object. */
    .section .rodata
    .globl sluice_architectures
    .hidden sluice_architectures
sluice_architectures:
    .incbin "host/plan/architectures/command-r-plus.json"
    .incbin "host/plan/architectures/deepseek-r1.json"
    .incbin "host/plan/architectures/deepseek-v3.2.json"
    .incbin "host/plan/architectures/deepseek-v4-flash.json"
    .incbin "host/plan/architectures/deepseek-v4-pro.json"
    .incbin "host/plan/architectures/gemma-3-27b.json"
    .incbin "host/plan/architectures/glm-5.json"
    .incbin "host/plan/architectures/gpt-oss-120b.json"
    .incbin "host/plan/architectures/gpt-oss-20b.json"
    .incbin "host/plan/architectures/kimi-k2.5.json"
    .incbin "host/plan/architectures/llama-2-7b.json"
    .incbin "host/plan/architectures/llama-3.1-405b.json"
    .incbin "host/plan/architectures/llama-3.1-70b.json"
    .incbin "host/plan/architectures/llama-3.1-8b.json"
    .incbin "host/plan/architectures/llama-4-maverick.json"
    .incbin "host/plan/architectures/llama-4-scout.json"
    .incbin "host/plan/architectures/mistral-large-3.json"
    .incbin "host/plan/architectures/mixtral-8x22b.json"
    .incbin "host/plan/architectures/mixtral-8x7b.json"
    .incbin "host/plan/architectures/phi-4.json"
    .incbin "host/plan/architectures/qwen3-0.6b.json"
    .incbin "host/plan/architectures/qwen3-30b-a3b.json"
    .incbin "host/plan/architectures/qwen3.5-397b-a17b.json"
    .incbin "host/plan/architectures/step-3.5-flash.json"
    .globl sluice_architectures_end
    .hidden sluice_architectures_end
sluice_architectures_end:
    .section .note.GNU-stack, "", %progbits
