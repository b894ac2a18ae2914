# PyTorch's side of `puyu bench train`: the same shapes, the same step (forward, backward, AdamW on every token's loss), run by torch_train.sh.
# Written as one would write the model in PyTorch: F.linear, an explicit attention (this Debian's PyTorch has no fused one on CPUs), autocast for bf16.
import math, statistics, sys, time

import torch
import torch.nn.functional as F

#         hidden, layers, heads, kv heads, ffn, vocabulary: as bench_shape() in src/cli/bench_train.cc
SHAPES = {
    "20m": (384, 6, 6, 2, 1024, 16000),
    "110m": (768, 12, 12, 4, 2048, 32000),
    "350m": (1024, 24, 16, 8, 2816, 32000),
}


class Block(torch.nn.Module):
    def __init__(self, hidden, heads, kv_heads, ffn):
        super().__init__()
        self.heads, self.kv_heads, self.dim = heads, kv_heads, hidden // heads
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.qkv = linear(hidden, (heads + 2 * kv_heads) * self.dim)
        self.wo, self.w1, self.w3, self.w2 = linear(hidden, hidden), linear(hidden, ffn), linear(hidden, ffn), linear(ffn, hidden)
        self.attention_norm, self.ffn_norm = torch.nn.Parameter(torch.ones(hidden)), torch.nn.Parameter(torch.ones(hidden))

    def forward(self, x, cos, sin, mask):
        n, t, _ = x.shape
        q, k, v = self.qkv(norm(x, self.attention_norm)).split([h * self.dim for h in (self.heads, self.kv_heads, self.kv_heads)], -1)
        q, k, v = (y.view(n, t, -1, self.dim).transpose(1, 2) for y in (q, k, v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (y.repeat_interleave(self.heads // self.kv_heads, 1) for y in (k, v))
        p = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(self.dim) + mask, -1)
        x = x + self.wo((p.to(v.dtype) @ v).transpose(1, 2).reshape(n, t, -1))
        h = norm(x, self.ffn_norm)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Model(torch.nn.Module):
    def __init__(self, hidden, layers, heads, kv_heads, ffn, vocabulary):
        super().__init__()
        self.table = torch.nn.Embedding(vocabulary, hidden)
        self.blocks = torch.nn.ModuleList(Block(hidden, heads, kv_heads, ffn) for _ in range(layers))
        self.norm = torch.nn.Parameter(torch.ones(hidden))
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False)
        self.dim = hidden // heads
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)

    def forward(self, ids, target):
        t = ids.shape[1]
        angles = torch.outer(torch.arange(t).float(), 1e6 ** (-torch.arange(0, self.dim, 2).float() / self.dim))
        cos, sin = (torch.cat((f(angles), f(angles)), -1) for f in (torch.cos, torch.sin))
        mask = torch.full((t, t), -1e9).triu(1)
        x = self.table(ids)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        logits = self.head(norm(x, self.norm))
        return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten())


shape, dtype, batch, sequence, rounds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
torch.set_num_threads(2)
torch.manual_seed(1)
model = Model(*SHAPES[shape])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
ids = torch.randint(0, SHAPES[shape][-1], (batch, sequence + 1))


def step():
    begin = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
        loss = model(ids[:, :-1], ids[:, 1:])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return time.perf_counter() - begin


step()
seconds = [step() for _ in range(rounds)]
print(f"pytorch {torch.__version__} {shape} {dtype} {batch} x {sequence}: {batch * sequence / statistics.median(seconds):.0f} tok/s "
      f"({batch * sequence / max(seconds):.0f} to {batch * sequence / min(seconds):.0f})")
