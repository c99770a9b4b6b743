"""One name for one thing: no two targets have types of one name, and no type has a module's name."""

import collections
import re

from blocks import ROOT

DECLARED = re.compile(
    r"^(?:@\w+ )*(?:(?:public|package|internal|final|indirect) )*"
    r"(?:struct|class|enum|protocol|actor|typealias) (\w+)",
    re.MULTILINE,
)


def targets_of_types():
    """The targets that declare a type outside of others, for each name."""
    found = collections.defaultdict(set)
    for source in (ROOT / "Sources").rglob("*.swift"):
        target = source.relative_to(ROOT / "Sources").parts[0]
        for name in DECLARED.findall(source.read_text(encoding="utf-8")):
            found[name].add(target)
    return found


def test_no_two_targets_have_a_type_of_one_name():
    twice = {name: targets for name, targets in targets_of_types().items() if len(targets) > 1}
    assert twice == {}


def test_no_type_has_the_name_of_a_module():
    modules = {path.name for path in (ROOT / "Sources").iterdir()} | {"StandardPlugins"}
    assert not modules & set(targets_of_types())
