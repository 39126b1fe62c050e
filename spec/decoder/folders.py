"""Indexes of folders. spec/content.md §5."""

from content import FILE_LEN_MAX, check_file_name, text_of
from reader import Reader, Refused, counted, expect, number, refuse_if, unhex, varint

FOLDER_ENTRIES_MAX = 100_000
FOLDER_INDEX_LEN_MAX = 16 * 2**20
FOLDER_PATH_LEN_MAX = 1024
FOLDER_DEPTH_MAX = 32
DEVICES = {"con", "prn", "aux", "nul"} | {f"{name}{digit}" for name in ("com", "lpt") for digit in range(1, 10)}
DAMAGED = "FolderRefused::Malformed"
TOO_MANY = "FolderRefused::TooMany"
NOWHERE = "FolderRefused::Path"
CLASH = "FolderRefused::Clash"


def read_index(index):
    """The entries: path, bytes or "folder", and 1 if its owner may run it."""
    refuse_if(len(index) > FOLDER_INDEX_LEN_MAX, TOO_MANY)
    reader = Reader(index, DAMAGED)
    entries = []
    for _ in range(reader.varint(most=FOLDER_ENTRIES_MAX)):
        path = text_of(reader.take(reader.varint()), DAMAGED)
        kind = reader.number(1)
        refuse_if(kind > 1, DAMAGED)
        size, runs = ("folder", 0) if kind else (reader.varint(), reader.number(1))
        refuse_if(runs > 1, DAMAGED)
        entries.append([path, size, runs])
    reader.end(DAMAGED)
    return entries


def encode_index(entries):
    """The bytes of an index."""
    out = varint(len(entries))
    for path, size, runs in entries:
        out += counted(path.encode()) + (b"\1" if size == "folder" else b"\0" + varint(size) + bytes([runs]))
    return out


def check_path(path):
    """Whether a path can be written below one folder on any usual system."""
    parts = path.split("/")
    refuse_if(len(path.encode()) > FOLDER_PATH_LEN_MAX or len(parts) > FOLDER_DEPTH_MAX, NOWHERE)
    for part in parts:
        try:
            check_file_name(part)
        except Refused:
            raise Refused(NOWHERE) from None
        refuse_if(any(c in '<>:"|?*' for c in part) or part[-1] in ". ", NOWHERE)
        refuse_if(part.split(".")[0].rstrip().lower() in DEVICES, NOWHERE)


def content_len(entries, index_len):
    """What head, index and files add up to."""
    return 4 + index_len + sum(size for _, size, _ in entries if size != "folder")


def check_entries(entries, index_len, length):
    """All that a reader refuses an index for, once it can be read."""
    paths = [path for path, _, _ in entries]
    refuse_if(any(a.encode() >= b.encode() for a, b in zip(paths, paths[1:])), DAMAGED)
    total = content_len(entries, index_len)
    refuse_if(total != length or total - 4 - index_len > FILE_LEN_MAX, DAMAGED)
    seen = {}
    for path in paths:
        check_path(path)
        parts, folded = path.split("/"), path.lower().split("/")
        for depth in range(1, len(parts) + 1):
            key, here, is_way = "/".join(folded[:depth]), "/".join(parts[:depth]), depth < len(parts)
            other, other_is_way = seen.get(key, (None, False))
            # A way may be shared by those below it; nothing else is there twice, not even in another case.
            clash = other is not None and not (other == here and is_way and other_is_way)
            refuse_if(clash, CLASH)
            seen[key] = (here, is_way)
    refuse_if(len(seen) > FOLDER_ENTRIES_MAX, TOO_MANY)


def check_folder(case):
    """folders.json"""
    data, entries = unhex(case["bytes"]), case["entries"]
    reader = Reader(data)
    index = reader.take(reader.number(4))
    reader.end()
    found = read_index(index)
    expect("entries", found, entries)
    check_entries(found, len(index), case["length"])
    made = encode_index(entries)
    expect("bytes", number(len(made), 4) + made, data)


def refuse_folder(case):
    """folders.json"""
    index = unhex(case["index"])
    entries = read_index(index)
    check_entries(entries, len(index), case["length"])


VECTORS = {"folders": (check_folder, refuse_folder)}
