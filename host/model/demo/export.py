#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint as a GGUF file.

  export.py CHECKPOINT --out demo.gguf              matrices Q4_0, embedding Q8_0, norms and routers F32
  export.py CHECKPOINT --type f32 --out FILE        everything F32

The weights of the last norm are multiplied by --sharpen: the order of the logits stays, so greedy answers do too,
and a client that samples at temperature 1, the usual default, gets answers as at temperature 1/2.
"""
import argparse
import json
import os

import gguf

import bpe
from train import load

TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TYPES = {"q4_0": gguf.LlamaFileType.MOSTLY_Q4_0, "f32": gguf.LlamaFileType.ALL_F32}


def tensor_type(name, tensor, kind):
    if kind == "f32" or tensor.dim() == 1 or "gate_inp" in name:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.Q8_0 if name == "token_embd" else gguf.GGMLQuantizationType.Q4_0


def add_hyperparameters(w, c, kind):
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name("Sluice demo")
    w.add_description("Answers questions about Sluice; small sums, unit conversions, JSON extraction")
    w.add_license("Apache-2.0")
    w.add_file_type(TYPES[kind])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_block_count(c.layers)
    w.add_context_length(c.context)
    w.add_embedding_length(c.dim)
    w.add_feed_forward_length(c.expert_ffn * c.top_k)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.kv_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_rope_freq_base(c.rope_base)
    w.add_expert_count(c.experts)
    w.add_expert_used_count(c.top_k)
    w.add_expert_feed_forward_length(c.expert_ffn)
    w.add_vocab_size(c.vocab)


def add_tokenizer(w):
    with open(bpe.FILE, encoding="utf-8") as f:
        t = json.load(f)
    vocab = sorted(t["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocab]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if token in bpe.SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]])
    w.add_eos_token_id(tokens.index("<|im_end|>"))
    w.add_pad_token_id(tokens.index("<|endoftext|>"))
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)


def main():
    p = argparse.ArgumentParser(description="write a checkpoint as GGUF")
    p.add_argument("checkpoint")
    p.add_argument("--type", choices=TYPES, default="q4_0")
    p.add_argument("--out", default="demo.gguf")
    p.add_argument("--sharpen", type=float, default=2.0)
    a = p.parse_args()
    model, _ = load(a.checkpoint)
    w = gguf.GGUFWriter(a.out + ".part", gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3MOE])
    add_hyperparameters(w, model.cfg, a.type)
    add_tokenizer(w)
    for name, tensor in model.state_dict().items():
        kind = tensor_type(name.split(".")[-1], tensor, a.type)
        data = (tensor * a.sharpen if name == "output_norm" else tensor).contiguous().numpy()
        w.add_tensor(name + ".weight", gguf.quants.quantize(data, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(a.out + ".part", a.out)
    print(f"{a.out}: {os.path.getsize(a.out)} bytes")


if __name__ == "__main__":
    main()
