"""A pre-norm transformer: attention and block.

In come tokens, out go as many. Own code because the published ones drag in packages that do not
import beside a CPU build of torch; tested against torch's own layers.

Axes: B batch, N tokens, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention with normalised queries and keys.

    Normalising them bounds the logits, which keeps training in bfloat16 and at high learning
    rates stable (Dehghani et al. 2023, arXiv:2302.05442).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm: nn.Module = nn.LayerNorm(width // heads)
        self.k_norm: nn.Module = nn.LayerNorm(width // heads)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Mix the tokens.

        Parameters
        ----------
        x : Tensor [shape=(B, N, D)]
        keys : Tensor of bool [shape=(B, N)], optional
            Tokens that may be attended to; None where all may.

        Returns
        -------
        Tensor [shape=(B, N, D)]
        """
        B, N, D = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, D // self.heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, N, D/H)
        # Processors take 4 to 20 times as long for the gradient of attention in bfloat16.
        is_slow = x.device.type == "cpu" and qkv.dtype == torch.bfloat16
        dtype = torch.float32 if is_slow else qkv.dtype
        q, k, v = qkv.to(dtype, memory_format=torch.contiguous_format)  # 3 x (B, H, N, D/H)
        mask = None if keys is None else keys[:, None, None, :]  # (B, 1, 1, N)
        q, k = self.q_norm(q).to(dtype), self.k_norm(k).to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(B, N, D))  # (B, N, D)


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Return (B, N, D) for (B, N, D); `keys` as in :class:`Attention`."""
        x = x + self.attention(self.norm1(x), keys)
        return x + self.mlp(self.norm2(x))
