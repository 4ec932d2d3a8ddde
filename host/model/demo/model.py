# SPDX-License-Identifier: Apache-2.0
"""The demo model: a small Qwen3-MoE, written for training on one CPU core.

Same arithmetic as Hugging Face's Qwen3MoeForCausalLM: pre-norm RMSNorm, per-head norm of q and k before
rotate-half rope, softmax router over all experts, top-k renormalised to sum 1, SwiGLU experts, tied output.
Matrices can pass through a Q4_0 round trip (`quant=True`), which is how the last part of training makes the
weights indifferent to the rounding of the exported file.
"""
from dataclasses import dataclass, asdict

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int = 1536
    dim: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    experts: int = 8
    top_k: int = 2
    expert_ffn: int = 256
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-6

    def asdict(self):
        return asdict(self)


def fake_q4_0(w):
    """Q4_0 of groups of 32 along the last axis, and back; the gradient passes straight through.

    The scale is the group's value of largest magnitude divided by -8, stored as F16, as ggml does.
    """
    with torch.no_grad():
        g = w.reshape(-1, 32)
        top = g.gather(1, g.abs().argmax(1, keepdim=True))
        d = top / -8
        inv = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        q = (g * inv + 8.5).floor_().clamp_(0, 15) - 8
        q = (q * d.half().float()).view_as(w)
    return q + (w - w.detach())


def fake_q8_0(w):
    """Q8_0 and back, for the embedding that is also the output matrix."""
    with torch.no_grad():
        g = w.reshape(-1, 32)
        d = g.abs().amax(1, keepdim=True) / 127
        inv = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        q = ((g * inv).round_() * d.half().float()).view_as(w)
    return q + (w - w.detach())


def rope_tables(cfg, length):
    inv = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2, dtype=torch.float64) / cfg.head_dim)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * inv[None]
    angle = torch.cat([angle, angle], dim=1)
    return angle.cos().float(), angle.sin().float()


def rope(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class Block(nn.Module):
    """One layer.  Parameter names are the GGUF tensor names, so export is a loop."""

    def __init__(self, cfg):
        super().__init__()
        c, self.cfg = cfg, cfg
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim

        def matrix(*shape, gain=1.0):
            return nn.Parameter(torch.randn(*shape) * gain * shape[-1] ** -0.5)

        out = (2 * c.layers) ** -0.5        # residual branches start small
        self.attn_norm = nn.Parameter(torch.ones(c.dim))
        self.attn_q = matrix(q, c.dim)
        self.attn_k = matrix(kv, c.dim)
        self.attn_v = matrix(kv, c.dim)
        self.attn_q_norm = nn.Parameter(torch.ones(c.head_dim))
        self.attn_k_norm = nn.Parameter(torch.ones(c.head_dim))
        self.attn_output = matrix(c.dim, q, gain=out)
        self.ffn_norm = nn.Parameter(torch.ones(c.dim))
        self.ffn_gate_inp = matrix(c.experts, c.dim)
        self.ffn_gate_exps = matrix(c.experts, c.expert_ffn, c.dim)
        self.ffn_up_exps = matrix(c.experts, c.expert_ffn, c.dim)
        self.ffn_down_exps = matrix(c.experts, c.dim, c.expert_ffn, gain=out)

    def attention(self, x, cos, sin, w):
        c, (rows, length, _) = self.cfg, x.shape

        def heads(m, n):
            return F.linear(x, w(m)).view(rows, length, n, c.head_dim)

        q = F.rms_norm(heads(self.attn_q, c.heads), (c.head_dim,), self.attn_q_norm, c.eps)
        k = F.rms_norm(heads(self.attn_k, c.kv_heads), (c.head_dim,), self.attn_k_norm, c.eps)
        v = heads(self.attn_v, c.kv_heads).transpose(1, 2)
        q, k = rope(q.transpose(1, 2), cos, sin), rope(k.transpose(1, 2), cos, sin)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(rows, length, -1), w(self.attn_output))

    def experts(self, x, w):
        """Tokens sorted by expert, one matmul per expert and matrix.  Returns the sum and the balance loss."""
        c = self.cfg
        p = F.softmax(F.linear(x, self.ffn_gate_inp), dim=-1)
        weight, pick = p.topk(c.top_k, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        flat = pick.reshape(-1)
        order = flat.argsort(stable=True)
        count = torch.bincount(flat, minlength=c.experts)
        parts = x.index_select(0, order // c.top_k).split(count.tolist())
        mats = zip(w(self.ffn_gate_exps).unbind(0), w(self.ffn_up_exps).unbind(0), w(self.ffn_down_exps).unbind(0))
        y = torch.cat([F.linear(F.silu(F.linear(t, g)) * F.linear(t, u), d) for t, (g, u, d) in zip(parts, mats)])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        y = y.index_select(0, back).view(-1, c.top_k, c.dim)
        share = count.float() / flat.numel()
        balance = c.experts * (share * p.mean(0)).sum()
        return (y * weight.unsqueeze(-1)).sum(1), balance

    def forward(self, x, cos, sin, w):
        x = x + self.attention(F.rms_norm(x, x.shape[-1:], self.attn_norm, self.cfg.eps), cos, sin, w)
        h = F.rms_norm(x, x.shape[-1:], self.ffn_norm, self.cfg.eps)
        y, balance = self.experts(h.view(-1, h.shape[-1]), w)
        return x + y.view_as(x), balance


class Model(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.token_embd = nn.Parameter(torch.randn(cfg.vocab, cfg.dim) * 0.03)
        self.blk = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.output_norm = nn.Parameter(torch.ones(cfg.dim))
        cos, sin = rope_tables(cfg, cfg.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids, where=None, quant=False):
        """Logits at the flat positions `where` (all of them by default) and the mean balance loss."""
        w = fake_q4_0 if quant else (lambda t: t)
        embd = fake_q8_0(self.token_embd) if quant else self.token_embd
        length, balance = ids.shape[1], 0.0
        x = F.embedding(ids, embd)
        for block in self.blk:
            x, b = block(x, self.cos[:length], self.sin[:length], w)
            balance = balance + b / len(self.blk)
        x = x.view(-1, self.cfg.dim)
        if where is not None:
            x = x.index_select(0, where)
        x = F.rms_norm(x, x.shape[-1:], self.output_norm, self.cfg.eps)
        return F.linear(x, embd), balance

    def sizes(self):
        """Total parameters, and those that one token uses."""
        c, total = self.cfg, sum(p.numel() for p in self.parameters())
        return total, total - c.layers * (c.experts - c.top_k) * 3 * c.expert_ffn * c.dim
