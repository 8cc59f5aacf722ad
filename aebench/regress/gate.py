"""The decision for each measure: how far the new side is worse than the base, against a margin.

A time fails where the lower bound of its Hodges-Lehmann shift of log ratios exceeds the margin, also after Benjamini
and Hochberg's adjustment over all that are tested; it passes where the upper bound is below the margin. A counter and
an exact number have no noise: any increase, any change, fails. A quality fails where it is worse by more than its
margin, paired by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import false_discovery_control

from aebench.errors import InputError
from aebench.regress.records import Finding, Measure, Side, Verdict
from aebench.stats.shift import hodges_lehmann, signed_rank_p

MARGIN = 0.03
"""The smallest margin of a time, as a share: less than this no one notices."""
QUALITY = 0.02
"""The margin of a quality, as a share of the base's mean."""
NOISE = 2.0
"""How many times what A against A showed on a machine a time may grow there."""

FEWEST = 5
"""Pairs: all of five on one side happen by chance once in 32."""
MACHINE = ("processor", "machine", "architecture", "system", "cores", "gpu")
"""What the machines of both sides must share, where both say it."""


def decide(
    base: Side,
    new: Side,
    *,
    alpha: float = 0.05,
    margins: Mapping[str, float] | None = None,
    noise: Mapping[str, float] | None = None,
) -> list[Finding]:
    """A finding for every measure of either side, in the order of the new side; what only the base has comes last.

    `alpha`: the chance of a false fail of one measure, and of the fails together after adjustment. `margins`: measure
    (as text, or the name alone) -> share, where it is not the default. `noise`: measure as text -> the largest share
    that A against A gave on this machine; a time's margin is at least twice that. A benchmark that crashes on the new
    side alone fails. Raises InputError where the sides have nothing in common, or are of different machines.
    """
    return adjusted(look(base, new, alpha=alpha, margins=margins, noise=noise), alpha)


def look(
    base: Side,
    new: Side,
    *,
    alpha: float = 0.05,
    margins: Mapping[str, float] | None = None,
    noise: Mapping[str, float] | None = None,
    looks: int = 1,
) -> list[Finding]:
    """What each measure says by itself; see `decide`. A time is looked at `looks` times, which share its `alpha`."""
    shared = [key for key in MACHINE if base.machine.get(key) and new.machine.get(key)]
    differing = [key for key in shared if base.machine[key] != new.machine[key]]
    if differing:
        says = "; ".join(f"{key} {base.machine[key]!r} and {new.machine[key]!r}" for key in differing)
        raise InputError(f"{base.name} and {new.name} were measured on different machines: {says}")
    crashed = _crashed(base, new)
    if not crashed and not set(base.values) & set(new.values):
        why = next(iter({**base.failures, **new.failures}.values()), "nothing can be compared")
        raise InputError(f"{base.name} and {new.name} have no benchmark in common: {why}")
    out = {finding.measure.benchmark for finding in crashed}
    found = [
        _finding(m, base, new, alpha / (looks if m.kind == "time" else 1), _margin(m, margins or {}, noise or {}))
        for m in new.values
        if m.benchmark not in out
    ]
    left = [m for m in base.values if m not in new.values and m.benchmark not in out]
    gone = [Finding(m, "gone", f"{new.name} does not have it") for m in left]
    return [*crashed, *found, *gone]


def _crashed(base: Side, new: Side) -> list[Finding]:
    """One finding for each benchmark that a side could not run: a fail where the base could."""
    measures: dict[str, Measure] = {}
    for measure in (*base.values, *new.values):
        measures.setdefault(measure.benchmark, measure)
    for name in (*base.failures, *new.failures):
        if "::" in name:
            measures.setdefault(name, Measure(name, "time", "time", "s"))
    known = {measure.benchmark for measure in base.values}
    found: list[Finding] = []
    for name, measure in measures.items():
        before, now = base.failure(name), new.failure(name)
        if before is not None:
            both = f"{base.name} and {new.name} crash" if now is not None else f"{base.name} crashes"
            found.append(Finding(measure, "no baseline", f"{both}: {before}"))
        elif now is not None:
            verdict: Verdict = "fail" if name in known else "no baseline"
            also = "" if name in known else f", and {base.name} does not have it"
            found.append(Finding(measure, verdict, f"crashed: {now}{also}", crashed=verdict == "fail"))
    return found


