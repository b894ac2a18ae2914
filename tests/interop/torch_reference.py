# puyu's numbers against PyTorch: a second implementation of the model, written from the formulas and from nothing of ours, in float64.
#   RMSNorm (Zhang & Sennrich 2019), rotary positions by halves (Su et al. 2021) and their scalings, grouped queries (Ainslie et al.
#   2023), SwiGLU (Shazeer 2020); AdamW (Loshchilov & Hutter 2019). The folders' safetensors are read here as well.
# Run by run.sh, which sets MAKE_MODEL, PROBE, PUYU and SCRATCH. Every bound below is checked against what was measured, and every
# variant against the plain model: it must differ by far more than the bound, or the check could not fail.
import json, math, os, struct, subprocess, sys

import torch

F64 = torch.float64
HERE, SCRATCH = os.path.dirname(os.path.abspath(__file__)), os.environ["SCRATCH"]

# Largest |difference| of log-probs over the largest |log-prob| of a sequence, over the whole vocabulary and all positions.
F32_BOUND = 5e-6
BF16_BOUND = 5e-2
GRADIENT_BOUND = 1e-5  # largest |difference| over the largest |gradient| of the tensor
LOSS_BOUND = 2e-6  # relative; of the gradient's norm too


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = bytearray(data[8 + size + begin : 8 + size + end])
        out[name] = torch.frombuffer(raw, dtype=types[entry["dtype"]]).reshape(entry["shape"])
    return out


def split_wqkv(w, heads, kv_heads, head_dim):
    """InternLM2's rows: for each key head its query heads, then the key, then the value."""
    group = heads // kv_heads
    rows = w.reshape(kv_heads, group + 2, head_dim, -1)
    return [part.reshape(-1, w.shape[1]) for part in (rows[:, :group], rows[:, group], rows[:, group + 1])]


