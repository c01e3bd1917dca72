#!/usr/bin/env python3
"""Makes the seeds in fuzz/corpus: the golden vectors, and small values by hand where there are none. Run it after a change of bytes.

Seeds are named good-… or bad-…: understood or refused (vfs-core/src/testing/decoders/tests.rs holds them to it)."""

import io
import json
import shutil
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "vfs-core/tests/golden"


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value):
    return number(len(value)) + value


def write(decoder, kind, seeds):
    folder = HERE / "corpus" / decoder
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds):
        (folder / f"{kind}-{index:02}").write_bytes(seed)


def golden(decoder, file):
    vectors = json.loads((GOLDEN / file).read_text())
    write(decoder, "good", [bytes.fromhex(vector["bytes"]) for vector in vectors["vectors"]])
    write(decoder, "bad", [bytes.fromhex(vector["bytes"]) for vector in vectors["refused"]])


def entry(kind, digit, flags, offset, stored, plain):
    return bytes([kind]) + bytes([digit]) * 32 + bytes([flags]) + number(offset) + number(stored) + number(plain)


def pack(objects, *entries, count=None, shape=0):
    footer = number(len(entries) if count is None else count) + b"".join(entries)
    return bytes([shape]) + len(footer).to_bytes(2, "little") + objects + footer


shutil.rmtree(HERE / "corpus", ignore_errors=True)
golden("tree", "tree.json")
golden("blob", "blob.json")
golden("snapshot", "snapshot.json")
golden("attributes", "xattrs.json")

time = number(3_400_000_000) + number(5)
name = number(1) + text(b"name")
write("journal_record", "good", [
    b"\x00" + number(4096),
    b"\x01" + number(100) + number(16),
    b"\x02" + number(7) + b"\x00" + name,
    b"\x02" + number(7) + b"\x01",
    b"\x03" + name + number(9) + b"\x01" + number(0o644) + number(0) * 3 + text(b"") + time,
    b"\x04" + number(9) + name + time,
    b"\x05" + number(9) + name + time,
    b"\x06" + number(9) + name + time + name + b"\x00" + b"\x00",
    b"\x07" + number(9) + b"\x00" * 6 + time,
    b"\x08" + number(9) + number(0) + b"\x00" + time + number(5) + b"hello",
    b"\x09" + number(9) + number(0) + number(10) + number(10) + b"\x00" + time,
    b"\x0a" + number(9) + text(b"user.a") + b"\x01" + text(b"value") + time,
    b"\x0a" + number(9) + text(b"user.a") + b"\x00" + text(b"") + time,
    b"\x0b" + number(9) + number(0o644) + number(0) + number(0) + time,
    b"\x0c" + number(9) + name + time + b"\x00",
])
write("journal_record", "bad", [
    b"", b"\xff", b"\x00\x80\x00",
    b"\x0a" + number(9) + text(b"user.a") + b"\x00" + text(b"a value that is not set") + time,
    b"\x0b" + number(9) + number(0x10000 + 0o644) + number(0) + number(0) + time,
])

# The shapes of packs: version 0, version 1, encrypted, as it is; four times the class is added.
PLAIN, SEALED, WHOLE, TREES, BUNDLE = 1, 2, 3, 4, 8
golden_packs = json.loads((GOLDEN / "pack.json").read_text())
sealed_entry = entry(1, 1, 2, 61, 19, 3)
write("pack_index", "good", [
    pack(b""),
    pack(b"abc", entry(1, 1, 0, 25, 3, 3)),
    pack(b"abcde", entry(1, 1, 0, 25, 3, 3), entry(2, 2, 1, 28, 2, 30)),
    pack(b"", shape=PLAIN),
    pack(b"abcde", entry(1, 1, 0, 61, 3, 3), entry(2, 2, 1, 64, 2, 30), shape=PLAIN),
    pack(b"abcde", entry(3, 1, 0, 61, 3, 3), entry(4, 2, 1, 64, 2, 30), shape=PLAIN + TREES),
    pack(b"abcde", entry(1, 1, 0, 61, 3, 3), entry(4, 2, 1, 64, 2, 30), shape=PLAIN + BUNDLE),
    pack(b"", shape=SEALED),
    pack(b"s" * 19, sealed_entry, shape=SEALED),
    pack(b"s" * 39, sealed_entry, entry(2, 2, 3, 80, 20, 30), shape=SEALED),
    *[bytes([WHOLE]) + bytes.fromhex(vector["bytes"]) for vector in golden_packs["vectors"]],
])
write("pack_index", "bad", [
    b"", b"\0\xff\xff", pack(b"", count=200),
    pack(b"abc", entry(1, 1, 0, 26, 3, 3)),
    pack(b"abc", entry(3, 1, 0, 25, 3, 3)),
    pack(b"abcabc", entry(1, 1, 0, 25, 3, 3), entry(1, 1, 0, 28, 3, 3)),
    pack(b"abc", entry(1, 1, 4, 25, 3, 3)),
    pack(b"abc", entry(1, 1, 1, 25, 3, 2)),
    pack(b"abc", entry(1, 1, 0, 25, 3, 3), shape=BUNDLE),
    pack(b"abc", entry(1, 1, 0, 25, 3, 3), shape=PLAIN),
    pack(b"abc", entry(3, 1, 0, 61, 3, 3), shape=PLAIN),
    pack(b"s" * 19, sealed_entry, shape=PLAIN),
    pack(b"s" * 19, entry(1, 1, 0, 61, 19, 19), shape=SEALED),
    pack(b"s" * 19, entry(1, 1, 2, 61, 19, 4), shape=SEALED),
    pack(b"s" * 15, entry(1, 1, 3, 61, 15, 30), shape=SEALED),
    pack(b"", shape=SEALED, count=200), pack(b"", shape=12),
    *[bytes([WHOLE]) + bytes.fromhex(vector["bytes"]) for vector in golden_packs["refused"]],
])

