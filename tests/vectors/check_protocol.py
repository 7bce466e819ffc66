#!/usr/bin/env python3
"""proto/PROTOCOL.md against the headers: the tables of limits, codes, operations and states are the same, and every
`PROTOCOL.md §section` in the tree names a section that is there."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
faults = []


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def same(what, text, header):
    for name in sorted(set(text) | set(header)):
        if text.get(name) != header.get(name):
            faults.append("%s %s: PROTOCOL.md says %s, the header %s" % (what, name, text.get(name),
                    header.get(name)))
    if not text:
        faults.append("%s: there is no table" % what)


def section(name):
    found = re.search(r"^## %s\n(.*?)(?=^## |\Z)" % name, protocol, re.M | re.S)
    if not found:
        faults.append("there is no section %s" % name)
    return found[1] if found else ""


protocol = read("proto/PROTOCOL.md")
sections = set(re.findall(r"^## (\w+)$", protocol, re.M))

bounds = re.findall(r"^#define (\w+) \(?(\d+)u(?: << (\d+))?\)?", read("proto/bounds.h"), re.M)
same("limit", dict(re.findall(r"^\| (\w+) \| (\d+) \|", section("limits"), re.M)),
     {name: str(int(value) << int(shift or 0)) for name, value, shift in bounds})
codes = re.findall(r"^    X\((\w+), ", read("proto/err.h"), re.M)
same("code", dict.fromkeys(re.findall(r"^\| `(\w+)` \|", section("codes"), re.M), "here"),
     dict.fromkeys(codes, "here"))
operations = re.findall(r"X\((\d+), (\w+), (true|false)\)", read("proto/message.h"))
same("operation", {n: (o, w) for o, n, w in re.findall(r"^\| (\d+) \| (\w+) \| (\w+) \|", section("operations"),
                                                       re.M)},
     {n: (o, "admin" if a == "true" else "all") for o, n, a in operations})
states = re.findall(r'X\(\w+, "([\w-]+)", (true|false)\)', read("proto/status.h"))
same("state", {n: bool(live) for n, live in re.findall(r"^\| `([\w-]+)` \| (⏳?) ?\|", section("status"), re.M)},
     {n: live == "true" for n, live in states})
for shift in ("proto", "node", "broker", "tests", "nixos"):
    for folder, _, names in os.walk(os.path.join(ROOT, shift)):
        for name in names:
            path = os.path.join(folder, name)
            if not re.search(r"\.(c|h|md|py|sh|cmake)$", name):
                continue
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for at in re.finditer(r"PROTOCOL\.md((?:[\s/,*#]|and)*§(\w+))+", text):
                for wanted in re.findall(r"§(\w+)", at[0]):
                    if wanted not in sections | {"section"}:
                        faults.append("%s: PROTOCOL.md has no section %s" % (os.path.relpath(path, ROOT), wanted))
for wanted in re.findall(r"§([a-z]\w*)", protocol):
    if wanted not in sections:
        faults.append("PROTOCOL.md refers to §%s, which is not there" % wanted)

print("\n".join(faults) or "%d sections, %d limits, %d codes, %d operations, %d states" % (
    len(sections), len(bounds), len(codes), len(operations), len(states)))
sys.exit(bool(faults))
