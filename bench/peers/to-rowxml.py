"""CSV or NDJSON to row XML with Python's own readers: python3 to-rowxml.py csv|ndjson IN OUT. The peer of the stage `transform`."""
import csv
import json
import os
import sys
from xml.sax.saxutils import escape

NAMES = ["obtid", "ddatetime", "t", "p", "u", "wd", "wf", "r", "vis"]
FORM = "".join(f"<{name}>%s</{name}>" for name in NAMES) + "<endl/>\n"


def records(kind, source):
    if kind == "csv":
        rows = csv.reader(source)
        next(rows)
        return rows
    return ([str(record[name]) for name in NAMES] for record in map(json.loads, source))


kind, path, out = sys.argv[1:]
with open(path, encoding="utf-8", newline="") as source, open(out + ".tmp", "w", encoding="utf-8") as target:
    target.write("<data>\n")
    target.writelines(FORM % tuple(map(escape, row)) for row in records(kind, source))
    target.write("</data>\n")
    target.flush()
    os.fsync(target.fileno())
os.rename(out + ".tmp", out)
