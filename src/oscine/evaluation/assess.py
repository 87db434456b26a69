"""Every question that labels can ask, asked of every kind of vector, on the same splits.

In come labelled items, their vectors by kind of feature, and the columns that say what belongs
together; out comes an `Evaluation`: numbers, and findings in plain words about what the numbers
cannot show. Called by the steps; the report draws it.

Axes: N items, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sklearn.cluster import KMeans

from oscine.embedding.intervals import spread
from oscine.evaluation.features import MFCC, OURS, compared_within
from oscine.evaluation.items import SESSION_COLUMNS, Groups, Item, group_items
from oscine.evaluation.layer_report import LayerReport
from oscine.evaluation.listening import BACKGROUND_ONLY, Alternative, Listener
from oscine.evaluation.probes import (
    ClusterAgreement,
    MeanInterval,
    NeighbourVotes,
    OneAgainstRest,
    Retrieval,
    cluster_agreement,
    few_labels,
    interval_of_difference,
    nearest_neighbour_labels,
    one_against_another,
    one_against_rest,
    retrieval,
)
from oscine.evaluation.splits import Duplicate, find_confounds, find_duplicates
from oscine.evaluation.verification import PairComparison, verification
from oscine.model.geometry import unit_rows

INDIVIDUAL_COLUMNS = ("individual", "caller", "bird", "animal")
"""Questions for which pairs of items are compared: the same individual or not?"""
CONFOUNDING_COLUMNS = (*SESSION_COLUMNS, "source", "recorder", "microphone", "device", "lab")
"""Columns of a table that are held against the labels though nobody named them."""
MOST_CONTROLLED = 400
"""Items that are heard under every condition: more would take long."""
MOST_PAIRED = 30
"""Labels that are held against each other, two by two."""
MOST_FOR_REGRET = MOST_WITH_PATCHES = 1500
T = TypeVar("T")

FEW = (OURS, MFCC)
"""Kinds that are asked what few labels are enough for, and how likely chance is among pairs."""
N_PERMUTATIONS = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class KindScore:
    """One kind of vector on one question.

    Attributes
    ----------
    mean_average_precision, precision_at_1, r_precision : float
        Retrieval among items of other groups.
    neighbour_accuracy, neighbour_balanced_accuracy : float or None
        Votes of the nearest neighbours; None where the groups are too few for folds.
    rest_average_precision, rest_roc_auc : float or None
        Each label against the rest, mean over labels.
    random_split_average_precision : float
        Retrieval among all other items, the own recording included: the difference is leakage.
    lead, neighbour_lead : MeanInterval or None
        Of the model over this kind, in average precision and in votes: 90 % interval over groups.
    """

    mean_average_precision: float
    precision_at_1: float
    r_precision: float
    neighbour_accuracy: float | None
    neighbour_balanced_accuracy: float | None
    rest_average_precision: float | None
    rest_roc_auc: float | None
    random_split_average_precision: float
    lead: MeanInterval | None
    neighbour_lead: MeanInterval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScore:
    """One label against the rest, by the model."""

    label: str
    n_items: int
    average_precision: float
    roc_auc: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FewLabelsScore:
    """What a few examples of each label are enough for: balanced accuracy over draws."""

    kind: str
    method: str
    n_shots: int
    n_labels: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairScore:
    """Same or different individual, by one kind of vector, over one set of pairs.

    ``pairs`` is ``all``, ``within sessions`` or ``across sessions``; AUC and equal error rate are
    means over individuals; the curve is over all pairs. An interval from ten individuals on, below
    that a permutation p.
    """

    kind: str
    pairs: str
    roc_auc: float
    equal_error_rate: float
    n_individuals: int
    n_sessions: int
    n_same_pairs: int
    n_different_pairs: int
    low: float | None
    high: float | None
    p_value: float | None
    note: str
    by_individual: dict[str, float]
    false_accept: list[float]
    false_reject: list[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlScore:
    """One kind of vector on one question, under one condition.

    Attributes
    ----------
    kind, condition : str
    snr_db : float or None
        None where no noise was added.
    n_items : int
    mean_average_precision : float or None
        Retrieval among items of other groups; None for kinds that only individuals are compared by.
    cluster_agreement : float or None
        Adjusted mutual information with the labels of as many clusters as there are labels
        (k-means).
    roc_auc, equal_error_rate : float or None
        Of pairs of individuals, across sessions where they are known; mean over individuals.
    """

    kind: str
    condition: str
    snr_db: float | None
    n_items: int
    mean_average_precision: float | None
    cluster_agreement: float | None
    roc_auc: float | None
    equal_error_rate: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Regret:
    """What the choice without labels costs: the best choice by these labels scores so much more.

    Attributes
    ----------
    readout, measure : str
    chosen, best : str
        Settings.
    chosen_score, best_score : float
    regret : float
        Share of the best score that is missing.
    n_alternatives : int
    """

    readout: str
    measure: str
    chosen: str
    best: str
    chosen_score: float
    best_score: float
    regret: float
    n_alternatives: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is known about one question.

    Attributes
    ----------
    question : str
        A column of the label tables.
    n_items, n_groups : int
    counts : dict of str to int
        Items of each label.
    n_unanswered : int
        Items whose label occurs in no other group: nothing can be asked of them.
    kinds : dict of str to KindScore
    labels : list of LabelScore
    paired_labels : list of P str
        The most frequent ones.
    label_pairs : list of P lists of P float or None
        ROC AUC of each of them against each other one alone; None against itself.
    confusion_labels : list of C str
    confusion : list of C lists of C float
        Votes of the model's neighbours, by true label (row) and answer (column).
    few_labels : list of FewLabelsScore
    pairs : list of PairScore
        Where the question is the individual.
    sound_types : ClusterAgreement or None
        Of the events that the labels cover.
    controls : list of ControlScore
        At most `MOST_CONTROLLED` of the items, plain, in noise, and their backgrounds alone.
    regrets : list of Regret
    problems : list of str
        What could not be asked, and why.
    """

    question: str
    n_items: int
    n_groups: int
    counts: dict[str, int]
    n_unanswered: int
    kinds: dict[str, KindScore]
    labels: list[LabelScore]
    paired_labels: list[str]
    label_pairs: list[list[float | None]]
    confusion_labels: list[str]
    confusion: list[list[float]]
    few_labels: list[FewLabelsScore]
    pairs: list[PairScore]
    sound_types: ClusterAgreement | None
    controls: list[ControlScore]
    regrets: list[Regret]
    problems: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What the labels can tell about the frozen model, and what they cannot.

    Attributes
    ----------
    n_items, n_recordings : int
    answers : list of Answer
    findings : list of str
        What the scores may be due to, before anything else: labels that coincide with recordings
        or sessions, one sound under two names.
    layers : LayerReport or None
        Where in the model things are known.
    not_evaluated : list of str
        Columns that were read and not asked.
    problems : list of str
        Rows, paths and times that could not be used.
    """

    n_items: int
    n_recordings: int
    answers: list[Answer]
    findings: list[str]
    layers: LayerReport | None
    not_evaluated: list[str]
    problems: list[str]


def assess(
    items: Sequence[Item],
    vectors: Mapping[str, np.ndarray],
    questions: Sequence[str],
    columns: Sequence[str],
    *,
    picture: Callable[[int], np.ndarray],
    types: str | None = None,
    sound_types: Mapping[str, tuple[np.ndarray, Sequence[str]] | None] | None = None,
    listener: Listener | None = None,
    layers: Callable[[Groups], LayerReport] | None = None,
    problems: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Ask all questions.

    Parameters
    ----------
    items : sequence of N Item
    vectors : mapping of str to np.ndarray [shape=(N, D)]
        By kind of feature; the model's is ``model``.
    questions, columns : sequence of str
        Columns of the tables that are asked, and that say what belongs together.
    picture : callable
        Gives the log-mel of an item [shape=(T, F)]: duplicates are listened to.
    types : str, optional
        Individuals are compared among items that this column says the same of.
    sound_types : mapping of str to (clusters, labels), optional
        By question: the sound type of each labelled event, and its label.
    listener : Listener, optional
        Hears the items under other conditions, and with other readouts.
    layers : callable, optional
        Asks every layer, given which items belong together.
    problems : sequence of str
        What stood in the way before.
    seed : int
    progress : callable, optional
        Told the questions done, their number, and the one at hand.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        A question or column is none of the tables.
    """
    known = sorted({column for one in items for column in one.labels})
    for name in [*questions, *columns, *([types] if types else [])]:
        if name not in known:
            raise ValueError(
                f"the label tables have no column {name!r}; they have {', '.join(known)}"
            )
    apart = group_items(items, columns)
    contents = [_content(one) for one in items]
    duplicates = find_duplicates(contents, apart.split, vectors[OURS], picture)
    groups = group_items(items, columns, duplicates)
    answers = []
    n_steps = len(questions) + (layers is not None)
    for number, question in enumerate(questions):
        if progress is not None:
            progress(number, n_steps, question)
        typed = (sound_types or {}).get(question)
        answers.append(_answer(question, items, vectors, groups, types, typed, listener, seed))
    if progress is not None:
        progress(len(questions), n_steps, "layers")
    found = None if layers is None else layers(groups)
    if progress is not None:
        progress(n_steps, n_steps, "")
    asked = {*questions, *columns, *([types] if types else [])}
    return Evaluation(
        n_items=len(items),
        n_recordings=len(set(groups.recordings.tolist())),
        answers=answers,
        findings=[
            *_confounds(items, questions, columns, groups),
            *_said_of_duplicates(items, duplicates),
        ],
        layers=found,
        not_evaluated=[name for name in known if name not in asked],
        problems=list(problems),
    )


