#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzzers below the folder given (tests/fuzz/corpus): small, each valid file shows one thing.

Usage: make_corpus.py FOLDER. The same bytes each time; needs nothing but Python.
"""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALARS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
# Tensor types: elements and bytes of a block (ggml's block structs).
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
         10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
         17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
         24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
         35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)}


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def array(kind, *elements):
    return struct.pack("<IQ", kind, len(elements)) + b"".join(payload(kind, element) for element in elements)


def payload(kind, value):
    if kind == STRING:
        return text(value)
    return value if kind == ARRAY else struct.pack("<" + SCALARS[kind], value)


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + payload(kind, value)


def gguf(keys, tensors=(), version=3, alignment=32):
    """tensors: (name, type, dimensions)"""
    table, data = b"", b""
    for name, kind, dimensions in tensors:
        data += b"\0" * (-len(data) % alignment)
        elements, size = TYPES[kind]
        n_blocks = 1
        for dimension in dimensions:
            n_blocks *= dimension
        table += text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        table += struct.pack("<IQ", kind, len(data))
        # Bytes below 0x3b: read as f16 or f32 in any alignment they are finite and below 1.
        data += bytes(i % 59 for i in range(n_blocks // elements * size))
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + table
    return head + b"\0" * (-len(head) % alignment) + data


def gguf_seeds():
    scalars = [key("s.%d" % kind, kind, 1) for kind in SCALARS] + [key("s.string", STRING, "text \u00e9")]
    arrays = [key("a.%d" % kind, ARRAY, array(kind, 0, 1, 1)) for kind in SCALARS]
    nested = array(ARRAY, array(STRING, "a", ""), array(ARRAY, array(U16, 1, 2), array(U8)))
    vocabulary = [key("general.architecture", STRING, "llama"), key("tokenizer.ggml.model", STRING, "gpt2"),
                  key("tokenizer.ggml.tokens", ARRAY, array(STRING, "a", "b", "ab", "<|end|>")),
                  key("tokenizer.ggml.scores", ARRAY, array(F32, 0.0, -1.0, -2.0, 0.0)),
                  key("tokenizer.ggml.token_type", ARRAY, array(I32, 1, 1, 1, 3)),
                  key("tokenizer.ggml.merges", ARRAY, array(STRING, "a b"))]
    split = [key("split.no", U16, 0), key("split.count", U16, 2), key("split.tensors.count", I32, 1)]
    yield "empty-v2", gguf([], version=2)
    yield "empty-v3", gguf([])
    yield "scalars", gguf(scalars)
    yield "arrays", gguf(arrays + [key("a.string", ARRAY, array(STRING, "", "x")), key("a.none", ARRAY, array(U64))])
    yield "nested", gguf([key("n", ARRAY, nested)])
    yield "vocabulary", gguf(vocabulary)
    yield "aligned", gguf([key("general.alignment", U32, 64)], [("a", 0, [3]), ("b", 1, [2, 2, 1, 3])], alignment=64)
    yield "split", gguf(split, [("t", 24, [1])])
    yield "big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    for kind, (elements, _) in TYPES.items():
        yield "tensor-%02d" % kind, gguf([], [("t", kind, [elements, 2])])
    yield "model", gguf(vocabulary + [key("llama.block_count", U32, 1), key("llama.rope.freq_base", F32, 1e4)],
                        [("token_embd.weight", 8, [32, 4]), ("blk.0.attn_q.weight", 2, [32, 32]),
                         ("output_norm.weight", 0, [32])])


def byte_alphabet():
    """The 256 characters that byte-level BPE writes bytes as (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def tokenizer_keys(style):
    if style == "bpe":
        tokens = byte_alphabet() + ["ab", "<|end|>"]
        return [key("tokenizer.ggml.model", STRING, "gpt2"), key("tokenizer.ggml.pre", STRING, "qwen2"),
                key("tokenizer.ggml.tokens", ARRAY, array(STRING, *tokens)),
                key("tokenizer.ggml.token_type", ARRAY, array(I32, *[1] * 257, 3)),
                key("tokenizer.ggml.merges", ARRAY, array(STRING, "a b")),
                key("tokenizer.ggml.eos_token_id", U32, 257)]
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)] + ["\u2581", "a", "b", "ab"]
    return [key("tokenizer.ggml.model", STRING, "llama"),
            key("tokenizer.ggml.tokens", ARRAY, array(STRING, *tokens)),
            key("tokenizer.ggml.scores", ARRAY, array(F32, *[0.0] * 259, -1.0, -2.0, -3.0, -4.0)),
            key("tokenizer.ggml.token_type", ARRAY, array(I32, 2, 3, 3, *[6] * 256, 1, 1, 1, 1)),
            key("tokenizer.ggml.bos_token_id", U32, 1), key("tokenizer.ggml.eos_token_id", U32, 2)]


