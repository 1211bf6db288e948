"""Small files full of what breaks readers."""

from random import Random

PIECES = [
    "a",
    "bc def",
    ",",
    ",",
    ";",
    "\t",
    '"',
    '"',
    '""',
    "\n",
    "\n",
    "\r\n",
    "\r\n",
    "\r",
    "é",
    "日本",
    "🙂",
    "\0",
    " ",
    ',"',
    '",',
    ', "',
    '\\"',
]


def soup(random: Random, length: int) -> str:
    return "".join(random.choices(PIECES, k=length))


def cell(random: Random, delimiter: str, dirt: float, quoting: float) -> str:
    if random.random() < dirt:
        return soup(random, random.randrange(6))
    if random.random() < quoting:
        inside = random.choices(["a", '""', delimiter, "\n", "\r\n", "bcdbcdbcd", "", "é", "\r"], k=random.randrange(8))
        return '"' + "".join(inside) + '"'
    return "".join(random.choices(["a", "b", "c", " ", "ü"], k=random.randrange(12)))


def body(random: Random, delimiter: str, rows_max: int = 300) -> str:
    """Records of one file, clean or dirty, with blank lines or not, with or without a last line end."""
    dirt = random.choice([0, 0, 0.005, 0.02, 0.2, 1])
    quoting = random.choice([0, 0.3, 0.9, 1])
    line_end = random.choice(["\n", "\r\n"])
    blanks = random.choice([0, 0, 0.05, 0.5])
    parts = []
    for _ in range(random.randrange(1, rows_max)):
        while random.random() < blanks:
            parts.append(random.choice([line_end, "\n", "\r\n"]))
        cells = [cell(random, delimiter, dirt, quoting) for _ in range(random.randrange(1, 5))]
        parts.append(delimiter.join(cells) + line_end)
    if random.random() < 0.2:
        parts.append(line_end * random.randrange(1, 40))
    text = "".join(parts)
    return text.rstrip("\r\n") if random.random() < 0.3 else text


def header(random: Random, delimiter: str) -> str:
    line_end = random.choice(["\n", "\r\n"])
    cells = random.choice([["a", "b"], ['"a\nx"', "b"], ['"a ""q"""', '"x\r\n\r\ny"', "c"], ["a"]])
    return random.choice(["", "", "\n", "\r\n\n"]) + delimiter.join(cells) + line_end