def _content(item: Item) -> str:
    return ":".join(str(part) for part in item.interval.content_key)


def _confounds(
    items: Sequence[Item], questions: Sequence[str], columns: Sequence[str], groups: Groups
) -> list[str]:
    """Say which labels coincide with a recording, a session, or a source."""
    said = {name: [one.labels.get(name) for one in items] for name in questions}
    places: dict[str, list[str | None]] = {"recording": [str(n) for n in groups.recordings]}
    known = {column for one in items for column in one.labels}
    also = [name for name in CONFOUNDING_COLUMNS if name in known]
    for name in dict.fromkeys([*columns, *also]):
        if name.lower() in {*SESSION_COLUMNS, *CONFOUNDING_COLUMNS} and name not in questions:
            places[name] = [one.labels.get(name) for one in items]
    return [one.sentence for one in find_confounds(said, places)]


def _said_of_duplicates(items: Sequence[Item], duplicates: Sequence[Duplicate]) -> list[str]:
    sentences = []
    for one in duplicates:
        first, second = items[one.first], items[one.second]
        how = "the same bytes" if one.kind == "exact" else f"agreement {one.agreement:.2f}"
        contradiction = _contradiction(first, second)
        sentences.append(
            f"{first.name} and {second.name} are one sound ({how}): kept on one side"
            + (f"; yet {contradiction}" if contradiction else "")
        )
    return sentences


