"""Looks for words, from stdin, in every file, name and link below PATH…: as they are, in hex, and in base64 wherever it may
begin. find_words.py [--not PATH]… PATH… Prints what holds one. Exit status: 0 nowhere, 1 found, 2 there was nothing to read.
"""
import base64
import binascii
import os
import stat
import sys


def spellings(word):
    yield word
    yield word[::-1]
    yield binascii.hexlify(word)
    yield binascii.hexlify(word).upper()
    yield b"\0".join(bytes([c]) for c in word)  # UTF-16
    for before in range(3):
        text = base64.b64encode(b"x" * before + word)
        # Without the characters that neighbours have a part in.
        clean = text[(0, 2, 3)[before]:len(text) - (0, 4, 4)[(before + len(word)) % 3]]
        yield clean
        yield clean.replace(b"+", b"-").replace(b"/", b"_")


words = sys.stdin.buffer.read().split()
assert words and all(len(w) >= 16 for w in words)
patterns = {s for w in words for s in spellings(w)}
skipped, paths, arguments = set(), [], sys.argv[1:]
while arguments:
    word = arguments.pop(0)
    if word == "--not":
        skipped.add(os.path.abspath(arguments.pop(0)))
    else:
        paths.append(os.path.abspath(word))
files = found = 0


def look(path, data):
    global found
    if any(p in data for p in patterns):
        found += 1
        print(path)


def visit(path):
    global files
    if path in skipped:
        return
    try:
        st = os.lstat(path)
        look(path, os.path.basename(path).encode())
        if stat.S_ISLNK(st.st_mode):
            look(path, os.readlink(path).encode())
        elif stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                visit(os.path.join(path, name))
        elif stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                look(path, f.read())
            files += 1
    except FileNotFoundError:
        pass  # gone in between: a process, a journal of SQLite


for path in paths:
    visit(path)
print("%d files read" % files, file=sys.stderr)
sys.exit(1 if found else 0 if files else 2)
