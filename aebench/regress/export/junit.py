"""JUnit's XML of a comparison: a test case for each measure, as Jenkins, GitLab and others show them.

A regression is a failure, a crash of the new side an error; what is inconclusive, has no baseline or is gone is
skipped, which no tool takes for a pass. Elements and attributes are those of the schema junit-10.xsd of Jenkins'
xUnit plugin.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from aebench.errors import InputError
from aebench.regress import sources
from aebench.regress.export import Export, distinct
from aebench.regress.records import Finding
from aebench.regress.sources import Source

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for, section 2.2."""


def export(source: Source) -> Export:
    """One XML file; InputError where nothing was compared."""
    found = source.comparison
    if found is None:
        raise InputError(
            f"{source.side.name}: junit is of comparisons, and this has one side; aebench compare makes one"
        )
    elements = [outcome(finding)[0] for finding in found.findings]
    counts = {
        "tests": str(len(elements)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
    }
    root = ElementTree.Element("testsuites", {"name": "aebench compare", **counts})
    about = {"name": _text(f"{found.base} → {found.new}"), **counts, "skipped": str(elements.count("skipped"))}
    if source.date:
        about["timestamp"] = _text(source.date)
    suite = ElementTree.SubElement(root, "testsuite", about)
    facts = {"verdict": found.verdict, "pairs": str(found.pairs), "alpha": str(found.alpha), **found.machine}
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": _text(name), "value": _text(value)})
    names = distinct(finding.measure for finding in found.findings)
    for finding in found.findings:
        _case(suite, finding, names[finding.measure], source)
    if found.notes:
        ElementTree.SubElement(suite, "system-out").text = _text("\n".join(found.notes))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    return Export({"junit.xml": f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'})


def outcome(finding: Finding) -> tuple[str, str]:
    """The element that a finding has in its test case, and its type; no element where the test passes."""
    if finding.verdict == "fail":
        return ("error", "crash") if finding.crashed else ("failure", "regression")
    return ("", "") if finding.verdict == "pass" else ("skipped", finding.verdict)


def _case(suite: ElementTree.Element, finding: Finding, name: str, source: Source) -> None:
    measure = finding.measure
    case = ElementTree.SubElement(suite, "testcase", {"name": _text(name), "classname": _text(measure.benchmark)})
    summary = sources.summary(measure, source.side.values.get(measure, ()))
    if measure.kind == "time" and summary is not None:
        case.set("time", f"{summary.value:.9f}")
    element, kind = outcome(finding)
    if element:
        ElementTree.SubElement(case, element, {"type": kind, "message": _text(finding.said)}).text = _text(finding.line)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(finding.line)


def _text(value: str) -> str:
    """With the replacement character for what XML cannot hold, not even escaped."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value)
