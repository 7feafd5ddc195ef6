#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares token ids of `cairn tokenize` with those of llama.cpp's llama-server on the same model files and texts.

  compare_tokenizer.py train OUT_DIR --text FILE...
      Trains a small byte-level BPE vocabulary for each pre-tokenizer on the texts and on generated mixed-script lines,
      and writes OUT_DIR/tokenizer-<pre>.gguf: a llama model with tiny random weights, so that any engine loads it.
      Needs the Python packages tokenizers, gguf and numpy.

  compare_tokenizer.py compare --cairn CAIRN --server "COMMAND" --text FILE... -- MODEL.gguf...
      COMMAND starts llama-server (arguments are appended). Compares single lines of the texts, of generated text and of
      such text with special tokens inside, and stretches of many lines. Exit status 1 if any ids differ.

Texts are plain; of a .json file in SQuAD format the questions are taken.
"""
import argparse
import http.client
import json
import pathlib
import random
import shlex
import socket
import subprocess
import sys
import tempfile
import time

CONTRACTIONS = r"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])"
WORDS = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PRE_TOKENIZERS = {  # the patterns that the vocabulary is trained with, one after the other
    "llama-bpe": [WORDS % r"\p{N}{1,3}"],
    "qwen2": [WORDS % r"\p{N}"],
    "gpt-2": [GPT2_WORDS],
    "smollm": [r"\p{N}", GPT2_WORDS],
}
CONTROL = ["<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|eot_id|><|extra|>"]
USER_DEFINED = ["<tool_call>", "<tool_call>\n\n", "call>x", "    \t"]

# Without U+2581: llama.cpp cannot tell it from a space in SentencePiece-style vocabularies, cairn keeps it.
FRAGMENTS = [
    *"I'm it's WE'RE they'LL You'Ve DON'T 'tis rock'n'roll O'Neil 'S 's'S ''s x'd".split(),
    *"0 7 42 007 1234 1234567 3.14159 1,000,000 2026-01-31 0xDEADBEEF ½ ٣٤٥ Ⅷ x² 1st".split(),
    *"int main(){return x->y[i++];} /*c*/ a&&b||!c {\"k\":[1,2]} <b>t</b> https://e.org/?q=1&r=%20 C:\\tmp\\f #!/bin/sh".split(),
    *"你好世界 日本語のテキスト 한국어 カタカナ 中文。标点，和English混合 ｆｕｌｌ　ｗｉｄｔｈ".split(),
    *"Привет мир Ещё ЁЛКА Ελληνικά ΣΊΣΥΦΟΣ العربية שלום हिन्दी ภาษาไทย ქართული Հայերեն አማርኛ".split(),
    *"👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 😀😃 🇩🇪🇫🇷 ❤️ ☃ 𝔘𝔫𝔦 𠮷 é ȩ́ à́̂ ŉ ǆ ſt K İı ß ẞ \u200b\u200d\ufeff \u00ad".split(" "),
    *["<s>", "</s>", "<unk>", "<0x0A>", "<|im_end|", "<|", "|>", "[INST]", "<|im_start|>user"],
    *["...", "?!", "--", "—", "“q”", "‘s’", "$100", "50%", "a_b_c", "#tag", "@me", "~~", "```", "\\n", "\x01", "\x7f"],
]
SPACES = ["", " ", " ", " ", " ", "  ", "   ", "\t", " \t ", "\u00a0", "\u3000", "\u2003", "\u180e", "\u0085", "\r", " " * 9,
          " " * 40, "\u2028"]
BREAKS = ["\n", "\n\n", "\r\n", " \n ", "\n\t\n", "\n   ", "\r\n\r\n  ", "\n\n\n\n"]


def mixed_lines(count, seed, extra=(), breaks=()):
    rng = random.Random(seed)
    joints = SPACES + list(breaks) * 4
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 12)):
            kind = rng.random()
            if extra and kind < 0.3:
                parts.append(rng.choice(extra))
            elif kind < 0.85:
                parts.append(rng.choice(FRAGMENTS))
            elif kind < 0.95:
                parts.append("".join(rng.choice("abcABC'  012\t.,-é") for _ in range(rng.randrange(1, 12))))
            else:
                point = rng.randrange(1, 0x20000)
                parts.append("x" if 0xD800 <= point < 0xE000 or point in (10, 0x2581) else chr(point))
            parts.append(rng.choice(joints))
        yield "".join(parts)


def read_text(path):
    text = pathlib.Path(path).read_bytes().decode("utf-8")
    if not str(path).endswith(".json"):
        return text
    articles = json.loads(text)["data"]
    return "\n".join(q["question"] for a in articles for p in a["paragraphs"] for q in p["qas"])


def train(args):
    import gguf
    import numpy
    import tokenizers
    from tokenizers import pre_tokenizers as pre

    texts = [read_text(p) for p in args.text]
    args.out_dir.mkdir(parents=True, exist_ok=True)
    for name, patterns in PRE_TOKENIZERS.items():
        bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
        cuts = [pre.Split(tokenizers.Regex(p), "isolated") for p in patterns]
        bpe.pre_tokenizer = pre.Sequence([*cuts, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=args.vocab, show_progress=False,
                                                 initial_alphabet=pre.ByteLevel.alphabet())
        bpe.train_from_iterator(texts + list(mixed_lines(4000, seed=0, breaks=BREAKS)), trainer)
        model = json.loads(bpe.to_str())["model"]
        words = sorted(model["vocab"], key=model["vocab"].get)
        tokens = words + CONTROL + USER_DEFINED

        width, rng = 32, numpy.random.default_rng(0)
        out = args.out_dir / f"tokenizer-{name}.gguf"
        writer = gguf.GGUFWriter(out, "llama")
        writer.add_block_count(1)
        writer.add_context_length(4096)
        writer.add_embedding_length(width)
        writer.add_feed_forward_length(width)
        writer.add_head_count(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(name)
        writer.add_token_list(tokens)
        writer.add_token_types([1] * len(words) + [3] * len(CONTROL) + [4] * len(USER_DEFINED))
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
        writer.add_bos_token_id(len(words))
        writer.add_eos_token_id(len(words) + 1)
        shapes = {"token_embd.weight": (len(tokens), width), "output_norm.weight": (width,)}
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            shapes[f"blk.0.{part}.weight"] = (width, width)
        for part in ("attn_norm", "ffn_norm"):
            shapes[f"blk.0.{part}.weight"] = (width,)
        for tensor, shape in shapes.items():
            writer.add_tensor(tensor, rng.normal(size=shape).astype(numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        print(f"{out}: {len(tokens)} tokens, {len(model['merges'])} merges")


class Peer:
    """llama-server on a free port of the loopback interface."""

    def __init__(self, command, model):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            shlex.split(command) + ["-m", model, "--host", "127.0.0.1", "--port", str(port), "-c", "256", "-np", "1"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                self.connection.request("GET", "/health")
                answer = self.connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
            except OSError:
                self.connection.close()
            time.sleep(0.2)
        self.stop()
        self.log.seek(0)
        sys.exit(f"llama-server did not start for {model}:\n" + self.log.read().decode(errors="replace")[-2000:])

    def ids(self, text, special):
        body = json.dumps({"content": text, "add_special": False, "parse_special": special})
        try:
            return self._post(body)
        except (ConnectionError, http.client.HTTPException):  # the server closes a connection that was idle for seconds
            self.connection.close()
            return self._post(body)

    def _post(self, body):
        self.connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
        return json.loads(self.connection.getresponse().read())["tokens"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def cairn_lines(cairn, model, lines, special):
    command = [cairn, "tokenize", "-m", model, "--lines"] + (["--special"] if special else [])
    run = subprocess.run(command, input="".join(line + "\n" for line in lines).encode(), capture_output=True)
    if run.returncode != 0:
        sys.exit(f"{shlex.join(command)}: {run.stderr.decode(errors='replace')}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def cairn_text(cairn, model, text, special):
    command = [cairn, "tokenize", "-m", model, "--ids", "--no-bos", "-f", "-"] + (["--special"] if special else [])
    run = subprocess.run(command, input=text.encode(), capture_output=True)
    if run.returncode != 0:
        sys.exit(f"{shlex.join(command)}: {run.stderr.decode(errors='replace')}")
    return json.loads(run.stdout)


def compare(args):
    sources = [read_text(p) for p in args.text]
    rng = random.Random(args.seed)
    pool = sorted({line for text in sources for line in text.split("\n") if line.strip()})
    plain = rng.sample(pool, min(args.lines, len(pool)))
    stretches = [text[at:at + 3000] for text in sources for at in range(0, len(text), max(3000, len(text) // 8))]
    stretches += mixed_lines(args.stretches, args.seed + 1, breaks=BREAKS)
    marks = CONTROL + USER_DEFINED + ["<s>", "</s>", "<unk>"]
    line_marks = [mark for mark in marks if "\n" not in mark]
    groups = [
        ("lines of the texts", plain, False, True),
        ("mixed lines", list(mixed_lines(args.lines, args.seed)), False, True),
        ("with special tokens read", list(mixed_lines(args.lines, args.seed + 2, extra=line_marks)), True, True),
        ("with special tokens as text", list(mixed_lines(args.lines, args.seed + 3, extra=line_marks)), False, True),
        ("stretches of many lines", stretches, False, False),
        ("the same with special tokens read",
         list(mixed_lines(args.stretches, args.seed + 4, extra=marks, breaks=BREAKS)), True, False),
    ]
    differ = 0
    for model in args.models:
        peer = Peer(args.server, model)
        print(model)
        try:
            for title, texts, special, single_lines in groups:
                if single_lines:
                    ours = cairn_lines(args.cairn, model, texts, special)
                else:
                    ours = [cairn_text(args.cairn, model, text, special) for text in texts]
                theirs = [peer.ids(text, special) for text in texts]
                bad = [(t, a, b) for t, a, b in zip(texts, ours, theirs, strict=True) if a != b]
                differ += len(bad)
                print(f"  {title}: {len(texts) - len(bad)} of {len(texts)} equal")
                for text, a, b in bad[:args.show]:
                    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                    print(f"    {text[:200]!r}\n    token {at}: cairn {a[at:at + 6]} llama.cpp {b[at:at + 6]}")
        finally:
            peer.stop()
    return 1 if differ else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("train", help="make model files to compare with")
    sub.add_argument("out_dir", type=pathlib.Path)
    sub.add_argument("--text", nargs="+", required=True, help="training texts")
    sub.add_argument("--vocab", type=int, default=8000, help="size of each vocabulary (default 8000)")
    sub.set_defaults(run=train)
    sub = commands.add_parser("compare", help="compare ids")
    sub.add_argument("models", nargs="+", help="model files, by paths that both programs understand")
    sub.add_argument("--cairn", required=True, help="path of the cairn program")
    sub.add_argument("--server", required=True, help="command that starts llama-server")
    sub.add_argument("--text", nargs="+", required=True, help="texts to compare on")
    sub.add_argument("--lines", type=int, default=2000, help="lines of each group (default 2000)")
    sub.add_argument("--stretches", type=int, default=60, help="generated texts of many lines (default 60)")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--show", type=int, default=3, help="differences to print of each group (default 3)")
    sub.set_defaults(run=compare)
    args = parser.parse_args()
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