def _margin(measure: Measure, margins: Mapping[str, float], noise: Mapping[str, float]) -> float:
    for key in (str(measure), measure.name):
        if key in margins:
            return margins[key]
    if measure.kind == "time":
        return max(MARGIN, NOISE * noise.get(str(measure), 0.0))
    return QUALITY if measure.kind == "quality" else 0.0


def _finding(measure: Measure, base: Side, new: Side, alpha: float, margin: float) -> Finding:
    if measure not in base.values:
        return Finding(measure, "no baseline", f"{base.name} does not have it")
    torch = [side.machine.get("torch") for side in (base, new)]
    if measure.kind == "exact" and None not in torch and torch[0] != torch[1]:
        said = f"torch {torch[0]} and {torch[1]} need not agree to the last bit"
        return Finding(measure, "no baseline", said)
    old, now = (np.asarray(side.values[measure], np.float64) for side in (base, new))
    compare = {"time": _time, "quality": _quality, "counter": _counter, "exact": _exact}[measure.kind]
    return compare(measure, old, now, alpha, margin)


def _time(measure: Measure, old: np.ndarray, now: np.ndarray, alpha: float, margin: float) -> Finding:
    n = min(old.size, now.size)
    pairs = np.stack([old[:n], now[:n]])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0) & (pairs > 0).all(axis=0)]
    ratios = np.log(pairs[1] / pairs[0]) * (1 if measure.better == "lower" else -1)
    if ratios.size < FEWEST:
        effect = math.expm1(float(np.median(ratios))) if ratios.size else math.nan
        size = f"{effect:+.1%}, but " if ratios.size else ""
        said = f"{size}{ratios.size} valid pairs of {n}, and {FEWEST} are the fewest that allow a bound"
        return Finding(measure, "inconclusive", said, effect, -math.inf, math.inf, margin, ratios.size)
    shift, limit = hodges_lehmann(ratios, alpha), math.log1p(margin)
    verdict: Verdict = "fail" if shift.lower > limit else "pass" if shift.upper < limit else "inconclusive"
    effect, lower, upper = (math.expm1(value) for value in (shift.estimate, shift.lower, shift.upper))
    return Finding(
        measure, verdict, _in_words(effect, lower, upper, margin, f"{ratios.size} pairs"),
        effect, lower, upper, margin, ratios.size, signed_rank_p(ratios, limit),
    )  # fmt: skip


def _quality(measure: Measure, old: np.ndarray, now: np.ndarray, alpha: float, margin: float) -> Finding:
    """One-sided t bounds of the paired difference, as a share of the base's mean, over the seeds that the base has.

    A seed that is not finite on the base has no baseline; one that is not finite on the new side alone fails.
    """
    if old.size != now.size:
        said = f"{old.size} values on the base and {now.size} on the new side: they are no pairs"
        return Finding(measure, "inconclusive", said, margin=margin)
    kept = np.isfinite(old)
    old, now = old[kept], now[kept]
    n, lost = old.size, int((~np.isfinite(now)).sum())
    if n == 0:
        return Finding(measure, "inconclusive", "no finite values of the base", margin=margin)
    if lost:
        return Finding(measure, "fail", f"no finite value of {lost} of {n} seeds, which the base has", margin=margin)
    scale = abs(float(np.mean(old)))
    worse = (now - old) * (1 if measure.better == "lower" else -1)
    if scale == 0:
        verdict: Verdict = "inconclusive" if (worse > 0).any() else "pass"
        said = (
            f"{now.mean():g}, and of the base's mean of 0 there is no share"
            if worse.any()
            else "the same, 0 in the mean"
        )
        return Finding(measure, verdict, said, margin=margin, n=n)
    effect = float(worse.mean()) / scale
    if n == 1:
        verdict = "inconclusive" if worse.any() else "pass"
        said = f"{effect:+.1%}, and one seed allows no bound" if worse.any() else "the same, one seed"
        return Finding(measure, verdict, said, effect, margin=margin, n=n)
    error = float(worse.std(ddof=1)) / math.sqrt(n) / scale
    half = float(stdtrit(n - 1, 1 - alpha)) * error
    lower, upper = effect - half, effect + half
    p = float(effect <= margin) if error == 0 else float(stdtr(n - 1, (margin - effect) / error))
    verdict = "fail" if lower > margin else "pass" if upper < margin else "inconclusive"
    said = _in_words(effect, lower, upper, margin, f"{n} seeds")
    return Finding(measure, verdict, said, effect, lower, upper, margin, n, p)


