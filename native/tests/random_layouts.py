"""Layouts of random small models, compiled to plans for random_models.py.

    random_layouts.py FOLDER [--count 100] [--ranks 1] [--seed SEED]

Every operator and feed-forward with odd widths, lengths, groups and filters. Writes NNN.striped and its runs,
NNN-one.json and, where ranks are more than one, NNN-many.json: the same training shared out over them. What the checks
of the language refuse is left out. Needs the built command line, dist/striped.mjs.
"""

import argparse
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = os.path.join(HERE, "..", "..", "dist", "striped.mjs")
DATA = os.path.join(HERE, "..", "..", "examples")
WIDTHS = [32, 48, 60, 64, 66, 72, 90, 96, 120, 126, 128, 144, 160, 192, 240, 256, 320, 384, 448, 480, 512, 640, 768, 960,
          1000, 1024]
LENGTHS = [1, 2, 3, 5, 16, 31, 33, 64, 100, 127, 128, 129, 255, 256, 257, 500, 512, 777, 1000, 1024, 1031, 1500, 2048,
           2049]
VOCABULARIES = [256, 257, 260, 300, 512, 1000, 1021, 2048]
SHORT = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14]
MEDIUM = [8, 12, 16, 17, 31, 60, 64, 65, 100, 127, 128, 129, 130, 200, 256, 257, 258, 300, 500]
ORDERS = [1, 2, 4, 8, 15, 16, 16, 16, 17, 32, 33, 64]
MOST_VALUES = 4_000_000  # tokens of a step times width, for the processor's sake
STRATEGIES = {"MHA": ["ring", "all-to-all"], "SE": ["p2p", "all-to-all"], "MR": ["p2p", "all-to-all", "fft"],
              "LI": ["state", "all-to-all", "fft"]}


def divisors(number):
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


