"""What each layer of a frozen model knows: ridge probes, and a verdict in words.

In come features of every layer, what was measured in the sounds, what people called them, and
groups; out come `LayerProbes`, how well each target is read from each layer beside chance, and a
verdict on the claim "early = spectral templates, middle = harmonic relations, late = call types".
Called by the report.

Features are standardised, reduced by a PCA, and read by a ridge whose penalty is chosen within the
training folds; a group (recording or session) is never on both sides. Neither the order of the
items nor the names of labels matter.

Axes: N items, L layers, V values, P components, Y columns of a target, G groups, R resamples,
C labels (1 for numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oscine.evaluation.acoustics import QUANTITIES
from oscine.evaluation.probes import N_FOLDS, N_RESAMPLES
from oscine.evaluation.splits import grouped_folds

MOST_COMPONENTS = 256
PENALTIES = (100.0, 10.0, 1.0, 1e-1, 1e-2, 1e-3)
"""Relative to the mean variance of a component; of equals the first is taken."""
ROUNDING = 1e-9
"""A score so little above chance is not."""
LEAST_EIGENVALUE = 1e-9
"""Of a component, relative to the largest: below that it is rounding."""
FEWEST_GROUPS = 10
"""Groups that must have a target for it to be asked."""
R_SQUARED, BALANCED_ACCURACY = "R²", "balanced accuracy"
LABEL = "label"
"""The family of labels."""
CLAIM = (
    ("spectral", "early", "spectral templates"),
    ("harmonic", "middle", "harmonic relations"),
    (LABEL, "late", "call types"),
)
"""Family, third of the layers that is said to read it best, and its name in the claim."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerProbe:
    """How well one target is read from each layer, on items of groups that were held out.

    Attributes
    ----------
    name, family : str
    measure : str
        ``R²`` (against the mean of the training folds: negative where that is the better guess) or
        ``balanced accuracy``.
    chance : float
        0 for R², one in the number of labels for balanced accuracy.
    n_items, n_groups : int
        That have the target.
    scores, low, high : np.ndarray of float64 [shape=(L,)]
        With the 90 % interval by bootstrap over groups.
    permuted : np.ndarray of float64 [shape=(L,)]
        The score where the target is dealt anew to the groups: what chance gives here.
    draws : np.ndarray of float64 [shape=(R, L)]
        The score in each resample of the groups, the same for all layers and for all targets of
        one call: differences between layers have an interval too.
    """

    name: str
    family: str
    measure: str
    chance: float
    n_items: int
    n_groups: int
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray
    permuted: np.ndarray
    draws: np.ndarray

    @property
    def is_read(self) -> bool:
        """Whether the best layer reads it better than chance: outside the interval."""
        best = int(np.argmax(self.scores))
        lead = self.low[best] - max(self.chance, self.permuted[best])
        return bool(lead > ROUNDING)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerProbes:
    """All targets.

    Attributes
    ----------
    layers : tuple of L int
        Numbers of the layers, from the input on.
    probes : tuple of LayerProbe
    problems : tuple of str
        What could not be asked, and why.
    """

    layers: tuple[int, ...]
    probes: tuple[LayerProbe, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Target:
    """Something to read: a number is one column, a label one of each name.

    ``values`` are (N, Y), ``weights`` (N,): 0 where an item has none, and such that all labels
    weigh the same.
    """

    name: str
    family: str
    measure: str
    chance: float
    values: np.ndarray
    weights: np.ndarray

    def of(self, items: np.ndarray) -> _Target:
        """Return the target of some items."""
        return replace(self, values=self.values[items], weights=self.weights[items])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FamilyReading:
    """How well a family is read from each layer: mean over its targets that are read at all.

    Scores count from chance (0) to perfect (1), so that R² and accuracies can be averaged.

    Attributes
    ----------
    targets : tuple of str
        Those that are read; none where no layer reads any better than chance.
    scores : np.ndarray of float64 [shape=(L,)]
    best : int
        Position of the layer that reads it best.
    third : str
        The third of the layers in which that is: ``early``, ``middle`` or ``late``.
    rival : int
        Position of the best layer of the other thirds.
    lead, low, high : float
        Of the best layer over the rival, with its 90 % interval.
    """

    targets: tuple[str, ...]
    scores: np.ndarray
    best: int
    third: str
    rival: int
    lead: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether the lead lies outside its interval."""
        return self.low > ROUNDING


def probe_layers(
    features: np.ndarray,
    targets: Mapping[str, np.ndarray],
    labels: Mapping[str, Sequence[str | None]],
    groups: np.ndarray,
    *,
    families: Mapping[str, str],
    layers: Sequence[int],
    seed: int = 0,
) -> LayerProbes:
    """Ask each layer for each target.

    Parameters
    ----------
    features : np.ndarray of float [shape=(N, L, V)]
        NaN counts as average. What is the same in all layers (such as the level of each frequency
        row) should be left out: all layers would be asked for it alike.
    targets : mapping of str to np.ndarray of float [shape=(N,)]
        NaN where an item has none; it is then left out.
    labels : mapping of str to N str or None
        Labels that occur in one group only are left out: they cannot be held out.
    groups : np.ndarray of int [shape=(N,)]
    families : mapping of str to str
        Of each target; labels are of the family ``label``.
    layers : sequence of L int
    seed : int
        Of folds, permutation and bootstrap.

    Returns
    -------
    LayerProbes
        Targets, then labels, as they come.

    Raises
    ------
    ValueError
        The arrays do not fit together, a target has no family, or all items are in one group.
    """
    groups = np.asarray(groups)
    _check(features, targets, labels, groups, families, layers)
    # From here on items stand in an order of their own, whatever the caller's.
    order = np.lexsort((np.nansum(features, axis=(1, 2), dtype=np.float64), groups))
    features, group = features[order], np.unique(groups[order], return_inverse=True)[1]
    numbers, named, problems = [], [], []
    for name, values in targets.items():
        try:
            numbers.append(_number(name, families[name], np.asarray(values)[order], group))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    for name, said in labels.items():
        try:
            named.append(_label(name, [said[number] for number in order], group))
        except ValueError as error:
            problems.append(f"{name}: {error}")

    # Numbers share their folds, and with them most of the work; a label is spread evenly over
    # folds of its own.
    counts = _resamples(int(group.max()) + 1, seed)
    probes = _ask(features, group, numbers, np.zeros(len(group), np.int64), counts, seed)
    for one in named:
        items = np.flatnonzero(one.weights)
        strata = np.argmax(one.values[items], axis=1)
        probes += _ask(features[items], group[items], [one.of(items)], strata, counts, seed)
    return LayerProbes(layers=tuple(layers), probes=tuple(probes), problems=tuple(problems))


def read_families(found: LayerProbes) -> dict[str, FamilyReading]:
    """Return how each family is read, by its name.

    Parameters
    ----------
    found : LayerProbes
        Of at least three layers.

    Returns
    -------
    dict of str to FamilyReading
    """
    n_layers = len(found.layers)
    thirds = np.array([_third(position, n_layers) for position in range(n_layers)])
    readings = {}
    for family in dict.fromkeys(one.family for one in found.probes):
        every = [one for one in found.probes if one.family == family]
        some = [one for one in every if one.is_read]
        averaged = some or every
        scores = np.mean([_from_chance(one.scores, one.chance) for one in averaged], axis=0)
        draws = np.mean([_from_chance(one.draws, one.chance) for one in averaged], axis=0)
        best = int(np.argmax(scores))
        rival = int(np.argmax(np.where(thirds == thirds[best], -np.inf, scores)))
        low, high = np.nanpercentile(draws[:, best] - draws[:, rival], (5, 95))
        readings[family] = FamilyReading(
            targets=tuple(one.name for one in some),
            scores=scores,
            best=best,
            third=str(thirds[best]),
            rival=rival,
            lead=float(scores[best] - scores[rival]),
            low=float(low),
            high=float(high),
        )
    return readings


def verdict(found: LayerProbes) -> str:
    """Say whether early layers hold spectral templates, middle ones harmonics, late ones types.

    A part of the claim holds where the layer that reads the family best lies in the third that it
    names, and is ahead of the best layer of the other thirds by more than its 90 % interval.

    Parameters
    ----------
    found : LayerProbes

    Returns
    -------
    str
        The claim holds, holds in part, or does not hold; then a sentence for each family.
    """
    claim = f'The claim "{", ".join(f"{third} = {what}" for _, third, what in CLAIM)}"'
    if len(found.layers) < 3:
        return f"{claim} cannot be asked of {len(found.layers)} layers."
    readings = read_families(found)
    true = []
    for family, third, what in CLAIM:
        one = readings.get(family)
        if one is not None and one.targets and one.third == third and one.is_certain:
            true.append(f"{third} = {what}")
    if len(true) == len(CLAIM):
        said = "holds for this model."
    elif true:
        said = f"holds in part for this model: {', '.join(true)}."
    else:
        said = "does not hold for this model."
    asked = dict.fromkeys([*(family for family, _, _ in CLAIM), *readings])
    sentences = [
        _sentence(family, readings[family], found.layers)
        if family in readings
        else f"{family}: not asked, {_why_not(family, found.problems)}."
        for family in asked
    ]
    return " ".join([f"{claim} {said}", *sentences])


def _why_not(family: str, problems: Sequence[str]) -> str:
    """Say why nothing of a family was asked: the problems of its targets, or that it has none."""
    kinds = [QUANTITIES.get(one.partition(":")[0], LABEL) for one in problems]
    own = [one for one, kind in zip(problems, kinds, strict=True) if kind == family]
    if own:
        return f"for {'; '.join(own)}"
    return "as there are no labels" if family == LABEL else "as nothing of it was measured"


def _sentence(family: str, one: FamilyReading, layers: tuple[int, ...]) -> str:
    if not one.targets:
        return f"{family}: not read, no layer is better than chance."
    best, rival = layers[one.best], layers[one.rival]
    counts = "a difference" if one.is_certain else "no difference"
    return (
        f"{family}: read best by layer {best} ({one.third}), {one.scores[one.best]:.2f} of the way "
        f"from chance to perfect; ahead of layer {rival}, the best of the other thirds, by "
        f"{one.lead:.2f} (90 % interval {one.low:z.2f} to {one.high:z.2f}: {counts})."
    )


def _third(position: int, n_layers: int) -> str:
    """Return the third in which a layer lies; the first and last layers are its ends."""
    if 3 * position < n_layers - 1:
        return "early"
    return "late" if 3 * position > 2 * (n_layers - 1) else "middle"


def _from_chance(scores: np.ndarray, chance: float) -> np.ndarray:
    return (scores - chance) / (1 - chance)


def _check(
    features: np.ndarray,
    targets: Mapping[str, np.ndarray],
    labels: Mapping[str, Sequence[str | None]],
    groups: np.ndarray,
    families: Mapping[str, str],
    layers: Sequence[int],
) -> None:
    if features.ndim != 3 or features.shape[:2] != (len(groups), len(layers)):
        raise ValueError(
            f"features of shape {features.shape}, {len(groups)} groups and {len(layers)} layers: "
            "give features (N, L, V), one group for each item and one number for each layer"
        )
    for name, values in [*targets.items(), *labels.items()]:
        if len(values) != len(groups):
            raise ValueError(f"{name} has {len(values)} values for {len(groups)} items")
    orphans = [name for name in targets if name not in families]
    if orphans:
        raise ValueError(f"no family is given for {', '.join(orphans)}")
    if len(np.unique(groups)) < 2:
        raise ValueError("all items are in one group (recording or session): nothing is held out")


def _number(name: str, family: str, values: np.ndarray, group: np.ndarray) -> _Target:
    """Make a target of numbers, NaN being unknown."""
    known = ~np.isnan(values)
    _check_groups(group[known])
    if np.ptp(values[known]) == 0:
        raise ValueError("it is the same in all items")
    return _Target(
        name=name,
        family=family,
        measure=R_SQUARED,
        chance=0.0,
        values=np.where(known, values, 0)[:, None].astype(np.float64),
        weights=known.astype(np.float64),
    )


def _label(name: str, said: Sequence[str | None], group: np.ndarray) -> _Target:
    """Make a target of the labels that occur in several groups."""
    places: dict[str, set[int]] = {}
    for label, one in zip(said, group.tolist(), strict=True):
        if label:
            places.setdefault(label, set()).add(one)
    # By first appearance, for folds that do not depend on what the labels are called.
    names = [label for label, where in places.items() if len(where) > 1]
    if len(names) < 2:
        raise ValueError(f"{len(names)} labels occur in several groups: there must be two")
    values = np.array([[label == one for one in names] for label in said], np.float64)
    _check_groups(group[values.any(axis=1)])
    return _Target(
        name=name,
        family=LABEL,
        measure=BALANCED_ACCURACY,
        chance=1 / len(names),
        values=values,
        weights=values @ (1 / values.sum(axis=0)),
    )


def _check_groups(group: np.ndarray) -> None:
    n_groups = len(np.unique(group))
    if n_groups < FEWEST_GROUPS:
        raise ValueError(
            f"known in {n_groups} groups only, and it takes {FEWEST_GROUPS} (of --group)"
        )


def _resamples(n_groups: int, seed: int) -> np.ndarray:
    """Return how often each group is drawn in each resample [shape=(R, G)]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), N_RESAMPLES).astype(float)


