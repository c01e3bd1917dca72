#!/usr/bin/env python3
"""A second reader of Esker's canonical bytes, written from docs/format.md with the standard library alone.

Decodes every golden vector, compares with the value beside it, and refuses what must be refused. Ids and digests need
BLAKE3, which Python lacks: of digests it compares what is hashed. Python lacks zstd and AES-GCM too: of packs it reads header,
footer and trailer, compares the content of objects that are not compressed, and leaves encrypted ones closed. Usage: read.py FOLDER
"""

import json
import pathlib
import sys

KINDS = {1: "file", 2: "directory", 3: "symlink", 4: "fifo", 5: "socket", 6: "char", 7: "block"}
CHUNK_MAX = 1 << 20


class Refused(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Refused(why)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def fixed(self, count):
        need(self.at + count <= len(self.data), "ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.fixed(1)[0]

    def number(self, bits=64):
        value, shift = 0, 0
        while True:
            byte = self.u8()
            need(byte or not shift, "not the shortest form")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(value < 1 << bits, "too large")
                return value
            need(shift < 70, "too long")

    def bytes(self, limit):
        length = self.number()
        need(length <= limit, "too long")
        return self.fixed(length)

    def text(self, limit):
        try:
            return self.bytes(limit).decode()
        except UnicodeDecodeError as error:
            raise Refused("not UTF-8") from error

    def time(self):
        zigzag = self.number()
        seconds = -(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2
        nanos = self.number(32)
        need(nanos < 10**9, "nanoseconds")
        return [seconds, nanos]

    def flag(self):
        value = self.u8()
        need(value < 2, "flag")
        return bool(value)

    def header(self, tag):
        need(self.fixed(2) == tag + b"\0", "tag or version")

    def chunk(self):
        value = {"id": self.fixed(32).hex(), "digest": self.fixed(32).hex(), "length": self.number(32)}
        need(1 <= value["length"] <= CHUNK_MAX, "chunk length")
        return value

    def name(self):
        name = self.bytes(255)
        need(name and name not in (b".", b"..") and b"/" not in name and b"\0" not in name, "name")
        return name

    def subtree(self):
        tree, digest = self.fixed(32).hex(), self.fixed(32).hex()
        return {"tree": tree, "digest": digest, "totals": [self.number() for _ in range(5)]}

    def content(self):
        form = self.u8()
        need(form < 3, "form of content")
        if form == 0:
            return {"inline": self.bytes(256).hex()}
        if form == 1:
            return {"chunk": self.chunk()}
        value = {"blob": self.fixed(32).hex(), "size": self.number()}
        need(value["size"] < 1 << 63, "file size")
        return value

    def xattrs_reference(self):
        form = self.u8()
        need(form < 3, "form of attributes")
        return [lambda: None, lambda: {"inline": self.bytes(256).hex()}, lambda: {"chunk": self.chunk()}][form]()

    def node(self, tag):
        need(tag in KINDS, "kind of file")
        node = {"kind": KINDS[tag], "ino": self.number(), "mode": self.number()}
        need(node["ino"] > 0 and node["mode"] <= 0o7777, "inode number or mode")
        for field in ("uid", "gid", "nlink"):
            node[field] = self.number(32)
        node["mtime"], node["ctime"] = self.time(), self.time()
        body = {1: self.content, 2: self.subtree, 3: self.content, 6: lambda: self.number(32), 7: lambda: self.number(32)}
        node["body"] = body.get(tag, lambda: None)()
        if tag == 3:
            need("blob" not in node["body"], "symbolic link of several chunks")
            need(node["body"].get("chunk", {"length": 0})["length"] <= 4095, "symbolic link too long")
        node["xattrs"] = self.xattrs_reference()
        return node

    def link(self):
        ino = self.number()
        need(ino > 0, "link to inode 0")
        return {"link": ino}

    def end(self):
        need(self.at == len(self.data), "bytes too many")


def read_blob(reader):
    reader.header(b"B")
    extents, size = [], 0
    for _ in range(reader.number()):
        kind = reader.u8()
        need(kind < 2, "kind of extent")
        if kind:
            extents.append({"chunk": reader.chunk()})
            size += extents[-1]["chunk"]["length"]
        else:
            length = reader.number()
            need(length and not (extents and "hole" in extents[-1]), "hole")
            extents.append({"hole": length})
            size += length
        need(size < 1 << 63, "file size")
    return {"size": size, "extents": extents}


def read_tree(reader):
    reader.header(b"T")
    need(len(reader.data) <= 65536, "node size")
    level, count = reader.u8(), reader.number()
    need(level <= 16 and count <= 64 and (count or not level), "level or count")
    items, last = [], b""
    for _ in range(count):
        name = reader.name()
        need(name > last, "order")
        last = name
        if level:
            items.append([name.hex(), reader.subtree()])
        else:
            tag = reader.u8()
            items.append([name.hex(), reader.node(tag) if tag else reader.link()])
    return {"level": level, "children" if level else "entries": items}


def read_snapshot(reader):
    reader.header(b"S")
    value = {"root": reader.node(reader.u8())}
    need(value["root"]["kind"] == "directory" and value["root"]["ino"] == 1, "root")
    value["links"] = reader.subtree() if reader.flag() else None
    count = reader.number()
    need(count <= 8, "parents")
    value["parents"] = [reader.fixed(32).hex() for _ in range(count)]
    value["author"], value["time"], value["message"] = reader.text(1024), reader.time(), reader.text(65536)
    value["automatic"] = reader.flag()
    for field in ("session", "turn", "tool_call"):
        value[field] = reader.text(1024)
    return value


def read_xattrs(reader):
    items = []
    for _ in range(reader.number()):
        name = reader.bytes(255)
        need(name and (not items or items[-1][0] < name), "order")
        items.append((name, reader.bytes(65536)))
    return [[name.hex(), value.hex()] for name, value in items]


def number(value):
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def counted(hexadecimal):
    data = bytes.fromhex(hexadecimal)
    return number(len(data)) + data


def chunk_input(chunk):
    return bytes.fromhex(chunk["id"] + chunk["digest"]) + number(chunk["length"])


def form_input(value):
    """A file's content: the same bytes as in the tree node."""
    if "inline" in value:
        return b"\0" + counted(value["inline"])
    if "chunk" in value:
        return b"\1" + chunk_input(value["chunk"])
    return b"\2" + bytes.fromhex(value["blob"]) + number(value["size"])


def digest_input(tree):
    data = bytes([tree["level"]])
    for name, value in tree.get("children", []):
        data += bytes([len(name) // 2]) + bytes.fromhex(name + value["digest"])
    tags = {word: tag for tag, word in KINDS.items()}
    for name, value in tree.get("entries", []):
        data += bytes([len(name) // 2]) + bytes.fromhex(name)
        if "link" in value:
            data += b"\0" + value["link"].to_bytes(8, "little")
            continue
        data += bytes([tags[value["kind"]]]) + b"".join(number(value[field]) for field in ("mode", "uid", "gid"))
        body, xattrs = value["body"], value["xattrs"]
        if value["kind"] in ("file", "symlink"):
            data += form_input(body)
        elif value["kind"] == "directory":
            data += bytes.fromhex(body["digest"])
        elif value["kind"] in ("char", "block"):
            data += number(body)
        if xattrs is None:
            data += b"\0"
        elif "inline" in xattrs:
            data += b"\1" + counted(xattrs["inline"])
        else:
            data += b"\2" + chunk_input(xattrs["chunk"])
    return data


def pack_entry(reader, start):
    entry = {"kind": reader.u8(), "id": reader.fixed(32).hex(), "flags": reader.u8(), "offset": reader.number()}
    entry["stored_length"], entry["plain_length"] = reader.number(32), reader.number(32)
    need(entry["kind"] in (1, 2, 3, 4) and entry["flags"] < 2, "kind of object or flags")
    need(entry["offset"] == start, "gap")
    stored, plain = entry["stored_length"], entry["plain_length"]
    need(stored < plain if entry["flags"] else stored == plain, "lengths")
    return entry


def read_pack(data):
    """Version 0 or 1. None for the objects of an encrypted pack."""
    reader = Reader(data)
    need(reader.fixed(7) == b"ESKPACK", "magic")
    version = reader.u8()
    need(version < 2, "version")
    value = {"version": version, "class": chr(reader.u8()), "tenant": reader.fixed(16).hex(), "data_key": 0}
    need(value["class"] in ("CT" if version == 0 else "CTB"), "class")
    if version:
        value["id"] = reader.fixed(32).hex()
        value["data_key"] = int.from_bytes(reader.fixed(4), "little")
    trailer = 76 if version else 44
    need(len(data) >= reader.at + trailer and data[-8:] == b"ESKPEND%d" % version, "end")
    length = int.from_bytes(data[-trailer:][:4], "little")
    start = len(data) - trailer - length
    need(start >= reader.at, "footer")
    if value["data_key"]:
        return {**value, "objects": None}
    footer, objects, offset = Reader(data[start:-trailer]), [], reader.at
    for _ in range(footer.number()):
        entry = pack_entry(footer, offset)
        need(value["class"] == "B" or (entry["kind"] in (1, 2)) == (value["class"] == "C"), "class of an object")
        offset += entry["stored_length"]
        if not entry["flags"]:
            entry["content"] = data[entry["offset"] : offset].hex()
        objects.append(entry)
    footer.end()
    need(offset == start and len({(entry["kind"], entry["id"]) for entry in objects}) == len(objects), "objects")
    return {**value, "objects": objects}


def check_packs(golden):
    for vector in golden["vectors"]:
        found, value = read_pack(bytes.fromhex(vector["bytes"])), vector["value"]
        if found["version"]:
            assert found["id"] == vector["id"], f"pack {vector['id']} says it is {found['id']}"
        for field in ("version", "class", "tenant", "data_key"):
            assert found[field] == value[field], f"{field} of {vector['id']}"
        for entry, expected in zip(found["objects"] or [], value["objects"], strict=bool(found["objects"])):
            assert entry.items() <= expected.items(), f"{entry} is not {expected}"
    for vector in golden["refused"]:
        try:
            read_pack(bytes.fromhex(vector["bytes"]))
        except Refused:
            continue
        raise AssertionError(f"pack: {vector['why']} was read")
    return len(golden["vectors"]) + len(golden["refused"])


def decode(read, hexadecimal):
    reader = Reader(bytes.fromhex(hexadecimal))
    value = read(reader)
    reader.end()
    return value


def main(folder):
    agreed = 0
    readers = {"blob": read_blob, "tree": read_tree, "snapshot": read_snapshot, "xattrs": read_xattrs}
    for kind, read in readers.items():
        golden = json.loads((folder / f"{kind}.json").read_text())
        for vector in golden["vectors"]:
            value = decode(read, vector["bytes"])
            assert value == vector["value"], f"{kind}: {value} is not {vector['value']}"
            if kind == "tree":
                assert digest_input(value).hex() == vector["digest_input"], f"digest of {value}"
            agreed += 1
        for vector in golden["refused"]:
            try:
                value = decode(read, vector["bytes"])
            except Refused:
                agreed += 1
            else:
                raise AssertionError(f"{kind}: {vector['why']} was read as {value}")
    agreed += check_packs(json.loads((folder / "pack.json").read_text()))
    print(f"{agreed} vectors agree")


main(pathlib.Path(sys.argv[1]))
