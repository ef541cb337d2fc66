"""Damage a reader's files as a bad disk, a careless editor or an attacker would.

Each function takes bytes and a random generator and returns other bytes. The file's suffix tells its format; the
structure is kept where that gets the damage past the first check.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.campaign import hostile

__all__ = ["damaged"]

Damage = Callable[[bytes, Random], bytes]

_BOMB = 24 << 20  # bytes when unpacked
_LARGEST = 100_000  # bytes; larger files get only bit flips, as repeated doubling would grow without limit
_PLACE = "\x01hostile\x01"


# --- bytes ---


def _slice(data: bytes, chance: Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice([1, 2, 4, 8, 64, len(data)]))


def _flip(data: bytes, chance: Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8]) if data else 0):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _put(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    between = chance.choice([b"", bytes(end - start), b"\xff" * (end - start), chance.randbytes(end - start)])
    return data[:start] + between + data[end:]


def _cut(data: bytes, chance: Random) -> bytes:
    at = chance.randint(0, len(data))
    return chance.choice([data[:at], data[at:], data[: len(data) - 1], data[1:], b""])


def _double(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    return chance.choice([data + data, data[:end] + data[start:], data[:end] + data[start:end] * 50 + data[end:]])


_BYTES: list[Damage] = [_flip, _flip, _put, _cut, _double]


# --- lines and fields ---


def _lines(data: bytes, chance: Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i] = lines[i].rstrip(b"\n")  # joined with the next line
        case 3:
            lines[i], lines[j] = lines[j], lines[i]
        case 4:
            lines[i] *= 3000
        case 5:
            lines[i] = lines[i].strip() * 3000 + b"\n"
        case 6:
            lines[i] = lines[i].lstrip()[::-1]
        case _:
            lines.insert(i, b"\n")
    return b"".join(lines)


def _text(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    return (
        data[:start]
        + chance.choice(hostile.IN_TEXT) * chance.choice([1, 1, 3, 5000])
        + data[chance.choice([start, end]) :]
    )


def _fields(data: bytes, chance: Random) -> bytes:
    lines = data.split(b"\n")
    i = chance.randrange(len(lines))
    parts = re.split(rb"([ \t,]+)", lines[i])
    at = chance.randrange(0, len(parts), 2)
    numbers = [n for n in range(0, len(parts), 2) if re.fullmatch(rb"[-+.\de]+", parts[n])]
    at = chance.choice(numbers) if numbers and chance.random() < 0.7 else at
    parts[at] = chance.choice(hostile.NUMBERS).encode()
    lines[i] = b"".join(parts)
    return b"\n".join(lines)


# --- values ---


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in items for place in _places(each, (*path, key)))]


def _json(data: bytes, chance: Random) -> bytes:
    """Replace, remove, rename or duplicate one JSON value; flip a bit in bytes that are not JSON."""
    try:
        document = json.loads(data)
        places = _places(document)[1:]
        json.dumps(document)
    except (ValueError, RecursionError):
        return _flip(data, chance)
    wrong = chance.choice(hostile.IN_JSON)
    if not places or chance.random() < 0.05:
        return wrong.encode()
    *above, key = chance.choice(places)
    owner = document
    for each in above:
        owner = owner[each]
    match chance.randrange(8):
        case 0:
            del owner[key]
        case 1 if isinstance(owner, dict):
            owner[f"{key}x"] = owner.pop(key)
        case 2 if isinstance(owner, list):
            owner.append(owner[key])
        case 3 if isinstance(owner[key], int) and not isinstance(owner[key], bool):
            owner[key] += chance.choice([-1, 1, -owner[key] - 1, 10**6])
        case 4 if isinstance(owner, dict):
            return f"{{{json.dumps(key)}: {wrong}, {json.dumps(document)[1:]}".encode()
        case _:
            owner[key] = _PLACE
    return (
        json.dumps(document, ensure_ascii=chance.random() < 0.5)
        .replace(json.dumps(_PLACE), wrong)
        .encode(errors="surrogatepass")
    )


def _json_lines(data: bytes, chance: Random) -> bytes:
    lines = data.splitlines()
    i = chance.randrange(len(lines)) if lines else 0
    return b"\n".join([*lines[:i], _json(lines[i] if lines else b"", chance), *lines[i + 1 :]]) + b"\n"


def _toml(data: bytes, chance: Random) -> bytes:
    lines = data.decode(errors="replace").split("\n")
    given = [i for i, line in enumerate(lines) if "=" in line] or [0]
    i = chance.choice(given)
    name = lines[i].partition("=")[0].strip() or "x"
    wrong = chance.choice(hostile.IN_TOML)
    match chance.randrange(5):
        case 0:
            lines[i] = f"{name} = {wrong}\n{lines[i]}"
        case 1:
            lines[i] = f"[{name}]\n{name} = {wrong}"
        case 2:
            lines[i] = f"{'.'.join([name] * chance.choice([2, 5, 3000]))} = {wrong}"
        case _:
            lines[i] = f"{name} = {wrong}"
    return "\n".join(lines).encode(errors="surrogatepass")


# --- headers ---


def _numbers(data: bytes, chance: Random) -> bytes:
    """Replace a word of 2, 4 or 8 bytes by NaN or an extreme value, as float or integer."""
    size = chance.choice([2, 4, 4, 8])
    at = chance.randrange(0, max(1, len(data) // size)) * size
    word = chance.choice(hostile.words(size)) * chance.choice([1, 1, 1, 1000])
    return data[:at] + word + data[at + size :]


def _safetensors(data: bytes, chance: Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, content = data[8 : 8 + length], data[8 + length :]
    match chance.randrange(6):
        case 0:
            wrong = chance.choice([0, 1, length - 1, length + 8, 10**8, 10**8 + 1, 2**31, 2**63, 2**64 - 1])
            return (wrong % 2**64).to_bytes(8, "little") + data[8:]
        case 1:
            content = chance.choice(_BYTES)(content, chance)
        case 2 | 3:
            content = _numbers(content, chance)
        case 4:
            header = _tensors(header, chance)
        case _:
            header = _json(header, chance)
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content


def _tensors(header: bytes, chance: Random) -> bytes:
    """Change the name, shape or dtype of a tensor; the file itself stays well-formed."""
    try:
        found = json.loads(header)
        name = chance.choice([each for each in found if each != "__metadata__"])
        about, shape = found[name], found[name]["shape"]
        size = math.prod(map(int, shape))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError):
        return _flip(header, chance)
    match chance.randrange(4):
        case 0:
            about["shape"] = chance.choice([shape[::-1], [size], [1, size], [size, 1], [*shape, 1], [size, 1, 1]])
        case 1:
            alike = ["F32", "I32", "U32"], ["F64", "I64", "U64"], ["F16", "BF16", "I16", "U16"], ["I8", "U8", "BOOL"]
            about["dtype"] = chance.choice(next((each for each in alike if about["dtype"] in each), ["F8_E4M3"]))
        case 2:
            other = chance.choice(sorted(found))
            found[name], found[other] = found[other], about
        case _:
            found[chance.choice([f"{name}x", "vectors", "output.weight", ""])] = found.pop(name)
    return json.dumps(found).encode()


def _numpy(data: bytes, chance: Random) -> bytes:
    length = int.from_bytes(data[8:10], "little")
    header, content = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    name = chance.choice(["descr", "fortran_order", "shape", ""])
    if not name:
        return data[: 10 + length] + _numbers(content, chance)
    value = chance.choice(hostile.IN_NUMPY[name])
    text = re.sub(rf"('{name}': )(\(.*?\)|[^,]+)", lambda match: match[1] + value, header).encode("latin-1")
    return data[:8] + (len(text) % 65536).to_bytes(2, "little") + text + content


# --- by suffix ---


def _pack_zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def _unpack_zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_BOMB)


_PACKERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gz": (gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0)),
    "bz2": (bz2.decompress, lambda data: bz2.compress(data, 1)),
    "xz": (lzma.decompress, lambda data: lzma.compress(data, preset=0)),
    "zst": (_unpack_zstd, _pack_zstd),
}
_BY_ENDING: dict[str, list[Damage]] = {
    "json": [_json],
    "jsonl": [_json_lines, _lines],
    "toml": [_toml, _toml, _lines, _text],
    "safetensors": [_safetensors],
    "npy": [_numpy],
    "bin": [_fields, _numbers],
    "ftz": [_numbers],
}
_TEXT = [_lines, _text, _fields, _fields]


def _damage(name: str, data: bytes, chance: Random) -> bytes:
    if len(data) > _LARGEST:
        return _flip(data, chance)
    stem, _, ending = name.rpartition(".")
    if ending in _PACKERS and chance.random() < 0.7:
        unpack, pack = _PACKERS[ending]
        try:
            inner = unpack(data)
        except Exception:  # already damaged
            return _flip(data, chance)
        if chance.random() < 0.005:
            return pack(inner + chance.choice([b"a", b"a ", b"a\n", b"\n"]) * (_BOMB // 2))
        return pack(_damage(stem, inner, chance))
    if ending in _PACKERS or chance.random() < 0.25:
        return chance.choice(_BYTES)(data, chance)
    return chance.choice(_BY_ENDING.get(ending, _TEXT))(data, chance)


def damaged(files: Mapping[str, bytes], chance: Random) -> dict[str, bytes]:
    """Return the files by name, one or a few of them damaged."""
    found = dict(files)
    touched: set[str] = set()
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        name = chance.choice(sorted(found))
        if chance.random() < 0.97:
            try:
                found[name] = _damage(name, found[name], chance)
            except Exception:
                if name not in touched:
                    raise
                found[name] = _flip(found[name], chance)  # its structure is already lost
        elif len(found) > 1:
            found[name] = found[chance.choice(sorted(found))]
        touched.add(name)
    return found