def _ask(
    features: np.ndarray,
    group: np.ndarray,
    targets: Sequence[_Target],
    strata: np.ndarray,
    counts: np.ndarray,
    seed: int,
) -> list[LayerProbe]:
    """Probe every layer for targets that share their folds; items are sorted by group."""
    if not targets:
        return []
    folds = grouped_folds([str(one) for one in strata], group, n_folds=N_FOLDS, seed=seed)
    dealt = [_dealt(one, group, seed) for one in targets]
    both = [*targets, *dealt]
    read = [
        _score_parts(one, predicted, folds, group, counts.shape[1])
        for one, predicted in zip(both, _predictions(features, both, folds), strict=True)
    ]
    once = np.ones((1, counts.shape[1]))
    probes = []
    for number, one in enumerate(targets):
        draws = _scores(*read[number], counts)
        low, high = np.nanpercentile(draws, (5, 95), axis=0)
        probes.append(
            LayerProbe(
                name=one.name,
                family=one.family,
                measure=one.measure,
                chance=one.chance,
                n_items=int(np.count_nonzero(one.weights)),
                n_groups=len(np.unique(group[one.weights > 0])),
                scores=_scores(*read[number], once)[0],
                low=low,
                high=high,
                permuted=_scores(*read[len(targets) + number], once)[0],
                draws=draws,
            )
        )
    return probes