def _contradiction(first: Item, second: Item) -> str:
    differing = [
        f"{column} is {first.labels[column]!r} in one and {second.labels[column]!r} in the other"
        for column in INDIVIDUAL_COLUMNS
        if column in first.labels
        and column in second.labels
        and first.labels[column] != second.labels[column]
    ]
    return ", ".join(differing)


def _answer(
    question: str,
    items: Sequence[Item],
    vectors: Mapping[str, np.ndarray],
    groups: Groups,
    types: str | None,
    sound_types: tuple[np.ndarray, Sequence[str]] | None,
    listener: Listener | None,
    seed: int,
) -> Answer:
    """Ask one question of the items that have a label for it."""
    numbers = np.array([n for n, one in enumerate(items) if question in one.labels], np.int64)
    labels = [items[n].labels[question] for n in numbers]
    own = groups.of(numbers)
    features = {kind: rows[numbers] for kind, rows in vectors.items()}
    counts = Counter(labels)
    problems: list[str] = []

    def asked(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except ValueError as error:  # such as: no label is in two groups
            if str(error) not in problems:
                problems.append(str(error))
            return None

    def of_each(ask: Callable[..., Any]) -> dict[str, Any]:
        return {kind: asked(lambda x=x: ask(x, labels, own.split)) for kind, x in features.items()}

    found, votes, rest = map(of_each, (retrieval, nearest_neighbour_labels, one_against_rest))
    ours, our_votes, our_rest = found[OURS], votes[OURS], rest[OURS]
    paired, areas = asked(
        lambda: one_against_another(features[OURS], labels, own.split, MOST_PAIRED)
    ) or ((), np.empty((0, 0)))
    pairs: list[PairScore] = []
    kind_of = None
    if question.lower() in INDIVIDUAL_COLUMNS:
        kind_of = [items[n].labels.get(types, "") if types else "" for n in numbers]
        compared: Mapping[str, np.ndarray] = features
        if listener is not None and listener.has_individuals:
            raw = listener.individuals(numbers.tolist())
            compared = {kind: compared_within(kind, rows, kind_of) for kind, rows in raw.items()}
        for kind, rows in compared.items():
            pairs += asked(lambda k=kind, x=rows: _pairs(k, x, labels, own, kind_of, seed)) or []
    controls: list[ControlScore] = []
    regrets: list[Regret] = []
    patches = None
    if listener is not None and len(numbers) <= MOST_WITH_PATCHES:
        patches = listener.patches(numbers.tolist())
    if listener is not None and ours is not None:
        controls = _controls(listener, numbers, labels, own, kind_of, seed)
        regrets = _regrets(listener, numbers, labels, own, kind_of, seed)
        problems += _said_of_controls(controls)
    return Answer(
        question=question,
        n_items=len(labels),
        n_groups=len(set(own.split.tolist())),
        counts=dict(sorted(counts.items())),
        n_unanswered=len(labels) if ours is None else ours.n_unanswered,
        # Whether retrieval can be asked depends on labels and groups alone: for all or for none.
        kinds={} if ours is None else _kinds(features, labels, own.split, found, votes, rest),
        labels=[] if our_rest is None else _label_scores(our_rest),
        paired_labels=list(paired),
        label_pairs=[[None if np.isnan(area) else area for area in row] for row in areas.tolist()],
        confusion_labels=[] if our_votes is None else list(our_votes.labels),
        confusion=[] if our_votes is None else our_votes.confusion.tolist(),
        few_labels=[
            FewLabelsScore(
                kind=kind,
                method=one.method,
                n_shots=one.n_shots,
                n_labels=len(one.labels),
                mean=one.mean,
                low=one.low,
                high=one.high,
            )
            for kind in FEW
            if kind in features
            for one in asked(
                lambda k=kind: few_labels(
                    features[k],
                    labels,
                    own.split,
                    seed=seed,
                    patches=patches if k == OURS else None,
                )
            )
            or ()
        ],
        pairs=pairs,
        sound_types=None if sound_types is None else cluster_agreement(*sound_types),
        controls=controls,
        regrets=regrets,
        problems=problems,
    )


def _kinds(
    features: Mapping[str, np.ndarray],
    labels: list[str],
    split: np.ndarray,
    found: Mapping[str, Retrieval],
    votes: Mapping[str, NeighbourVotes | None],
    rests: Mapping[str, OneAgainstRest | None],
) -> dict[str, KindScore]:
    """Gather the scores of every kind, and how far the model is ahead of it."""
    alone = np.arange(len(labels))
    scores = {}
    for kind, x in features.items():
        one, vote, rest = found[kind], votes[kind], rests[kind]
        is_other, our_vote = kind != OURS, votes[OURS]
        scores[kind] = KindScore(
            mean_average_precision=one.mean_average_precision,
            precision_at_1=one.mean_precision_at_1,
            r_precision=one.mean_r_precision,
            neighbour_accuracy=None if vote is None else vote.accuracy,
            neighbour_balanced_accuracy=None if vote is None else vote.balanced_accuracy,
            rest_average_precision=None if rest is None else rest.macro_average_precision,
            rest_roc_auc=None if rest is None else rest.macro_roc_auc,
            random_split_average_precision=retrieval(x, labels, alone).mean_average_precision,
            lead=_lead(found[OURS].average_precision, one.average_precision, split[one.queries])
            if is_other
            else None,
            neighbour_lead=_lead(our_vote.right, vote.right, split[vote.queries])
            if is_other and vote is not None and our_vote is not None
            else None,
        )
    return scores


def _lead(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray) -> MeanInterval:
    return interval_of_difference(ours[None], theirs[None], groups)


def _label_scores(rest: OneAgainstRest) -> list[LabelScore]:
    return [
        LabelScore(label=label, n_items=int(n), average_precision=float(ap), roc_auc=float(auc))
        for label, n, ap, auc in zip(
            rest.labels, rest.n_items, rest.average_precision, rest.roc_auc, strict=True
        )
    ]


def _controls(
    listener: Listener,
    numbers: np.ndarray,
    labels: list[str],
    groups: Groups,
    types: list[str] | None,
    seed: int,
) -> list[ControlScore]:
    """Score some of the items under every condition; `types` where individuals are compared."""
    some = np.array(spread(range(len(numbers)), MOST_CONTROLLED, seed))
    owners = None if types is None else [labels[n] for n in some]
    scores = []
    for heard in listener.conditions(numbers[some].tolist(), owners):
        kept = some[heard.kept]
        said, own = [labels[n] for n in kept], groups.of(kept)
        kind_of = None if types is None else [types[n] for n in kept]
        for kind in dict.fromkeys([*heard.kinds, *heard.individuals]):
            found = error_rate = agreement = pooled = None
            if kind in heard.kinds:
                rows = heard.kinds[kind]
                found = _or_none(lambda x=rows, y=said, z=own: retrieval(x, y, z.split))
                agreement = _k_means_agreement(rows, said, seed)
            if kind in heard.individuals and kind_of is not None:
                ready = compared_within(kind, heard.individuals[kind], kind_of)
                pooled, error_rate = _pooled(ready, said, own, kind_of, seed)
            scores.append(
                ControlScore(
                    kind=kind,
                    condition=heard.name,
                    snr_db=heard.snr_db,
                    n_items=len(kept),
                    mean_average_precision=found and found.mean_average_precision,
                    cluster_agreement=agreement,
                    roc_auc=pooled,
                    equal_error_rate=error_rate,
                )
            )
    return scores


def _said_of_controls(controls: Sequence[ControlScore]) -> list[str]:
    """Say which control could not be made."""
    conditions = {one.condition for one in controls}
    if BACKGROUND_ONLY not in conditions:
        return ["no background to test: no item has 50 quiet frames near it"]
    return []


def _pooled(
    vectors: np.ndarray, individuals: list[str], groups: Groups, types: list[str], seed: int
) -> tuple[float | None, float | None]:
    """Return AUC and equal error rate of pairs, across sessions where they are known."""
    found = _or_none(
        lambda: verification(
            vectors,
            individuals,
            groups.recordings,
            groups.session,
            types=types,
            seed=seed,
            n_permutations=0,
        )
    )
    if found is None:
        return None, None
    one = found.overall if groups.session is None else found.across_sessions
    return (None, None) if one is None else (one.pooled_roc_auc, one.pooled_equal_error_rate)


def _regrets(
    listener: Listener,
    numbers: np.ndarray,
    labels: list[str],
    groups: Groups,
    types: list[str] | None,
    seed: int,
) -> list[Regret]:
    """Hold what was chosen without labels against the best by these labels."""
    some = np.array(spread(range(len(numbers)), MOST_FOR_REGRET, seed))
    said, own, asked = [labels[n] for n in some], groups.of(some), numbers[some].tolist()
    kinds = [
        (one, found.mean_average_precision)
        for one, vectors in listener.alternatives(asked)
        if (found := _or_none(lambda x=vectors: retrieval(x, said, own.split))) is not None
    ]
    individuals = []
    if types is not None:
        kind_of = [types[n] for n in some]
        for one, vectors in listener.individual_alternatives(asked):
            pooled, _ = _pooled(compared_within(OURS, vectors, kind_of), said, own, kind_of, seed)
            if pooled is not None:
                individuals.append((one, pooled))
    scored = [("kinds", "mAP", kinds), ("individuals", "ROC AUC", individuals)]
    return [
        found
        for readout, measure, scores in scored
        if (found := _regret(readout, measure, scores)) is not None
    ]


def _regret(
    readout: str, measure: str, scores: Sequence[tuple[Alternative, float]]
) -> Regret | None:
    chosen = next(((one, score) for one, score in scores if one.is_chosen), None)
    if chosen is None:
        return None
    best, best_score = max(scores, key=lambda one: one[1])
    return Regret(
        readout=readout,
        measure=measure,
        chosen=chosen[0].name,
        best=best.name,
        chosen_score=chosen[1],
        best_score=best_score,
        regret=1 - chosen[1] / best_score if best_score else 0.0,
        n_alternatives=len(scores),
    )


def _k_means_agreement(vectors: np.ndarray, labels: list[str], seed: int) -> float | None:
    """Return the adjusted mutual information of labels and as many clusters."""
    rows, n_labels = unit_rows(vectors), len(set(labels))
    if not 1 < n_labels < len(rows):
        return None
    found = KMeans(n_labels, random_state=seed).fit_predict(rows)
    return cluster_agreement(found, labels).every_item.adjusted_mutual_information


def _or_none(ask: Callable[[], T]) -> T | None:
    """Return an answer, or None where the items left are too few to ask."""
    try:
        return ask()
    except ValueError:
        return None


def _pairs(
    kind: str,
    vectors: np.ndarray,
    individuals: list[str],
    groups: Groups,
    types: list[str] | None,
    seed: int,
) -> list[PairScore]:
    """Compare pairs of individuals: all, within sessions, and across them."""
    found = verification(
        vectors,
        individuals,
        groups.recordings,
        groups.session,
        types=types,
        seed=seed,
        n_permutations=N_PERMUTATIONS if kind in FEW else 0,
    )
    sets = {
        "all": found.overall,
        "within sessions": found.within_sessions,
        "across sessions": found.across_sessions,
    }
    return [_pair_score(kind, name, one) for name, one in sets.items() if one is not None]


def _pair_score(kind: str, pairs: str, one: PairComparison) -> PairScore:
    return PairScore(
        kind=kind,
        pairs=pairs,
        roc_auc=one.pooled_roc_auc,
        equal_error_rate=one.pooled_equal_error_rate,
        n_individuals=len(one.individuals),
        n_sessions=one.n_sessions,
        n_same_pairs=one.n_same_pairs,
        n_different_pairs=one.n_different_pairs,
        low=one.interval.low if one.interval else None,
        high=one.interval.high if one.interval else None,
        p_value=one.p_value,
        note=one.note,
        by_individual={bird.name: bird.roc_auc for bird in one.individuals},
        false_accept=one.false_accept.tolist(),
        false_reject=one.false_reject.tolist(),
    )