class Drawing:
    def __init__(self, seed, ranks):
        self.random, self.ranks = random.Random(seed), ranks

    def one_of(self, choices):
        return self.random.choice(choices)

    def happens(self, share):
        return self.random.random() < share

    def feed_forward(self, width):
        any_inner, by_eights = self.random.randrange(8, 3 * width), 8 * self.random.randrange(2, 3 * width // 8 + 2)
        inner = self.one_of([width, 2 * width, any_inner, by_eights])
        gated = [f"{name}(inner: {inner})" for name in ("swiglu", "geglu", "bilinear")]
        return self.one_of([*gated, gated[0], "none", f"SE(filter: {self.one_of([1, 3, 5, 7])})"])

    def block(self, width):
        operator = self.one_of(["SE", "MR", "LI", "MHA"])
        usual = width // 16 if width % 16 == 0 else width
        groups = self.one_of([width, usual, self.one_of(divisors(width)), self.one_of(divisors(width))])
        settings = []
        if operator == "MHA":
            heads = self.one_of([h for h in divisors(width) if width // h % 2 == 0 and width // h <= 256 and h <= 32])
            settings += [f"heads: {heads}", f"kv-heads: {self.one_of(divisors(heads))}"]
            if self.happens(0.3):
                settings.append(f"window: {self.one_of([1, 7, 64, 100, 1000])}")
            if self.happens(0.3):
                settings.append(self.one_of(["rope: none", f"rope: (base: 1e5, scale: {self.one_of([1, 4, 16])})"]))
        else:
            if operator == "SE":
                settings += [f"filter: {self.one_of(SHORT)}", f"groups: {groups}"]
            elif operator == "MR":
                settings += [f"filter: {self.one_of(MEDIUM)}", f"groups: {groups}",
                             f"decay: {self.one_of(['strong', 'normal', 'weak', 'none', '(-1, 2)'])}"]
            else:
                settings += [f"order: {self.one_of(ORDERS)}", f"groups: {self.one_of([width, width, groups])}"]
            if self.happens(0.3):
                settings.append(f"featurizer: {self.one_of([1, 2, 3, 4, 5, 8])}")
            if self.happens(0.4):
                settings.append(f"skip: {self.one_of(['yes', 'no'])}")
        if self.happens(0.3):
            settings.append(f"ffn: {self.feed_forward(width)}")
        elif self.happens(0.2):
            settings.append(f"activation: {self.one_of(['silu', 'gelu', 'identity'])}")
        if self.happens(0.1):
            settings.append("bias: yes")
        return f"{operator}({', '.join(settings)})"

    def parallel(self):
        """Degrees whose product is the number of ranks, as they are written and by name."""
        degrees = {"tensor": 1, "context": 1, "data": 1}
        left = self.ranks
        while left > 1:
            degrees[self.one_of(list(degrees))] *= 2
            left //= 2
        text = " ".join(f"{name} {degree}" for name, degree in degrees.items())
        if degrees["tensor"] > 1 and self.happens(0.5):
            text += " sequence"
        if degrees["context"] * degrees["data"] > 1:
            text += f" zero {self.one_of([0, 1, 2, 3])}"
        if degrees["context"] > 1:
            named = [f"{operator}: {self.one_of(ways)}" for operator, ways in STRATEGIES.items() if self.happens(0.5)]
            text += " spread " + self.one_of(["contiguous", "zig-zag"]) + (f"({', '.join(named)})" if named else "")
        return text, degrees

    def layout(self):
        width = self.one_of(WIDTHS)
        parallel, degrees = self.parallel()
        length, micro, accumulated = self.one_of(LENGTHS), self.one_of([1, 1, 2, 3, 4]), self.one_of([1, 1, 1, 2, 3])
        pieces = degrees["tensor"] * degrees["context"] * 2
        length = max(1, length // pieces) * pieces if self.ranks > 1 else length
        while length * micro * accumulated * width > MOST_VALUES and micro * accumulated > 1:
            if accumulated > 1:
                accumulated -= 1
            else:
                micro -= 1
        common = f"""sequence {length}   micro-batch {micro}   batch {micro * accumulated * degrees['data']} sequences
  precision fp32
  data bytes("{self.one_of(['ecoli_part.fa.gz', 'lambda_virus.fa.gz'])}"{self.one_of([', case-weight: 0.1', ''])})
  optimizer adamw(lr: 1e-3, weight-decay: {self.one_of(['0.1', '0'])}, clip: {self.one_of(['1.0', '0', '0.1'])})
  schedule {self.one_of(['cosine(warmup: 2, min: 1e-4)', 'constant(warmup: 0)'])}
  steps 5   checkpoint every 0   evaluate every 0   seed {self.random.randrange(1, 1000)}"""
        recompute = self.one_of(["none", "none", "blocks"])
        blocks = " ".join(self.block(width) for _ in range(self.random.randrange(1, 5)))
        model = f"""model M {{
  width {width}   heads 1   vocab {self.one_of(VOCABULARIES)}
  {self.one_of(['tied', 'untied'])} embeddings   bias {self.one_of(['no', 'no', 'yes'])}
  ffn {self.feed_forward(width)}
  layout {blocks}
}}
cluster ranks {{ node gpu h200-sxm x {self.ranks} }}
run one {{
  model M   hardware h200-sxm   recompute {recompute}
  {common}
}}
"""
        if self.ranks == 1:
            return model
        return model + f"""run many {{
  model M   on ranks
  parallel {{ recompute {recompute}   {parallel} }}
  {common}
}}
"""


def compiled(folder, name, text, runs):
    """Nothing, or why it was refused."""
    layout = os.path.join(folder, f"{name}.striped")
    with open(layout, "w") as file:
        file.write(text.replace('bytes("', f'bytes("{os.path.relpath(DATA, folder)}/'))
    for run in runs:
        plan = os.path.join(folder, f"{name}-{run}.json")
        command = ["node", COMMAND, "compile", layout, "--run", run, "-o", plan]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            return result.stderr.strip()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=1, help="a power of two")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    drawing = Drawing(args.seed, args.ranks)
    runs = ["many", "one"] if args.ranks > 1 else ["one"]
    layouts = [(f"{i:03d}", drawing.layout()) for i in range(args.count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        refused = [why for why in pool.map(lambda item: compiled(args.folder, *item, runs), layouts) if why]
    print(f"seed {args.seed}: {args.count - len(refused)} of {args.count} compiled", *refused, sep="\n  ")
    return 0 if len(refused) < args.count else 1


if __name__ == "__main__":
    sys.exit(main())
