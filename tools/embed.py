#!/usr/bin/env python3
"""Writes files into a C++ header and source as byte strings, so that the binary needs nothing beside it.

embed.py migrations HEADER SOURCE FILE...             NNNN_name.up.sql and .down.sql, sorted by number
embed.py files --function NAME HEADER SOURCE FILE...  std::string_view NAME(file name); empty when there is none
"""
import argparse
import pathlib
import re
import sys

PRELUDE = """// Made by tools/embed.py; do not edit.
#pragma once
#include <span>
#include <string_view>

"""

MIGRATIONS = PRELUDE + """namespace cairn {
struct EmbeddedMigration {
  int number;
  std::string_view name;  // as in the file's name, without the number
  std::string_view up;
  std::string_view down;  // empty when there is no way back
};
// All migrations, in ascending order of their numbers.
std::span<const EmbeddedMigration> embedded_migrations();
}  // namespace cairn
"""

FILES = PRELUDE + """namespace cairn {{
// The bytes of an embedded file by its name without a folder; no data when there is none of that name.
std::string_view {function}(std::string_view name);
// All names.
std::span<const std::string_view> {function}_names();
}}  // namespace cairn
"""


def literal(data: bytes) -> str:
    """A C++ string_view of exactly these bytes (three octal digits never swallow what follows)."""
    def escape(byte):
        char = chr(byte)
        plain = 32 <= byte < 127 and char not in '"\\?'
        return char if plain else "\\%03o" % byte
    lines = ['"%s"' % "".join(map(escape, data[at:at + 96])) for at in range(0, len(data), 96)] or ['""']
    return "std::string_view(\n%s,\n%d)" % ("\n".join(lines), len(data))


def migrations(files):
    found = {}
    for file in files:
        match = re.fullmatch(r"(\d{4})_(\w+)\.(up|down)\.sql", file.name)
        if not match:
            sys.exit(f"embed: {file}: a migration is named NNNN_name.up.sql or NNNN_name.down.sql")
        number, name, direction = int(match[1]), match[2], match[3]
        known = found.setdefault(number, {"name": name})
        if known["name"] != name:
            sys.exit(f"embed: number {number:04} is taken twice: {known['name']} and {name}")
        known[direction] = file.read_bytes()
    rows = []
    for number, entry in sorted(found.items()):
        if "up" not in entry:
            sys.exit(f"embed: {number:04}_{entry['name']} has a down.sql but no up.sql")
        rows.append('{%d, "%s", %s, %s},' % (number, entry["name"], literal(entry["up"]), literal(entry.get("down", b""))))
    body = "\n".join(rows)
    # A vector of none must compile too: hence a span over an array only when there are rows.
    table = f"constexpr EmbeddedMigration kMigrations[] = {{\n{body}\n}};\n" if rows else ""
    value = "kMigrations" if rows else "{}"
    return MIGRATIONS, (f"namespace cairn {{\nnamespace {{\n{table}}}\nstd::span<const EmbeddedMigration> "
                        f"embedded_migrations() {{ return {value}; }}\n}}\n")


def plain_files(files, function):
    rows = "\n".join('  if (name == "%s") return %s;' % (file.name, literal(file.read_bytes())) for file in files)
    names = ", ".join(f'"{file.name}"' for file in files)
    return FILES.format(function=function), (
        f"namespace cairn {{\nstd::string_view {function}([[maybe_unused]] std::string_view name) {{\n{rows}\n  return {{}};\n}}\n"
        f"std::span<const std::string_view> {function}_names() {{\n  static constexpr std::string_view kNames[] = {{{names}}};\n  return kNames;\n}}\n}}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["migrations", "files"])
    parser.add_argument("--function", default="embedded_file")
    parser.add_argument("header", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="*")
    args = parser.parse_args()
    files = sorted(args.files)
    header, source = migrations(files) if args.kind == "migrations" else plain_files(files, args.function)
    args.header.parent.mkdir(parents=True, exist_ok=True)
    args.header.write_text(header)
    args.source.write_text(f'// Made by tools/embed.py; do not edit.\n#include "{args.header.name}"\n\n{source}')


main()