zstd = bytes.fromhex("28b52ffd2000010000")
write("stored_object", "good", [
    b"a", b"compress me " * 40, *[length + flags + zstd for length in (b"\x10\0\0", b"\xff\xff\xff") for flags in (b"\1", b"\3")],
])

sealed = json.loads((GOLDEN / "sealed.json").read_text())["vectors"]
ours = [bytes.fromhex(vector["bytes"]) for vector in sealed if vector["name"] == sealed[0]["name"]]
others = [bytes.fromhex(vector["bytes"]) for vector in sealed if vector["name"] != sealed[0]["name"]]
write("sealed_object", "good", ours)
write("sealed_object", "bad", [b"", b"ESKSEAL\1", b"ESKSEAL\2" + ours[0][8:], ours[0][:-1], *others])

write("change_set", "good", [b"C\x00\x00\x00\x00"])
write("change_set", "bad", [b"", b"C\x01\x00\x00\x00", b"C\x00\xff\xff\x03"])

digits = "0123456789abcdef" * 4
config = {"format": 0, "repo": digits[:32], "tenant": digits[:32], "id_key": {"wrapping": "none", "secret": digits}}
snapshots = sorted((HERE.parent / "vfs-core/src/repo/config/snapshots").glob("*.snap"))
write("config", "good", [json.dumps(config).encode(), *[path.read_text().split("---\n")[2].strip().encode() for path in snapshots]])
write("config", "bad", [b"", b"{}", b'{"format": 99}', b'{"format": -1}', json.dumps(config).encode()[:-3]])

moved = {"format": 0, "workspace": digits[:32], "name": "w", "snapshot": digits, "parent": None, "epoch": 1, "sequence": 2,
         "time": {"seconds": 1700000000, "nanos": 5}, "holder": None, "position": 0}
moves = json.loads((GOLDEN / "reflog.json").read_text())["vectors"]
write("ref_log_entry", "good", [json.dumps(moved).encode(), *[vector["bytes"].encode() for vector in moves]])
write("ref_log_entry", "bad", [b"", b"null", json.dumps(dict(moved, epoch=-1)).encode(), moves[2]["bytes"].replace('"format":0', '"format":-1').encode()])

write("name", "good", [b"a", b"\xff\xfe", b"...", b"n" * 255])
write("name", "bad", [b"", b".", b"..", b"a/b", b"a\0", b"n" * 256])
write("scope", "good", [b"org", b"user/ada", b"agent/main-1"])
write("scope", "bad", [b"", b"org/x", b"user/", b"user/-a", b"team/x", b"user/a b"])
write("document_path", "good", [b"SKILL.md", b"a/b/c", "ä/ö".encode()])
write("document_path", "bad", [b"", b"/a", b"a//b", b"a/../b", b"a\n", b"\xff"])
write("object_id", "good", [digits.encode(), digits.upper().encode()])
write("object_id", "bad", [b"", digits[:-1].encode(), b"g" * 64])
write("glob", "good", [b"**/*.rs", b"{a,b}[c-d]?"])
write("glob", "bad", [b"", b"{" * 200, b"g" * 10000])
frame = lambda *items: len(items).to_bytes(4, "big") + b"".join(len(item).to_bytes(4, "big") + item for item in items)
write("frames", "good", [frame(), frame(b""), frame(b"one", b"two" * 10)])
write("frames", "bad", [b"", b"\0\0\0", frame(b"a")[:-1], frame(b"a") + b"x", b"\xff" * 8])


def archive(form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, bufsize=512) as tar:
        def add(name, kind=tarfile.REGTYPE, body=b"", link="", **more):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname, info.mtime, info.mode = kind, len(body), link, 1_700_000_000, 0o644
            info.pax_headers = more
            tar.addfile(info, io.BytesIO(body))
        add("folder", tarfile.DIRTYPE)
        add("folder/file", body=b"hello")
        add("again", tarfile.LNKTYPE, link="folder/file")
        add("link", tarfile.SYMTYPE, link="folder")
        if form == tarfile.PAX_FORMAT:
            add("n" * 120, body=b"x", **{"SCHILY.xattr.user.a": "b", "mtime": "1700000000.5"})
        if form == tarfile.GNU_FORMAT:
            add("l" * 120, body=b"x")
    # Without the filling behind the two empty blocks of the end.
    whole = out.getvalue()
    used = -(-len(whole.rstrip(b"\0")) // 512) * 512
    return whole[:used + 1024]


write("tar", "good", [archive(tarfile.USTAR_FORMAT), archive(tarfile.GNU_FORMAT), archive(tarfile.PAX_FORMAT)])
write("tar", "bad", [b"not an archive" * 50, archive(tarfile.USTAR_FORMAT).replace(b"folder/file", b"../../../fi", 1)])
