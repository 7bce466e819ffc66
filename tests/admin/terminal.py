"""A terminal of a given size, by tmux: what a person would see."""

import itertools
import os
import subprocess

from programs import until

PATIENCE = 180
NUMBERS = itertools.count()
PROMPT = "done>"


class Terminal:
    def __init__(self, path, width, height, **environment):
        """path: a folder for its socket, which is a new one, since a server that was told to end needs a moment."""
        self.socket, self.size = path / f"tmux.{next(NUMBERS)}", (str(width), str(height))
        self.environment = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
        for name in ("TMUX", "NO_COLOR"):
            if name not in environment:
                self.environment.pop(name, None)

    def __enter__(self):
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", self.size[0], "-y", self.size[1], "sh")
        self.type(f"PS1='{PROMPT} '; clear", "Enter")
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def tmux(self, *words):
        done = subprocess.run(["tmux", "-u", "-S", self.socket, *words], env=self.environment, capture_output=True,
                              timeout=PATIENCE)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def run(self, command):
        """Its screen when it has ended."""
        self.type(f"clear; {command}", "Enter")
        self.sees(PROMPT, but_not="clear")
        return self.screen()

    def screen(self, *how):
        return self.tmux("capture-pane", "-p", *how)

    def sees(self, text, but_not=None):
        """The screen, once text is on it (and the other is not)."""

        def look():
            screen = self.screen()
            return screen if text in screen and (but_not is None or but_not not in screen) else None

        try:
            return until(look, f"`{text}` on the screen", PATIENCE)
        except AssertionError:
            print(self.screen())
            raise

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def record(self, path):
        """From now on every byte that the program writes."""
        self.tmux("pipe-pane", f"cat >{path}")

    def manners(self):
        """Cursor, other screen, wrapping of lines."""
        return self.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on} #{wrap_flag}").strip()
