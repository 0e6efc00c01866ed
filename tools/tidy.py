#!/usr/bin/env python3
"""Checks the house rules that a program can check; prints every breach as file:line: what, and exits 1 if there is one.

Layering (the server's arrows are those of CMakeLists.txt's cairn_module lines; core and extension), sizes, formatting, words that must not be
committed, file names that no glob finds, shell syntax. `--fix` formats the C++ files first.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
SIZE_EXCUSE = re.compile(r"^\s*(//|#|--) size: \S")  # a line that says why a limit is overstepped
# Modules that hold no rules of the business and are included header by header; of the others only api.h is open.
FOUNDATION = {"base", "db", "http", "cluster", "schema"}
# Paths of one machine and hosts of package registries: written apart, so that this file passes its own check.
FORBIDDEN = [re.compile(p) for p in (
    r"(?<![\w.$}/-])/(" + "work|farm" + r")/", r"/opt/" + "(venv|wheels)", "pypi" + r"\.org", "pythonhosted" + r"\.org",
    "registry" + r"\.npmjs", "deb" + r"\.debian\.org", "crates" + r"\.io", "proxy" + r"\.golang")]
TEXT = {".cpp", ".h", ".py", ".sh", ".sql", ".md", ".txt", ".json", ".cmake", ".toml", ".html", ".js", ".css", ".yml", ".in", ""}

# Headers whose classes own memory: PostgreSQL's errors jump over their destructors.
FORBIDDEN_IN_CORE = {"deque", "functional", "list", "map", "memory", "queue", "set", "string", "unordered_map", "unordered_set",
                     "vector"}

problems = []


def complain(file, line, text):
    problems.append(f"{file.relative_to(ROOT)}:{line}: {text}")


def tracked_files():
    """What git tracks or would track; without git, everything outside the build folders."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    return [f for f in ROOT.rglob("*") if f.is_file() and not {"build", ".venv", ".git"} & set(f.relative_to(ROOT).parts)]


def module_arrows():
    """What each module may include: its DEPENDS, and theirs."""
    arrows = {}
    for name, depends in re.findall(r"^cairn_module\((\w+)(?: DEPENDS ([\w ]+))?\)", (ROOT / "CMakeLists.txt").read_text(), re.M):
        direct = depends.split()
        arrows[name] = {name, *direct}.union(*(arrows.get(d, set()) for d in direct))
        for unknown in set(direct) - set(arrows):
            complain(ROOT / "CMakeLists.txt", 1, f"module {name} depends on {unknown}, which is not above it")
    return arrows


def check_engine_layering(file, lines, part):
    """core/ knows nobody; extension/ knows core and itself, and PostgreSQL through pg/ alone."""
    roots = [ROOT / "core"] + ([ROOT / "extension"] if part == "extension" else [])
    wall = ROOT / "extension" / "pg"
    for number, line in enumerate(lines, 1):
        include = re.match(r'\s*#include ([<"])([^">]+)[">]', line)
        if not include:
            continue
        name, own = include[2], any((root / include[2]).exists() for root in roots)
        if include[1] == '"' and not own and not name.startswith("hwy/") and wall not in file.parents:
            complain(file, number, f"{name} is not in {' or '.join(f'{root.name}/' for root in roots)}: "
                     "includes are written from there" + ("; PostgreSQL's headers are for pg/pg.h" if part == "extension" else ""))
        elif part == "core" and not re.search(r"(_(test|fuzz|bench)\.cpp|^testing\.h)$", file.name) and name in FORBIDDEN_IN_CORE:
            complain(file, number, f"core allocates from an Arena and throws nothing: <{name}> is for its tests")


def check_layering(file, lines, arrows):
    parts = file.relative_to(ROOT).parts
    if parts[0] in ("core", "extension"):
        check_engine_layering(file, lines, parts[0])
    if parts[0] != "server" or len(parts) < 3:
        return
    module = parts[1]
    if module not in arrows:
        complain(file, 1, f"module {module} has no cairn_module line in CMakeLists.txt")
        return
    anything = module == "app"
    allowed = arrows[module] | (arrows["schema"] if file.name.endswith(("_pgtest.cpp", "testing.h")) else set())
    for number, line in enumerate(lines, 1):
        include = re.match(r'\s*#include "([^"]+)"', line)
        if not include:
            continue
        folder, _, header = include[1].partition("/")
        if not header:
            complain(file, number, f'includes are written from server/: #include "{module}/{folder}"')
        elif folder not in arrows:
            continue  # generated, or a library's own header
        elif folder not in allowed and not anything:
            complain(file, number, f"{module} may not include {folder} (arrows: CMakeLists.txt)")
        elif folder != module and folder not in FOUNDATION and header != "api.h" and not anything:
            complain(file, number, f"of another module only api.h may be included, not {include[1]}")