def tiny_model(family, style, kind, extra_keys=()):
    """One layer, 32 wide, one head of 32; matrices in tensor type kind, two experts in qwen3moe."""
    n_vocab = 258 if style == "bpe" else 263
    sizes = {"block_count": 1, "context_length": 64, "embedding_length": 32, "feed_forward_length": 32,
             "attention.head_count": 1}
    keys = [key("general.architecture", STRING, family)]
    keys += [key(f"{family}.{name}", U32, value) for name, value in sizes.items()]
    keys += [key(f"{family}.attention.layer_norm_rms_epsilon", F32, 1e-6), key(f"{family}.rope.freq_base", F32, 1e4)]
    vectors = ["attn_norm.weight", "ffn_norm.weight"]
    matrices = ["attn_q", "attn_k", "attn_v", "attn_output"]
    if family == "qwen2":
        vectors += ["attn_q.bias", "attn_k.bias", "attn_v.bias"]
    if family.startswith("qwen3"):
        vectors += ["attn_q_norm.weight", "attn_k_norm.weight"]
    tensors = [("token_embd.weight", kind, [32, n_vocab]), ("output_norm.weight", 0, [32])]
    if family == "qwen3moe":
        keys += [key(f"{family}.{name}", U32, value) for name, value in
                 (("expert_count", 2), ("expert_used_count", 1), ("expert_feed_forward_length", 32))]
        tensors += [("blk.0.ffn_gate_inp.weight", 0, [32, 2])]
        tensors += [(f"blk.0.ffn_{part}_exps.weight", kind, [32, 32, 2]) for part in ("gate", "up", "down")]
    else:
        matrices += ["ffn_gate", "ffn_up", "ffn_down"]
    tensors += [(f"blk.0.{name}", 0, [32]) for name in vectors]
    tensors += [(f"blk.0.{name}.weight", kind, [32, 32]) for name in matrices]
    return gguf(keys + list(extra_keys) + tokenizer_keys(style), tensors)


def model_seeds():
    yield "llama-spm-q8_0", tiny_model("llama", "spm", 8)
    yield "llama-bpe-q4_0", tiny_model("llama", "bpe", 2, [key("llama.attention.sliding_window", U32, 16)])
    yield "qwen2-q5_1", tiny_model("qwen2", "bpe", 7)
    yield "qwen3-q4_1", tiny_model("qwen3", "bpe", 3, [key("qwen3.rope.scaling.type", STRING, "linear"),
                                                       key("qwen3.rope.scaling.factor", F32, 2.0)])
    yield "qwen3moe-f16", tiny_model("qwen3moe", "bpe", 1)


def main():
    for folder, seeds in (("gguf", gguf_seeds()), ("model", model_seeds())):
        os.makedirs(os.path.join(sys.argv[1], folder), exist_ok=True)
        for name, data in seeds:
            with open(os.path.join(sys.argv[1], folder, name), "wb") as file:
                file.write(data)


main()
