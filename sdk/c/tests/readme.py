"""Writes the programs and the commands of a README into a folder: `readme.py README FOLDER`."""

import re
import sys
from pathlib import Path

folder = Path(sys.argv[2])
folder.mkdir()
for word, text in re.findall(r"^```(?:c file=|sh )(\S+)\n(.*?)^```$", Path(sys.argv[1]).read_text("utf-8"), re.M | re.S):
    (folder / Path(word).name).write_text(text, "utf-8")
