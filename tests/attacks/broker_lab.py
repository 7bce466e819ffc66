"""The real bento-broker for attacks on it: the World of tests/e2e/test_broker.py."""
import importlib.util
import os
import shutil
import sys
import tempfile


def load(bin_folder):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/test_broker.py")
    arguments, sys.argv = sys.argv, [path, os.path.join(bin_folder, "bento-broker")]
    try:
        spec = importlib.util.spec_from_file_location("test_broker", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.argv = arguments
    return module


class Broker:
    """with Broker(bin) as (b, w): b the module, w its World, with one release published."""

    def __init__(self, bin_folder):
        self.b = load(bin_folder)

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="bento-attack-")
        self.w = None
        try:
            self.w = self.b.World(self.folder)
            self.release = self.w.published()
        except BaseException:
            self.__exit__(BaseException, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if self.w:
            self.w.close()
        with open(os.path.join(self.folder, "log")) as f:
            log = f.read()
        shutil.rmtree(self.folder)
        assert kind or ("Sanitizer" not in log and "runtime error" not in log), log

    def signed(self, node, signer, seq=5, namespace="bento-status-v1", fleet=None):
        """A status that says it is node's, signed by whomever."""
        b, w = self.b, self.w
        body = b.unpack(w.fleet.status(node, seq, fleet=fleet))[2]
        return b.pack(["bento-signed", 1, body, signer.sign(namespace, body)])

    def put(self, status):
        return self.w.public.ask(self.b.PUT_STATUS, status)

    def rows(self):
        code, more, entries = self.w.admin.ask(self.b.GET_STATUSES, self.b.ZEROS)
        assert (code, more) == ("OK", False)
        return entries