def _dealt(target: _Target, group: np.ndarray, seed: int) -> _Target:
    """Deal the known values anew, those of a group staying side by side."""
    known = np.flatnonzero(target.weights)
    n_groups = int(group.max()) + 1
    turn = np.random.default_rng(seed).permutation(n_groups)[group[known]]
    drawn = known[np.argsort(turn, kind="stable")]
    values, weights = target.values.copy(), target.weights.copy()
    values[known], weights[known] = target.values[drawn], target.weights[drawn]
    return replace(target, values=values, weights=weights)


def _predictions(
    features: np.ndarray, targets: Sequence[_Target], folds: np.ndarray
) -> list[np.ndarray]:
    """Read each target from each layer, fold by fold [each shape=(N, L, Y)]."""
    n_items, n_layers, _ = features.shape
    read = [np.full((n_items, n_layers, one.values.shape[1]), np.nan) for one in targets]
    # Targets that the same items have are read at once.
    together: dict[bytes, list[int]] = {}
    for number, one in enumerate(targets):
        together.setdefault(one.weights.tobytes(), []).append(number)
    for layer in range(n_layers):
        for fold in np.unique(folds):
            held, rest = folds == fold, folds != fold
            train, test = _components(features[rest, layer], features[held, layer])
            for numbers in together.values():
                values = np.hstack([targets[n].values for n in numbers])[rest]
                widths = [targets[n].values.shape[1] for n in numbers]
                owner = np.repeat(np.arange(len(numbers)), widths)
                weights = targets[numbers[0]].weights[rest]
                predicted = _ridge(train, values, weights, folds[rest], owner, test)
                for position, number in enumerate(numbers):
                    read[number][held, layer] = predicted[:, owner == position]
    return read


