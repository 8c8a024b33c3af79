"""Damage to files: what a disk, a kill, a bad copy or somebody with an intention does to one.

Besides bytes, it changes what a file's form has: a value in JSON, a cell in a table, a part of an archive, the header
of safetensors; lengths and checksums fit again afterwards, so that readers get past them.
"""

import gzip
import io
import json
import struct
import zipfile
import zlib

# What stands where something else is expected. A whole number of JSON has any number of digits.
VALUES = [
    *(None, True, False, "", "x", "nan", "-inf", "1e999", "\u0000", "é" * 3, [], {}, [[]], [None], {"": {}}, [1, "x"]),
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**400, -(10**400), 1e-320, 1e308, -1e308, 0.5, 1e22),
    *(float("nan"), float("inf")),
]
TEXTS = [
    *("", "x", "-1", "nan", "inf", "1e400", "1" * 400, "1" * 5000, "0x10", "1,5", '"', "'", "\0", "\ufeff", "２", "١"),
    *("=1+1", "2024-02-30", "99:99", "[" * 60_000, '{"a":' * 60_000, "\r", "\n\n", ";", "\t", "a" * 70_000, "\u202e"),
    *("-0", "1e-400", "1_000", "tensor(1)", "tensor(", "None", "../../x", "/etc/passwd", "1970-01-01", "0000-00-00"),
]
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]


def damaged(rng, content):
    """Return content with a few kinds of damage, mostly one."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        content = rng.choice(_ways(content))(rng, content)
    return content


def _ways(content):
    ways = [_flip, _number, _cut, _remove, _repeat, _insert, _swap]
    if content[:2] == b"PK":
        return [*ways, *[_part_of_archive] * 8]
    if content[:2] == b"\x1f\x8b":
        return [*ways, *[_inside_gzip] * 4]
    if content[8:9] == b"{":
        return [*ways, *[_header_of_safetensors] * 8]
    if _is_json(content):
        return [*ways, *[_value_of_json] * 12]
    return [*ways, *[_cell] * 8] if _is_text(content) else ways * 2


def _is_text(content):
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(content):
    return content[:1] in (b"{", b"[") and _is_text(content)


def _at(rng, content):
    """Return a place, mostly near the beginning or the end, where the form of a file is."""
    size = len(content)
    if not size:
        return 0
    return rng.choice([rng.randrange(size), rng.randrange(min(size, 256)), size - 1 - rng.randrange(min(size, 256))])


def _flip(rng, content):
    changed = bytearray(content or b"\0")
    changed[_at(rng, changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(rng, content):
    form, place = rng.choice("BHIQ"), _at(rng, content)
    packed = struct.pack(f"{rng.choice('<>')}{form}", rng.choice(NUMBERS) & (2 ** (8 * struct.calcsize(form)) - 1))
    return content[:place] + packed + content[place + len(packed) :]


def _cut(rng, content):
    return content[: _at(rng, content)]


def _remove(rng, content):
    place = _at(rng, content)
    return content[:place] + content[place + rng.choice([1, 2, 8, 64, 1000]) :]


def _repeat(rng, content):
    place = _at(rng, content)
    return content[:place] + content[place : place + rng.choice([1, 8, 64, 1000])] * 2 + content[place:]


def _insert(rng, content):
    place = _at(rng, content)
    return content[:place] + rng.choice(TEXTS).encode("utf-8", "replace") + content[place:]


def _swap(rng, content):
    a, b = sorted((_at(rng, content), _at(rng, content)))
    return content[:a] + content[b : b + 16] + content[a + 16 : b] + content[a : a + 16] + content[b + 16 :]


def _cell(rng, content):
    """Change, remove or repeat a cell or a line of a table."""
    lines = content.decode().splitlines()
    if not lines:
        return b"\n"
    row = rng.choice([0, rng.randrange(len(lines)), len(lines) - 1])
    delimiter = max(",;\t| ", key=lines[0].count)
    cells = lines[row].split(delimiter)
    place = rng.randrange(len(cells))
    what = rng.randrange(5)
    if what == 0:
        del cells[place]
    elif what == 1:
        cells.insert(place, rng.choice(TEXTS))
    elif what == 2:
        lines.insert(row, lines[rng.randrange(len(lines))])
        return "\n".join(lines).encode("utf-8", "replace")
    else:
        cells[place] = rng.choice(TEXTS)
    lines[row] = delimiter.join(cells)
    return "\n".join(lines).encode("utf-8", "replace")


def _value_of_json(rng, content):
    """Change a value of a JSON file, or of a line of JSON lines."""
    try:
        return json.dumps(_changed(rng, json.loads(content)), indent=rng.choice([None, 1])).encode()
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    row = rng.choice([0, rng.randrange(len(lines))])
    try:
        lines[row] = json.dumps(_changed(rng, json.loads(lines[row]))).encode()
    except (ValueError, RecursionError):
        lines[row] = rng.choice(TEXTS).encode("utf-8", "replace")
    return b"\n".join(lines)


def _changed(rng, value):
    """Return a value with one of its parts replaced, removed, renamed, or put into another."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, what = rng.choice(list(keys)), rng.randrange(10)
        if what == 0:
            del value[key]
        elif what == 1 and isinstance(value, dict):
            value[rng.choice(TEXTS)] = value.pop(key)
        elif what == 1:
            value.append(rng.choice(VALUES))
        else:
            value[key] = _changed(rng, value[key])
        return value
    return rng.choice([rng.choice(VALUES), [value], {"a": value}, str(value)])


def _inside_gzip(rng, content):
    try:
        return gzip.compress(damaged(rng, gzip.decompress(content)))
    except (OSError, EOFError, ValueError, zlib.error):
        return _flip(rng, content)


def _part_of_archive(rng, content):
    """Change a part of an archive, whose checksum is right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [(item.filename, archive.read(item), item.compress_type) for item in archive.infolist()]
    except Exception:  # it is damaged already, and zipfile fails in many ways
        return _flip(rng, content)
    if not parts:
        return _flip(rng, content)
    which, what = rng.randrange(len(parts)), rng.randrange(10)
    name, part, packing = parts[which]
    if what == 0:
        del parts[which]
    elif what == 1:
        parts[which] = (rng.choice(["../x", "/tmp/x", "data.pkl", "a/.npy", name + "x"]), part, packing)
    else:
        parts[which] = (name, damaged(rng, part), packing)
    return _archive(parts)


def _archive(parts):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, part, packing in parts:
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "0")), part, packing)
    return whole.getvalue()


def _header_of_safetensors(rng, content):
    size = int.from_bytes(content[:8], "little")
    if size > len(content):
        return _flip(rng, content)
    header = _value_of_json(rng, content[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
