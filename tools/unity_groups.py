#!/usr/bin/env python3
"""Prints `GROUP FILE` for each of the source files given: files of one group can be compiled as one, since no two of them
define a name for themselves alone that is the same. What it overlooks (it reads the starts of lines, and no headers) the
compiler finds: rename it then.
"""
import pathlib
import re
import sys

MOST = 8  # more at once leaves a processor idle at the end
DEFINED = re.compile(r"(?:struct|class|enum class|union|namespace) (\w+)|using (\w+) =|using [\w:]+::(\w+);|"
                     r"[\w:<>,&*\s\[\].()]*?[\s&*](\w+)(?:\(|\{| =|;|\[)")


def names(file):
    """What the file defines for itself: name and line. Lines that are alike, as of two aliases, do not clash."""
    found, unnamed = {}, False
    for line in file.read_text().splitlines():
        if line == "namespace {":
            unnamed = True
        elif line.startswith("}  // namespace"):
            unnamed = False
        elif (unnamed or line.startswith(("constexpr ", "struct "))) and line[:1] not in ("", *" }#/") and (match := DEFINED.match(line)):
            alias = line.startswith(("using", "namespace"))
            found[next(filter(None, match.groups()))] = line if alias else str(file)
    return found


groups = []  # of each: names, number of files
for argument in sorted(sys.argv[1:]):
    own = names(pathlib.Path(argument))
    for number, (taken, count) in enumerate(groups):
        if count < MOST and all(taken.get(name, line) == line for name, line in own.items()):
            break
    else:
        number = len(groups)
        groups.append(({}, 0))
    groups[number][0].update(own)
    groups[number] = (groups[number][0], groups[number][1] + 1)
    print(number, argument)