class Reference:
    """The model of a folder in float64; bf16: its weights rounded to bf16 first."""

    def __init__(self, folder, bf16=False, grad=False):
        with open(folder + "/config.json", encoding="utf-8") as f:
            self.c = json.load(f)
        self.heads, self.kv_heads = self.c["num_attention_heads"], self.c["num_key_value_heads"]
        self.head_dim = self.c.get("head_dim") or self.c["hidden_size"] // self.heads
        self.w = {}
        for name, t in read_safetensors(folder + "/model.safetensors").items():
            t = t.to(torch.bfloat16) if bf16 else t
            self.w[name] = t.to(F64).requires_grad_(grad)
        self.llama = self.c["model_type"] == "llama"

    def layer(self, i):
        at = f"model.layers.{i}."
        get = lambda name: self.w[at + name + ".weight"]
        if self.llama:
            qkv = [get(f"self_attn.{x}_proj") for x in "qkv"]
            rest = ["input_layernorm", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
        else:
            qkv = split_wqkv(get("attention.wqkv"), self.heads, self.kv_heads, self.head_dim)
            rest = ["attention_norm", "attention.wo", "ffn_norm", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"]
        return qkv + [get(name) for name in rest]

    def norm(self, x, w):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.c["rms_norm_eps"]) * w

    def angles(self, tokens):
        """[tokens, head_dim / 2] radians, and the factor on cosines and sines."""
        s, d, theta = self.c.get("rope_scaling") or {"type": "none"}, self.head_dim, self.c["rope_theta"]
        longest = self.c["max_position_embeddings"]
        if s["type"] == "dynamic" and tokens > longest:  # the base follows from the prompt's length, once
            theta *= (s["factor"] * tokens / longest - (s["factor"] - 1)) ** (d / (d - 2))
        inverse = theta ** (-torch.arange(0, d, 2, dtype=F64) / d)
        factor = 1.0
        if s["type"] == "linear":
            inverse = inverse / s["factor"]
        if s["type"] == "yarn":
            inverse, factor = yarn(s, d, theta, inverse, longest)
        return torch.arange(tokens, dtype=F64)[:, None] * inverse[None, :], factor

    def rotate(self, x, cos, sin):  # x: [heads, tokens, head_dim]
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def logits(self, ids):
        n = len(ids)
        angles, factor = self.angles(n)
        cos, sin = factor * angles.cos(), factor * angles.sin()
        embedding = self.w["model.embed_tokens.weight" if self.llama else "model.tok_embeddings.weight"]
        x = embedding[torch.tensor(ids)]
        mask = torch.full((n, n), -math.inf, dtype=F64).triu(1)
        for i in range(self.c["num_hidden_layers"]):
            wq, wk, wv, norm1, wo, norm2, gate, up, down = self.layer(i)
            h = self.norm(x, norm1)
            q, k, v = ((h @ w.T).reshape(n, -1, self.head_dim).transpose(0, 1) for w in (wq, wk, wv))
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            share = self.heads // self.kv_heads
            k, v = k.repeat_interleave(share, 0), v.repeat_interleave(share, 0)
            scores = q @ k.transpose(1, 2) / math.sqrt(self.head_dim) + mask
            x = x + (scores.softmax(-1) @ v).transpose(0, 1).reshape(n, -1) @ wo.T
            h = self.norm(x, norm2)
            g = h @ gate.T
            x = x + (g * torch.sigmoid(g) * (h @ up.T)) @ down.T
        x = self.norm(x, self.w["model.norm.weight"])
        head = embedding if self.c["tie_word_embeddings"] else self.w["lm_head.weight" if self.llama else "output.weight"]
        return x @ head.T

    def logprobs(self, ids):
        return self.logits(ids).log_softmax(-1)


def yarn(s, d, theta, inverse, longest):
    """Peng et al. 2023, section 3.2, with the ramp over pairs of the released code."""
    original = s.get("original_max_position_embeddings") or longest
    pair = lambda turns: d * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
    low = max(math.floor(pair(s.get("beta_fast", 32))), 0)
    high = min(math.ceil(pair(s.get("beta_slow", 1))), d - 1)
    ramp = ((torch.arange(d // 2, dtype=F64) - low) / max(high - low, 0.001)).clamp(0, 1)
    return inverse / s["factor"] * ramp + inverse * (1 - ramp), s.get("attention_factor") or 0.1 * math.log(s["factor"]) + 1


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_ids(sequences):
    path = SCRATCH + "/ids"
    with open(path, "w", encoding="ascii") as f:
        f.writelines(" ".join(map(str, ids)) + "\n" for ids in sequences)
    return path


def our_logprobs(folder, dtype, sequences, vocab):
    out = SCRATCH + "/logprobs"
    run(os.environ["PROBE"], "logprobs", folder, dtype, write_ids(sequences), out)
    with open(out, "rb") as f:
        flat = torch.frombuffer(bytearray(f.read()), dtype=torch.float32)
    return [t.reshape(-1, vocab) for t in flat.split([(len(ids) - 1) * vocab for ids in sequences])]


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


failures = []


def check(what, got, bound):
    ok = got <= bound
    print(f"{what:<66} {got:.1e}  (bound {bound:.0e}){'' if ok else '  FAILED'}")
    if not ok:
        failures.append(what)


def prompt_ids(folder):
    """The texts of prompts.json by the model's own tokenizer, each on one line."""
    with open(HERE + "/prompts.json", encoding="utf-8") as f:
        lines = [" ".join(p["text"].split()) for p in json.load(f)]
    path = SCRATCH + "/texts"
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    out = run(os.environ["PUYU"], "tokenizer", "encode", folder, path).splitlines()
    assert len(out) == len(lines)
    return [[1] + [int(x) for x in line.split()] for line in out]


def variant(folder, name, **changes):
    """The same weights with another config.json."""
    out = f"{SCRATCH}/{name}"
    os.makedirs(out)
    with open(folder + "/config.json", encoding="utf-8") as f:
        config = {**json.load(f), **changes}
    with open(out + "/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    for file in ("model.safetensors", "tokenizer.puyu"):
        os.symlink(f"{folder}/{file}", f"{out}/{file}")
    return out


def compare(what, folder, sequences, plain=None):
    """Log-probs in f32 and bf16; `plain`: the folder that these must not be equal to."""
    ref = Reference(folder)
    want = [ref.logprobs(ids)[:-1] for ids in sequences]
    vocab = ref.c["vocab_size"]
    got = our_logprobs(folder, "f32", sequences, vocab)
    check(f"{what}, f32", max(map(difference, got, want)), F32_BOUND)
    rounded = Reference(folder, bf16=True)
    got = our_logprobs(folder, "bf16", sequences, vocab)
    check(f"{what}, bf16", max(difference(g, rounded.logprobs(ids)[:-1]) for g, ids in zip(got, sequences)), BF16_BOUND)
    if plain:
        other = Reference(plain)
        least = min(difference(other.logprobs(ids)[:-1], w) for ids, w in zip(sequences, want))
        if least < 1000 * F32_BOUND:
            failures.append(f"{what}: the scaling changes next to nothing ({least:.1e})")


def needles(vocab, lengths, seed=5):
    """Haystacks of random ids with a pair planted at several depths; the pair's first id stands at the end again."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for n in lengths:
        for depth in (0.1, 0.5, 0.9):
            ids = torch.randint(3, vocab - 2, (n,), generator=g).tolist()
            at = 1 + int(depth * (n - 4))
            ids[0], ids[at : at + 2], ids[-2:] = 1, [vocab - 2, vocab - 1], [vocab - 2, vocab - 1]
            out.append(ids)
    return out


def compare_scalings(folder):
    """Prompts within max_position and beyond it, by each rule for long contexts."""
    plain = variant(folder, "long", max_position_embeddings=64)
    vocab = Reference(plain).c["vocab_size"]
    beyond = variant(folder, "no-scaling", max_position_embeddings=4096)  # what the rules must differ from
    dynamic = variant(folder, "dynamic", max_position_embeddings=64, rope_scaling={"type": "dynamic", "factor": 2.0})
    compare("dynamic NTK, prompts within max_position", dynamic, needles(vocab, [40, 64]))
    compare("dynamic NTK, 1.02 to 12 times max_position, needles", dynamic, needles(vocab, [65, 130, 200, 768]), beyond)
    linear = variant(folder, "linear", max_position_embeddings=512, rope_scaling={"type": "linear", "factor": 4.0})
    compare("linear, factor 4, needles", linear, needles(vocab, [200, 500]), beyond)
    for name, more in {"yarn": {}, "yarn-set": {"attention_factor": 1.2, "beta_fast": 16, "beta_slow": 2}}.items():
        scaling = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, **more}
        folder_ = variant(folder, name, max_position_embeddings=512, rope_scaling=scaling)
        compare(f"YaRN, factor 8, {'as set' if more else 'defaults'}, needles", folder_, needles(vocab, [60, 500]), beyond)


def joined_gradients(ref):
    """By our names: q, k and v in wqkv's order."""
    out, names = {}, {"model.embed_tokens": "model.tok_embeddings", "lm_head": "output"}
    parts = {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attention.wo",
             "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}
    for name, w in ref.w.items():
        base, layer = name.rsplit(".", 1)[0], name.split(".")
        if "self_attn.q_proj" in name:
            at = ".".join(layer[:3])
            q, k, v = (ref.w[f"{at}.self_attn.{x}_proj.weight"].grad.reshape(ref.kv_heads, -1, ref.head_dim, w.shape[1]) for x in "qkv")
            out[at + ".attention.wqkv.weight"] = torch.cat([q, k, v], 1).reshape(-1, w.shape[1])
        elif "_proj" not in name or "o_proj" in name or "mlp" in name:
            for theirs, ours in {**names, **parts}.items():
                base = ours.join(base.rsplit(theirs, 1)) if base.endswith(theirs) else base
            out[base + ".weight"] = w.grad
    return out


def compare_step(what, folder, sequences):
    """Loss, gradients of every tensor, and the weights after one step of AdamW."""
    ref = Reference(folder, grad=True)
    targets = [t for ids in sequences for t in ids[1:]]
    logp = torch.cat([ref.logprobs(ids)[:-1] for ids in sequences])
    loss = -logp[torch.arange(len(targets)), torch.tensor(targets)].mean()
    loss.backward()
    out = SCRATCH + "/step.safetensors"
    ours = json.loads(run(os.environ["PROBE"], "step", folder, write_ids(sequences), out))
    tensors = read_safetensors(out)
    want = joined_gradients(ref)
    names = {n[len("gradient.") :] for n in tensors if n.startswith("gradient.")}
    assert names == set(want), names ^ set(want)
    norm = math.sqrt(sum((g * g).sum().item() for g in want.values()))
    check(f"{what}: loss", abs(ours["loss"] - loss.item()) / loss.item(), LOSS_BOUND)
    check(f"{what}: grad_norm", abs(ours["grad_norm"] - norm) / norm, LOSS_BOUND)
    check(f"{what}: gradients of {len(want)} tensors", max(difference(tensors["gradient." + n], g) for n, g in want.items()), GRADIENT_BOUND)
    lr, decay, worst = 1e-3, 0.1, 0.0  # the update follows from our own gradients, so that only AdamW is compared
    before = read_weights_by_our_names(ref)
    for n in want:
        g = tensors["gradient." + n].to(F64) * min(1.0, 1.0 / norm)  # clip_grad_norm 1; first step: m^ = g, v^ = g g
        update = g / (g.abs() + 1e-8) + (decay * before[n] if g.dim() > 1 else 0)
        worst = max(worst, (tensors["after." + n] - (before[n] - lr * update)).abs().max().item() / lr)
    check(f"{what}: AdamW's first step, of lr", worst, 1e-3)


def read_weights_by_our_names(ref):
    for w in ref.w.values():
        w.grad = w.detach()
    return joined_gradients(ref)


def main():
    torch.manual_seed(0)
    for shape in ("internlm2", "llama", "llama-wide"):
        folder = f"{SCRATCH}/{shape}"
        run(os.environ["MAKE_MODEL"], folder, shape, HERE + "/prompts.json")
        ids = prompt_ids(folder)
        tokens = sum(map(len, ids))
        compare(f"{shape}, {len(ids)} prompts, {tokens} tokens, log-probs of the vocabulary", folder, ids)
        compare_step(f"{shape}: step", folder, ids[:8])
    compare_scalings(SCRATCH + "/internlm2")
    if failures:
        sys.exit("over the bound: " + "; ".join(failures))


main()
