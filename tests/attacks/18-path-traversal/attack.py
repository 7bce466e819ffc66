"""A signed tree (or bundle) whose names would leave their folder. The admin's tools never make one; a node does not rely on
that."""
from forge import Configuration, pack


def tree(w, *paths):
    return w.release(configuration=Configuration([[p, False, b"x"] for p in paths]))


def raw(w, path):
    """A path that is no UTF-8."""
    entry = b"\x93" + bytes([0xA0 | len(path)]) + path + b"\xc2\xc4\1x"
    return w.release(configuration=Configuration(tree_plain=b"\x93" + pack("bento-tree") + b"\1\x91" + entry))


def bundle(w, *secrets):
    return w.release(configuration=Configuration(secrets=[[n, "root", "root", m, b"x"] for n, m in secrets]))


def cases(w):
    yield "clean", tree(w, "a", "b/c", "b/d")
    yield "parent", tree(w, "../x")
    yield "parent-inside", tree(w, "a/../../x")
    yield "parent-at-the-end", tree(w, "a/..")
    yield "absolute", tree(w, "/x")
    yield "empty-component", tree(w, "a//b")
    yield "dot", tree(w, "a/./b")
    yield "dot-alone", tree(w, ".")
    yield "empty", tree(w, "")
    yield "slash-at-the-end", tree(w, "a/")
    yield "nul", tree(w, "a\0b")
    yield "newline", tree(w, "a\nb")
    yield "not-utf-8", raw(w, b"a\xff")
    yield "overlong-utf-8", raw(w, b"\xc0\xae\xc0\xae/x")
    yield "file-as-folder", tree(w, "a", "a/b")
    yield "file-as-folder-far-apart", tree(w, "a", "a-b", "a/b")
    yield "twice", tree(w, "a", "a")
    yield "not-sorted", tree(w, "b", "a")
    yield "component-of-256", tree(w, "a" * 256)
    yield "path-too-long", tree(w, "/".join(["a" * 100] * 6))
    yield "symlink-as-a-fourth-kind", w.release(configuration=Configuration([["a", "symlink", b"/etc"]]))
    yield "extra-element", w.release(configuration=Configuration([["a", False, b"x", b"y"]]))
    yield "tree-of-another-type", w.release(configuration=Configuration(tree_plain=pack(["bento-tree", 2, []])))
    yield "trailing-byte", w.release(configuration=Configuration(tree_plain=pack(["bento-tree", 1, []]) + b"\0"))
    yield "secret-clean", bundle(w, ("a", 0o400), ("b", 0o440))
    yield "secret-outside", bundle(w, ("../etc-shadow", 0o400))
    yield "secret-parent", bundle(w, ("..", 0o400))
    yield "secret-dot", bundle(w, (".", 0o400))
    yield "secret-absolute", bundle(w, ("/etc/shadow", 0o400))
    yield "secret-twice", bundle(w, ("a", 0o400), ("a", 0o400))
    yield "secret-not-sorted", bundle(w, ("b", 0o400), ("a", 0o400))
    yield "secret-setuid", bundle(w, ("a", 0o4755))
    yield "secret-too-long", bundle(w, ("a" * 65, 0o400))
    yield "meta-unknown-key", w.release(configuration=Configuration(meta={"attribute": "me", "host": "me", "run": "sh"}))
    yield "meta-not-sorted", w.release(configuration=Configuration(
        bundle_plain=pack(["bento-bundle", 1, {"host": "me", "attribute": "me"}, [], None])))
    yield "bundle-is-garbage", w.release(configuration=Configuration(bundle_plain=b"#!/bin/sh\nreboot\n"))
