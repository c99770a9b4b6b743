"""Every command and snippet of README.md and docs/ does what the page says."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest
from blocks import ALL, ROOT

KINDS = re.compile(
    r'^(sh( (background|installed|elsewhere="[^"]+"))?|toml (frontend|worker)|plugins|text'
    r"|\w+ file=\S+)$"
)
BLOCKS = [block for found in ALL.values() for block in found]
GATEPOST = ROOT / ".build/debug/gatepost"


def of(*kinds):
    chosen = [b for b in BLOCKS if b.words in kinds]
    return pytest.mark.parametrize("block", chosen, ids=[b.place for b in chosen])


@pytest.mark.parametrize("block", BLOCKS, ids=[b.place for b in BLOCKS])
def test_a_block_says_how_it_is_tested(block):
    assert KINDS.match(block.words), f"{block.place}: ```{block.words}"


IN_FILES = [b for b in BLOCKS if "file=" in b.words]


@pytest.mark.parametrize("block", IN_FILES, ids=[b.place for b in IN_FILES])
def test_a_snippet_stands_in_its_file(block):
    path = ROOT / block.words.split("file=")[1]
    assert block.text.strip(), f"{block.place}: empty"
    assert block.text in path.read_text(encoding="utf-8"), f"{block.place} differs from {path}"


@pytest.fixture
def open_folder():
    """A folder that every user may enter: to root, the check names what a configuration's `user` may not read."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gpdocs"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@of("toml frontend", "toml worker", "plugins")
def test_a_configuration_is_taken(block, open_folder):
    config = open_folder / "config"
    shutil.copytree(ROOT / "config", config)
    name = {"toml frontend": "frontend.toml", "toml worker": "worker.toml"}.get(block.words, "plugins")
    (config / name).write_text(block.text)
    done = subprocess.run(
        [GATEPOST, "check", "--config", config], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


class Background:
    """A command that runs until its document ends."""

    def __init__(self, command):
        self.lines = []
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("ready"):
                self.ready.set()

    def wait(self):
        assert self.ready.wait(timeout=600), "not ready:\n" + "".join(self.lines)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout=60) in (0, -signal.SIGTERM), "".join(self.lines)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def environment(tmp_path):
    """Where `sh installed` runs: what scripts/install makes of the debug build."""
    found = dict(os.environ)
    found["DESTDIR"] = str(tmp_path / "installed")
    found["PATH"] = f"{ROOT}/Tests/Documentation/bin:{found['PATH']}"
    install = [ROOT / "scripts/install", ROOT / ".build/debug"]
    subprocess.run(install, env=found, check=True, timeout=60)
    # These users exist only after a real installation.
    toml = tmp_path / "installed/etc/gatepost/frontend.toml"
    lines = toml.read_text().replace("\nallowed_users", "\n#").replace("\ngroup", "\n#")
    toml.write_text(lines)
    return found


RUNNABLE = [path for path, found in ALL.items() if any(b.words.startswith("sh") for b in found)]


@pytest.mark.parametrize("path", RUNNABLE, ids=[str(p.relative_to(ROOT)) for p in RUNNABLE])
def test_the_commands_of_a_page_run_in_their_order(path, tmp_path):
    background = []
    try:
        for block in ALL[path]:
            if block.words == "sh background":
                background.append(Background(block.text))
                background[-1].wait()
            elif block.words in ("sh", "sh installed"):
                env = environment(tmp_path) if block.words == "sh installed" else None
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block.text],
                    cwd=ROOT,
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=900,
                )
                logs = "".join(line for b in background for line in b.lines[-30:])
                assert done.returncode == 0, (
                    f"{block.place}\n{block.text}\n{done.stdout}\n{done.stderr}\n{logs}"
                )
    finally:
        for process in background:
            process.stop()


def test_no_link_points_nowhere():
    link = re.compile(r"\]\((?!https?://|#)([^)#]+)")
    for path in ALL:
        for target in link.findall(path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_each_dependency_has_its_reason():
    package = (ROOT / "Package.swift").read_text(encoding="utf-8")
    reasons = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    for url in re.findall(r'url: "https://github.com/([^"]+?)(?:\.git)?"', package):
        assert f"| {url} |" in reasons, url
    for name in re.findall(r'\.apt\(\["([^"]+)"\]\)', package):
        assert f"`{name}`" in reasons, name


def test_each_plugin_is_listed_with_its_names_and_has_a_manual():
    listed = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    plugins = ROOT / "Sources/Plugins"
    named = re.compile(r'static let (?:name = ("[^"]+")|aliases = \[(.*?)\])', re.DOTALL)
    for source in sorted(plugins.rglob("*.swift")):
        for name, aliases in named.findall(source.read_text(encoding="utf-8")):
            group = plugins / source.relative_to(plugins).parts[0]
            types = (group / f"{group.name}Plugins.swift").read_text(encoding="utf-8")
            assert f" {source.stem}.self" in types, f"{group.name}Plugins lacks {source.stem}"
            for word in re.findall(r'"([^"]+)"', name or aliases):
                assert re.search(rf"[\[( ]{re.escape(word)}[\],)]", listed), f"{source}: {word}"
            manual = (source.parent / "README.md").read_text(encoding="utf-8")
            assert len(manual.splitlines()) >= 10, f"{source.parent}/README.md says nothing"


def test_each_command_says_what_it_does():
    for name in ["gatepost", "gatepost-frontend", "gatepost-worker"]:
        done = subprocess.run(
            [pathlib.Path(ROOT / ".build/debug" / name), "--help"],
            capture_output=True, text=True, timeout=30,
        )
        assert done.returncode == 0 and "--config" in done.stdout or "SUBCOMMANDS" in done.stdout