def _counter(measure: Measure, old: np.ndarray, now: np.ndarray, alpha: float, margin: float) -> Finding:
    """Repeats of a counter agree, or the largest counts: what varies is no counter, and fails only where all exceed it.

    What is NaN was not counted.
    """
    old, now = old[~np.isnan(old)], now[~np.isnan(now)]
    if old.size == 0 or now.size == 0:
        which = "the base" if old.size == 0 else "the new side"
        return Finding(measure, "inconclusive", f"{which} has no count", margin=margin)
    before, after = float(old.max()), float(now.max())
    effect = (after - before) / before if before else math.inf if after > before else 0.0
    limit = before + margin * abs(before)
    verdict: Verdict = "pass" if after <= limit else "fail" if now.min() > limit else "inconclusive"
    said = "the same" if after == before else f"{before:g} → {after:g}{_share(effect)}"
    if verdict == "inconclusive":
        said += f", but it varies: {old.min():g} to {before:g}, and {now.min():g} to {after:g}"
    return Finding(measure, verdict, f"{said} {measure.unit}".strip(), effect, effect, effect, margin, now.size)


def _exact(measure: Measure, old: np.ndarray, now: np.ndarray, alpha: float, margin: float) -> Finding:
    """What is NaN on both sides is the same; a number that varies on the base is none that could be held to."""
    before = float(old[0])
    varying, differing = (side[~np.isclose(side, before, rtol=0, atol=0, equal_nan=True)] for side in (old, now))
    if varying.size:
        said = f"no exact number: {before!r} and {float(varying[0])!r} on the base"
        return Finding(measure, "inconclusive", said, margin=0.0, n=now.size)
    if not differing.size:
        return Finding(measure, "pass", "the same to the last bit", 0.0, 0.0, 0.0, 0.0, now.size)
    after = float(differing[0])
    effect = abs(after - before) / abs(before) if before else math.inf
    return Finding(measure, "fail", f"{before!r} → {after!r}{_share(effect)}", effect, effect, effect, 0.0, now.size)


def adjusted(findings: Iterable[Finding], alpha: float) -> list[Finding]:
    """A fail by its own bound alone, which many tests together make likely, is inconclusive.

    Benjamini and Hochberg, "Controlling the false discovery rate" (Journal of the Royal Statistical Society B 1995).
    """
    found = list(findings)
    tested = [i for i, finding in enumerate(found) if not math.isnan(finding.p)]
    if not tested:
        return found
    for i, p in zip(tested, false_discovery_control([found[i].p for i in tested]), strict=True):
        if found[i].verdict == "fail" and p > alpha:
            said = f"{found[i].said}; not after adjustment for {len(tested)} tests (p {p:.2g})"
            found[i] = replace(found[i], verdict="inconclusive", said=said)
    return found


def overall(found: Iterable[Finding]) -> Verdict:
    """The worst of them; what has no baseline, or is gone, is no verdict on the change, and alone it is none."""
    verdicts = {finding.verdict for finding in found}
    if "fail" in verdicts:
        return "fail"
    return "pass" if "pass" in verdicts and "inconclusive" not in verdicts else "inconclusive"


def _in_words(effect: float, lower: float, upper: float, margin: float, n: str) -> str:
    low, high = ("none" if math.isinf(value) or value == -1 else f"{value:+.1%}" for value in (lower, upper))
    return f"{effect:+.1%} [{low}, {high}]{' worse' if effect > 0 else ''}, margin {margin:.1%}, {n}"


def _share(effect: float) -> str:
    return f" ({effect:+.2%})" if math.isfinite(effect) else ""
