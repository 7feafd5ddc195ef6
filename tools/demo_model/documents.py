# SPDX-License-Identifier: Apache-2.0
"""Training documents: (token ids, loss weights).

Most are sessions of the suite itself, from `cairn eval items` with seeds far from those it is measured with. Answers
carry full weight; random context, which nobody could predict, carries almost none. Beside them stand plain repeats of
random sequences, without which the retrieval tasks are learnt very slowly (they form the induction heads that all of
them need), and text.
"""
import json
import random
import subprocess

ANSWER, CONTEXT, QUERY = 1.0, 0.002, 0.0
FIRST_TRAINING_SEED = 1 << 40  # the suite's own default is 1
TURNS = (5, 6, 8, 10)
RULE_TASKS = ("S1", "S3", "S4", "S5")
RULE_SHARE = 0.15
SESSIONS_AT_ONCE = 8
TASKS_AT_ONCE = 6
ITEMS_TIMEOUT_S = 60

# Harder tasks come more often.
TASK_WEIGHTS = {"S1": 2.5, "S2": 8, "S3": 2.5, "S4": 3, "S5": 4, "S6": 4, "S7": 4, "S8": 2.5, "S9": 1, "S10": 3, "S11": 1.5,
                "S12": 1.5}


class Documents:
    def __init__(self, processor, text, cairn, seed, repeats_share=0.08):
        """processor: SentencePiece; text: ids of the corpus; cairn: (binary, model) that make the sessions."""
        self.processor, self.text, self.cairn = processor, text, cairn
        self.random = random.Random(seed)
        self.repeats_share = repeats_share
        self.pool = []

    def encode_further(self, text):
        """As text in the middle of a document: SentencePiece would put a space in front of it."""
        return self.processor.encode("\n" + text)[2:]

    def row(self, length):
        """`length` ids and weights: one stretch of text, or documents one after the other."""
        ids, weights = [], []
        while len(ids) < length:
            whole = not ids and self.random.random() < 0.3
            more, their = self.document(length - 8 if whole else self.random.randint(300, min(1000, length)))
            ids += more + [2]
            weights += their + [0.0]
        return ids[:length], weights[:length]

    def text_row(self, length, weight=0.3):
        begin = self.random.randint(0, len(self.text) - length)
        return self.text[begin:begin + length].tolist(), [weight] * length

    def document(self, size):
        if self.random.random() < self.repeats_share:
            return self.repeats(size)
        while not self.pool:
            self.pool = self.sessions(size)
        return self.pool.pop()

    def sessions(self, size):
        made = []
        for _ in range(TASKS_AT_ONCE):
            task = self.random.choices(list(TASK_WEIGHTS), list(TASK_WEIGHTS.values()))[0]
            rule = task in RULE_TASKS and self.random.random() < RULE_SHARE
            turns = self.random.choice(TURNS) if size >= 640 else TURNS[0]
            binary, model = self.cairn
            command = [binary, "eval", "items", "-m", model, "--ctx", str(size), "--contexts", str(size), "--tasks", task,
                       "--sessions", str(SESSIONS_AT_ONCE), "--turns", str(turns), "--seed",
                       str(FIRST_TRAINING_SEED + self.random.randrange(1 << 40))] + ["--rule"] * rule
            done = subprocess.run(command, capture_output=True, text=True, timeout=ITEMS_TIMEOUT_S)
            # Some sizes are too small for some tasks, but hardly for all.
            made += [self.session(json.loads(line)) for line in done.stdout.splitlines()]
        if not made:
            raise RuntimeError(f"no session came of '{' '.join(command)}': {done.stderr.strip()}")
        self.random.shuffle(made)
        return made

    def session(self, item):
        ids = [1, *self.processor.encode(item["instruction"] + item["context"])]
        weights = [0.0] + [CONTEXT] * (len(ids) - 1)
        for turn in item["turns"]:
            for text, weight in ((turn["query"], QUERY), (turn["answer"], ANSWER)):
                more = self.encode_further(text)
                ids += more
                weights += [weight] * len(more)
        return ids, weights

    def repeats(self, size):
        length = max(6, int(size * self.random.uniform(0.15, 0.45)))
        vocab = self.processor.vocab_size()
        base = [self.random.randint(3 + 256, vocab - 1) for _ in range(length)]  # after control and byte pieces
        ids, weights = [1, *base], [0.0] + [CONTEXT] * length
        while len(ids) < size:
            begin = self.random.randint(0, max(0, length - 8)) if self.random.random() < 0.5 else 0
            part = base[begin:]
            unknown = min(3, len(part))  # where the repeat begins cannot be known
            ids += part
            weights += [CONTEXT] * unknown + [ANSWER] * (len(part) - unknown)
        return ids[:size], weights[:size]
