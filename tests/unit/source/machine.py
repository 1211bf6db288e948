"""The grammar once more, one character at a time and with nothing clever, for the tests to compare with."""

from dataclasses import dataclass, field

BOM = b"\xef\xbb\xbf"


@dataclass
class Seen:
    """What stands in ``data``: every record with its place, blank lines among them."""

    records: list = field(default_factory=list)  # (start, end, line, cells), cells None for a blank line
    odd: list = field(default_factory=list)  # (kind, line) of each cell in which a quote had to be taken as it stands
    lone_returns: list = field(default_factory=list)  # (offset, line) of each outside quotes with no line end behind
    open_quote: tuple | None = None  # (line, offset) of a quote that is never closed


def read(data: bytes, delimiter: str) -> Seen:
    seen = Seen()
    mark = ord(delimiter)
    state, cell, cells = "start", bytearray(), []
    start = bare_from = 0  # where the record starts; how many of the cell's bytes stand inside quotes
    line = start_line = 1
    opened = (0, 0)
    cell_is_odd = False

    def end_record(end):
        nonlocal cell, cells, start, start_line, bare_from
        if state != "quoted" and len(cell) > bare_from and cell[-1] == 13:
            del cell[-1]
        blank = not cells and not cell and data[start] != 34
        cells.append(cell.decode("utf-8", "replace"))
        seen.records.append((start, end, start_line, None if blank else tuple(cells)))
        cell, cells, start, start_line, bare_from = bytearray(), [], end, line, 0

    for offset, byte in enumerate(data):
        line += byte == 10
        if byte == 13 and state != "quoted" and data[offset + 1 : offset + 2] not in (b"\n", b""):
            seen.lone_returns.append((offset, line))
        if state == "quoted":
            if byte == 34:
                state = "closing"
            else:
                cell.append(byte)
                bare_from = len(cell)
            continue
        if byte == 34 and state == "start":
            state, opened = "quoted", (line, offset)
        elif byte == 34 and state == "closing":
            state = "quoted"
            cell.append(byte)
            bare_from = len(cell)
        elif byte == 10:
            state, cell_is_odd = "start", False
            end_record(offset + 1)
        elif byte == mark:
            state, bare_from, cell_is_odd = "start", 0, False
            cells.append(cell.decode("utf-8", "replace"))
            cell = bytearray()
        else:
            if (byte == 34 or (state == "closing" and byte != 13)) and not cell_is_odd:
                cell_is_odd = True
                seen.odd.append((what_is_odd(data, offset, state, mark), line))
            cell.append(byte)
            state = "plain"
    if state == "quoted":
        seen.open_quote = opened
    if start < len(data):
        end_record(len(data))
    return seen


def what_is_odd(data, offset, state, mark):
    before = (b"\n\n" + data[:offset])[-2:]
    if state == "closing":
        return "BACKSLASH_BEFORE_QUOTE" if before[0] == 92 else "TEXT_BEHIND_QUOTE"
    return "BLANK_BEFORE_QUOTE" if before[1] == 32 and before[0] in (mark, 10) else "QUOTE_IN_TEXT"


def oddities(data: bytes, seen: Seen, header: int) -> dict:
    """Return {kind: (line of the first, count)} of everything odd; the records from ``header`` on are data."""
    found = [(kind, line) for kind, line in seen.odd if line >= seen.records[header + 1][2]]
    found += [("LONE_CARRIAGE_RETURN", line) for at, line in seen.lone_returns if at >= seen.records[header][1]]
    blank = [number for number, record in enumerate(seen.records) if record[3] is None]
    only_last_is_blank = blank == [len(seen.records) - 1]
    columns = len(seen.records[header][3])
    windows = data[: seen.records[header][1]].endswith(b"\r\n")
    for number, (start, end, line, cells) in enumerate(seen.records):
        text = data[start:end]
        if cells is None and not only_last_is_blank:
            found.append(("BLANK_LINE", line))
        if number <= header:
            continue
        if cells is not None and len(cells) != columns:
            found.append(("CELLS_MISSING" if len(cells) < columns else "CELLS_LEFT_OVER", line))
        if text.endswith(b"\n") and text.endswith(b"\r\n") != windows:
            found.append(("OTHER_LINE_END", line + text.count(b"\n") - 1))
        found += [("NUL", line + text.count(b"\n", 0, at)) for at, byte in enumerate(text) if not byte]
    kinds = {kind for kind, _ in found}
    return {
        kind: (min(line for each, line in found if each == kind), sum(each == kind for each, _ in found))
        for kind in kinds
    }


def rows(data: bytes, delimiter: str, first_row: int = 1, first_line: int = 1) -> list:
    """Return (row, line, cells) of every record that is no blank line."""
    found = [(line + first_line - 1, cells) for _, _, line, cells in read(data, delimiter).records if cells is not None]
    return [(row, *record) for row, record in enumerate(found, first_row)]


def cut(data: bytes, delimiter: str, part_bytes_max: int, rows_max: int):
    """Plan ``data`` the slow way: ``(spans, oddities)``, or the name and line of an error.

    A span is (start, end, first_row, rows, first_line).
    """
    shift = len(BOM) if data.startswith(BOM) else 0
    seen = read(data[shift:], delimiter)
    records = [(start + shift, end + shift, line, cells is not None) for start, end, line, cells in seen.records]
    lines_of = {start: line for start, _, line, _ in records}
    header = next(index for index, record in enumerate(records) if record[3])
    room = part_bytes_max - (records[header][1] - records[header][0])
    spans, row = [], 0
    begin, end, count = records[header][1], records[header][1], 0

    def close():
        nonlocal begin, count, row
        if count:
            spans.append((begin, end, row + 1, count, lines_of[begin]))
        row += count
        begin, count = end, 0

    for record_start, record_end, line, is_row in records[header + 1 :]:
        if seen.open_quote and record_end == len(data):
            break
        if record_end - begin > room or count + is_row > rows_max:
            close()
        if record_end - record_start > room:
            return ("RecordTooLarge", line, record_end - record_start)
        if record_end - begin > room:
            close()
        end, count = record_end, count + is_row
    if seen.open_quote:
        return ("UnterminatedQuote", seen.open_quote[0], len(data) - shift - seen.open_quote[1])
    close()
    if not spans:
        return ("SourceError", 0, 0)
    return spans, oddities(data[shift:], seen, header)
