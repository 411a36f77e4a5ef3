"""When two texts are spellings of one: values, ids of patients, names of columns that hold them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

_PATIENT = re.compile(
    r"(^|_)(patients?|patienten|subjects?|persons?|participants?|cases?|pat|subj|ptid|pid|mrn)"
    r"(_?(id|ids|no|nr|num|number|name|code|key|identifier|uid|hash))?$"
)
_LONGEST_PARTS = 3  # an id of more runs of letters and digits is a hash, and its zeros mean something


def clean(text: str) -> str:
    """Return a cell without blanks and marks that are not seen at its ends."""
    seen = "".join(" " if unicodedata.category(c) in ("Cf", "Zs", "Cc") else c for c in text)
    first = len(seen) - len(seen.lstrip())
    return text[first : len(seen.rstrip())] if seen.strip() else ""


def normal(value: object) -> str:
    """Return a value without what two spellings of it differ by: case, blanks, width, number format."""
    text = _folded(value)
    number = re.fullmatch(r"([+-]?)(\d+)(?:[.,](\d*?)0*)?", text)
    if number is None:
        return re.sub(r"[\s_-]+", "-", re.sub(r"\s*([-_/.,;:()])\s*", r"\1", text)).strip("-.")
    sign, whole, rest = number.groups()
    whole = whole.lstrip("0") or "0"
    return ("-" if sign == "-" and (whole != "0" or rest) else "") + whole + (f".{rest}" if rest else "")


def normal_id(value: object) -> str:
    """Return an identifier without case, blanks, separators and leading zeros: "P-003" and "p3" are one."""
    text = re.sub(r"^(\d+)\.0+$", r"\1", _folded(value))
    parts = re.findall(r"\d+|[^\W\d_]+", text)
    if len(parts) > _LONGEST_PARTS:
        return re.sub(r"[\s_-]+", "-", text)
    return "-".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts) or text


def spellings(values: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the values that are spellings of one, the most frequent first."""
    counts = Counter(values)
    same: dict[str, list[str]] = defaultdict(list)
    for value in counts:
        same[normal(value)].append(value)
    for short in [key for key in same if len(key) == 1 and key.isalpha()]:
        longer = [key for key in same if key != short and key.startswith(short)]
        if len(longer) == 1 and len(longer[0]) >= 4 and longer[0].isalpha():
            same[longer[0]] += same.pop(short)
    found = [
        tuple(sorted(group, key=lambda value: (len(normal(value)) == 1, -counts[value], value)))
        for group in same.values()
        if len(group) > 1
    ]
    return sorted(found)


def is_patient_column(name: str) -> bool:
    """Tell by its name whether a column holds ids of patients: "PatientID", "subject_no", "MRN"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", clean(name))
    return bool(_PATIENT.search(re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")))


def _folded(value: object) -> str:
    text = unicodedata.normalize("NFKC", str(value)).casefold()
    return " ".join("".join(" " if unicodedata.category(c) in ("Cf", "Cc") else c for c in text).split())