def check_sizes(file, lines):
    if file.suffix not in {".cpp", ".h", ".py"} and file.name != "dev":
        return
    excused = any(SIZE_EXCUSE.match(line) for line in lines)
    if len(lines) > MAX_FILE_LINES and not excused:
        complain(file, len(lines), f"{len(lines)} lines (at most {MAX_FILE_LINES}, or a line `// size: why`)")
    if file.suffix != ".cpp":
        return
    # A function of formatted code opens on a line that ends in "{" at column 0 to its own "}" at column 0, or is a member
    # or a function in a class two columns in. Namespaces, classes, enums and tables are no functions.
    opened = {}
    for number, line in enumerate(lines, 1):
        indent = len(line) - len(line.lstrip(" "))
        if indent in (0, 2) and line.endswith("{") and not line.lstrip().startswith(("}", "//")):
            head = line.strip()
            if re.match(r"(namespace|class|struct|enum|union|extern|else|for|if|while|switch|do|try|case|default)\b", head) or re.search(r"=\s*{+$", head):
                opened.pop(indent, None)
            elif indent == 0 or 0 not in opened:
                opened[indent] = number
        elif line in ("}", "  }") and indent in opened:
            start = opened.pop(indent)
            length = number - start + 1
            if length > MAX_FUNCTION_LINES and not any(SIZE_EXCUSE.match(l) for l in lines[max(0, start - 3):number]):
                complain(file, start, f"function of {length} lines (at most {MAX_FUNCTION_LINES}, or a line `// size: why` above or in it)")


def check_words(file, lines):
    for number, line in enumerate(lines, 1):
        for pattern in FORBIDDEN:
            found = pattern.search(line)
            if found:
                complain(file, number, f"names a machine's path or a registry's host: {found[0]}")


def check_names(file):
    parts = file.relative_to(ROOT).parts
    if parts[0] == "server" and file.suffix == ".cpp" and len(parts) not in (3, 4):
        complain(file, 1, "sources lie in server/<module>/ or a folder there: no glob looks deeper")
    if parts[0] == "core" and file.suffix == ".cpp" and len(parts) != 3:
        complain(file, 1, "sources lie in core/<part>/ itself: no glob looks deeper")
    kinds = {"server": "test|pgtest|fuzz", "core": "test|fuzz"}.get(parts[0], "(?!)")
    if re.search(r"_(test|pgtest|fuzz)\.cpp$", file.name) and not re.search(rf"_({kinds})\.cpp$", file.name):
        complain(file, 1, "only server/<module>/ and core/<part>/ are searched for tests of this kind")
    if re.match(r".+_(tests|unittest|pg_test|fuzzer)\.cpp$", file.name):
        complain(file, 1, "tests are named *_test.cpp, *_pgtest.cpp, *_fuzz.cpp: no glob finds this")
    if parts[0] in ("test", "extension") and re.search(r"_test\.py$", file.name):
        complain(file, 1, "Python tests are named test_*.py: nothing runs this")
    if parts[0] == "migrations" and not re.fullmatch(r"\d{4}_\w+\.(up|down)\.sql|README\.md", file.name):
        complain(file, 1, "a migration is named NNNN_module_change.up.sql or .down.sql")


def check_test_modules(files):
    """pytest imports them by their names alone."""
    seen = {}
    for file in files:
        if re.fullmatch(r"test_.*\.py", file.name) and seen.setdefault(file.name, file) != file:
            complain(file, 1, f"there is {seen[file.name].relative_to(ROOT)} already: pytest can load one of a name")


def check_shell(file, first_line):
    if file.suffix == ".sh" or re.match(r"#!.*\b(bash|sh)\b", first_line):
        result = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True)
        for line in result.stderr.splitlines():
            complain(file, 1, line)


def check_format(files, fix):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        problems.append("clang-format is missing: ./dev setup")
    elif files and fix:
        subprocess.run([tool, "-i", *map(str, files)], check=True)
    elif files:
        result = subprocess.run([tool, "--dry-run", "-Werror", "-ferror-limit=1", *map(str, files)], capture_output=True, text=True)
        unformatted = sorted({m[1] for m in re.finditer(r"^(.+?):\d+:\d+: error: code should be", result.stderr, re.M)})
        for name in unformatted:
            complain(pathlib.Path(name), 1, "is not formatted (./dev tidy --fix)")


def main():
    files = tracked_files()
    check_format([f for f in files if f.suffix in {".cpp", ".h"}], "--fix" in sys.argv[1:])
    check_test_modules(files)
    arrows = module_arrows()
    for file in files:
        check_names(file)
        if file.suffix not in TEXT or file.name == "LICENSE":
            continue
        try:
            lines = file.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        check_words(file, lines)
        check_sizes(file, lines)
        check_shell(file, lines[0] if lines else "")
        if file.suffix in {".cpp", ".h"}:
            check_layering(file, lines, arrows)
    print("\n".join(problems) if problems else f"tidy: {len(files)} files, nothing to say")
    sys.exit(1 if problems else 0)


main()