def _components(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading principal components of standardised features [shape=(n, P), (m, P)].

    Mean, scale and components are those of the training items alone.
    """
    train, test = train.astype(np.float64), test.astype(np.float64)
    in_use = ~np.isnan(train).all(axis=0)
    train, test = train[:, in_use], test[:, in_use]
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale[scale <= 1e-9 * np.abs(mean)] = np.inf  # constant: it says nothing
    train, test = (np.nan_to_num((x - mean) / scale) for x in (train, test))
    if len(train) <= train.shape[1]:
        values, vectors = np.linalg.eigh(train @ train.T)
    else:
        values, vectors = np.linalg.eigh(train.T @ train)
    kept = np.flatnonzero(values > LEAST_EIGENVALUE * values[-1])[-MOST_COMPONENTS:]
    values, vectors = values[kept], vectors[:, kept]
    if len(train) <= train.shape[1]:
        vectors = train.T @ (vectors / np.sqrt(values))
    return train @ vectors, test @ vectors


def _ridge(
    train: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    owner: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """Read the columns of several targets by ridges, each with the penalty that its folds choose.

    Parameters
    ----------
    train : np.ndarray [shape=(n, P)]
    values : np.ndarray [shape=(n, Y)]
    weights : np.ndarray [shape=(n,)]
    folds : np.ndarray of int [shape=(n,)]
        Each is predicted from the others, to choose the penalty.
    owner : np.ndarray of int [shape=(Y,)]
        The target that a column belongs to.
    test : np.ndarray [shape=(m, P)]

    Returns
    -------
    np.ndarray [shape=(m, Y)]
        NaN where no training item has the targets.
    """
    if not weights.any():
        return np.full((len(test), values.shape[1]), np.nan)
    errors = np.zeros((len(PENALTIES), values.shape[1]))
    for fold in np.unique(folds):
        held, rest = folds == fold, folds != fold
        if weights[rest].any():
            predicted = _ridge_path(train[rest], values[rest], weights[rest], train[held])
            errors += np.tensordot(np.square(predicted - values[held]), weights[held], (1, 0))
    by_target = np.stack([errors[:, owner == one].sum(axis=1) for one in range(owner.max() + 1)])
    chosen = np.argmin(by_target, axis=1)[owner]
    path = _ridge_path(train, values, weights, test)
    return path[chosen, :, np.arange(values.shape[1])].T


def _ridge_path(
    train: np.ndarray, values: np.ndarray, weights: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict with every penalty, from one decomposition [shape=(len(PENALTIES), m, Y)]."""
    share = weights / weights.sum()
    middle, level = share @ train, share @ values
    centred = train - middle
    weighted = centred * share[:, None]
    variance, axes = np.linalg.eigh(weighted.T @ centred)
    along = axes.T @ (weighted.T @ (values - level))  # (P, Y)
    penalties = np.array(PENALTIES)[:, None] * max(variance.sum() / max(1, len(variance)), 1e-30)
    slopes = along / (np.maximum(variance, 0) + penalties)[..., None]
    return (test - middle) @ axes @ slopes + level


def _score_parts(
    target: _Target, predicted: np.ndarray, folds: np.ndarray, group: np.ndarray, n_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a score is a ratio of, summed over the items of each group.

    For R² the error that the reading saves and the error of the mean of the training folds; for
    labels the items that were right and all items of each label (those whose label the training
    folds lack are wrong: left out, they would raise the score of a rare label's rivals above
    chance).

    Returns
    -------
    np.ndarray [shape=(G, L, C)], np.ndarray [shape=(G, C)]
    """
    values, known = target.values, target.weights > 0
    if target.measure == R_SQUARED:
        mean = np.zeros_like(values)
        for fold in np.unique(folds):
            trained = known & (folds != fold)
            mean[folds == fold] = values[trained].mean(axis=0) if trained.any() else np.nan
        whole = np.square(values - mean)
        part = whole[:, None] - np.square(values[:, None] - predicted)
    else:
        whole = values
        is_right = np.argmax(predicted, axis=2) == np.argmax(values, axis=1)[:, None]
        part = is_right[..., None] * whole[:, None]
    answered = known & ~np.isnan(predicted).any(axis=(1, 2))
    return (
        _sums(part[answered], group[answered], n_groups),
        _sums(whole[answered], group[answered], n_groups),
    )


def _sums(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    total = np.zeros((n_groups, *values.shape[1:]))
    np.add.at(total, group, values)
    return total


def _scores(part: np.ndarray, whole: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean over labels of part over whole, for each resample [shape=(R, L)].

    A label of which a resample has no item does not count in it; NaN where none has any.
    """
    above = np.tensordot(counts, part, (1, 0))  # (R, L, C)
    below = (counts @ whole)[:, None]  # (R, 1, C)
    ratio = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    n_labels = np.sum(below > 0, axis=2).astype(float)  # (R, 1)
    return ratio.sum(axis=2) / np.where(n_labels > 0, n_labels, np.nan)
