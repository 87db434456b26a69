"""What an evaluation leaves behind: ``evaluation.json`` for programs, ``evaluation.html`` for eyes.

In comes an `Evaluation`; out go two files. The page needs no network and nothing beside it; its
figures are drawn as SVG in its own colours, so they follow light and dark. Called by the steps.

Axes: C labels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from scipy.special import ndtri

from oscine.atlas.figures import (
    LONGEST_NAME,
    Axis,
    Curve,
    Mark,
    Row,
    Sign,
    axis_from,
    curve_chart,
    line_through,
    mark_at,
    row_chart,
    shortened,
)
from oscine.atlas.pictures import asset
from oscine.evaluation.assess import (
    FEW,
    Answer,
    ControlScore,
    Evaluation,
    KindScore,
    PairScore,
    Regret,
)
from oscine.evaluation.features import (
    KIND_READOUT,
    LOG_MEL,
    LOG_MEL_PLAIN,
    LOG_MEL_SCALED,
    MFCC,
    MFCC_PLAIN,
    MFCC_SCALED,
    OURS,
    PLAIN_MEAN,
    RANDOM,
)
from oscine.evaluation.layer_report import LayerReport, LayerScore
from oscine.evaluation.listening import CLEAN
from oscine.evaluation.probes import MeanInterval
from oscine.workspace.arrays import NewFile

REPORT, NUMBERS = "evaluation.html", "evaluation.json"

MOST_CONFUSED = 30
"""Labels of a confusion matrix: as many as can be read."""
ROWS_OF_FIGURE = 30
"""Labels of one figure; the next go into another beside it."""
OPEN_SENTENCES = 8
"""Sentences of a list that are seen before it is unfolded."""
LOWEST_RATE, HIGHEST_RATE = 0.001, 0.8
"""Error rates that a DET plot shows."""
RATE_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)

NONE = "–"

CONTROLLED = (
    ("mean_average_precision", "Retrieval", "mAP"),
    ("cluster_agreement", "Clusters", "adjusted mutual information"),
    ("roc_auc", "Same or different individual", "ROC AUC"),
)
"""Measures of the controls: field, name, axis."""


SIGNS = {
    OURS: Sign(shape="circle", tint="vermilion"),
    PLAIN_MEAN: Sign(shape="square", tint="orange", dashes="7 3"),
    RANDOM: Sign(shape="diamond", tint="ink", dashes="2 3"),
    LOG_MEL: Sign(shape="up", tint="blue"),
    LOG_MEL_PLAIN: Sign(shape="down", tint="sky", dashes="7 3"),
    MFCC: Sign(shape="plus", tint="green"),
    MFCC_PLAIN: Sign(shape="saltire", tint="purple", dashes="7 3"),
    KIND_READOUT: Sign(shape="circle", tint="orange", dashes="2 3"),
    LOG_MEL_SCALED: Sign(shape="up", tint="sky", dashes="2 3"),
    MFCC_SCALED: Sign(shape="plus", tint="purple", dashes="2 3"),
}
TARGET_SIGNS = (
    Sign(shape="circle", tint="vermilion"),
    Sign(shape="square", tint="blue", dashes="7 3"),
    Sign(shape="up", tint="green"),
    Sign(shape="diamond", tint="orange", dashes="2 3"),
    Sign(shape="down", tint="purple"),
    Sign(shape="plus", tint="sky", dashes="7 3"),
    Sign(shape="saltire", tint="ink"),
)
"""Of what the layers of a model are asked for, one after another in each figure."""
ANOTHER = Sign(shape="square", tint="ink", dashes="2 3")
CHANCE = Sign(shape="bar", tint="ink")
CHANCE_CURVE = Sign(shape="none", tint="ink", dashes="2 4")
GROUPED = Sign(shape="circle", tint="ink")
RANDOM_SPLIT = Sign(shape="diamond", tint="blue")


def write_evaluation(folder: Path, evaluation: Evaluation) -> Path:
    """Write the report of an evaluation; the same evaluation gives the same bytes.

    Parameters
    ----------
    folder : Path
    evaluation : Evaluation

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    with NewFile(folder / NUMBERS) as path:
        numbers = json.dumps(_finite(asdict(evaluation)), indent=2, allow_nan=False)
        path.write_text(numbers + "\n", encoding="utf-8")
    with NewFile(folder / REPORT) as path:
        # File names need not be valid text; what cannot be written shows as a question mark.
        path.write_bytes(_page(evaluation).encode("utf-8", errors="replace"))
    return folder / REPORT


def _finite(value: Any) -> Any:
    """Return a value in which null stands for what is no number: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- The page, from top to bottom ----------------------------------------------------------


def _page(evaluation: Evaluation) -> str:
    room = files("oscine.evaluation")
    style = asset("page.css") + asset("figures.css")
    page = room / "report.html"
    answers = list(enumerate(evaluation.answers, 1))
    return Template(page.read_text(encoding="utf-8")).substitute(
        style=style + (room / "report.css").read_text(encoding="utf-8"),
        summary=_summary(evaluation),
        asked=_asked(evaluation.answers),
        findings=_findings(evaluation.findings),
        answers="".join(_answer(number, answer) for number, answer in answers),
        layers="" if evaluation.layers is None else _layers(evaluation.layers),
        leakage=_leakage(evaluation.answers),
        left=_not_evaluated(evaluation.not_evaluated) + _problems(evaluation.problems),
    )


def _summary(evaluation: Evaluation) -> str:
    counts = {
        "items with labels": evaluation.n_items,
        "recordings": evaluation.n_recordings,
        "questions": len(evaluation.answers),
        "findings": len(evaluation.findings),
        "problems": len(evaluation.problems),
    }
    return "".join(
        f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in counts.items()
    )


def _asked(answers: Sequence[Answer]) -> str:
    sentences = "".join(
        f'<li><a href="#question-{number}">{escape(answer.question)}</a>: {_extent(answer)}</li>'
        for number, answer in enumerate(answers, 1)
    )
    hint = (
        "A group is what a split keeps on one side: a recording with its duplicates, and its "
        "session where one is given. Beside the model stand its own plain mean and controls that "
        "learned nothing. Those called plain are means as they come; the others stand behind the "
        "same readout as the model (activity weights, centring, whitening)."
    )
    return f'<ul class="sentences">{sentences}</ul><p class="hint">{hint}</p>'


def _extent(answer: Answer) -> str:
    sentence = (
        f"{_count(answer.n_items, 'item')} in {_count(answer.n_groups, 'group')}, "
        f"{_count(len(answer.counts), 'label')}"
    )
    if answer.n_unanswered:
        sentence += (
            f"; of {_count(answer.n_unanswered, 'item')} nothing could be asked, for no other "
            "group has their label"
        )
    return sentence + "."


def _findings(findings: Sequence[str]) -> str:
    if not findings:
        return (
            "<p>No label was found to coincide with a recording, session or source, and no sound "
            "under two names.</p>"
        )
    return _sentences(findings, "findings")


def _answer(number: int, answer: Answer) -> str:
    parts = (
        _kinds(answer.kinds),
        _confusion(answer),
        _labels(answer),
        _label_pairs(answer),
        _few_labels(answer),
        _pairs(answer.pairs),
        _sound_types(answer),
        _controls(answer.controls),
        _regrets(answer.regrets),
        _part("What could not be asked", _sentences(answer.problems, "reasons")),
    )
    return (
        f'<section id="question-{number}"><h2>Question: {escape(answer.question)}</h2>'
        f"<p>{_extent(answer)}</p>{''.join(parts)}</section>"
    )


def _kinds(kinds: dict[str, KindScore]) -> str:
    """Draw and tabulate how each kind of vector finds items of the same label."""
    if not kinds:
        return ""
    scores = [
        Row(
            name=kind,
            marks=[Mark(at=one.mean_average_precision, sign=_sign(kind))],
            note=f"{one.mean_average_precision:.2f}",
            span=(0, one.mean_average_precision),
        )
        for kind, one in kinds.items()
    ]
    figures = _figure(
        "Retrieval: mean average precision",
        row_chart("Mean average precision of each kind of vector", axis_from("mAP", 0, 1), scores),
    )
    leads = [(kind, one.lead) for kind, one in kinds.items() if one.lead is not None]
    if leads:
        figures += _figure(
            "Lead of the model over each, with 90 % interval over groups", _lead_chart(leads)
        )
    hint = (
        "Each item searches all items of other groups for its label. Hollow: the interval "
        "includes zero, which is no difference."
    )
    return _part("Which kind of vector finds the label", _figures(figures), hint) + _kinds_table(
        kinds
    )


def _lead_chart(leads: Sequence[tuple[str, MeanInterval]]) -> str:
    rows = [
        Row(
            name=kind,
            marks=[Mark(at=lead.mean, sign=_sign(kind), is_hollow=not lead.excludes_zero)],
            note=_signed(lead.mean) if lead.excludes_zero else "no difference",
            span=(lead.low, lead.high),
        )
        for kind, lead in leads
    ]
    low = min(0.0, *(lead.low for _, lead in leads))
    high = max(0.0, *(lead.high for _, lead in leads))
    axis = axis_from("mAP of the model less that of the control", low, high, reference=0)
    return row_chart("Lead of the model in mean average precision", axis, rows)


def _kinds_table(kinds: dict[str, KindScore]) -> str:
    columns = (
        "kind of vector",
        "mAP",
        "lead of the model",
        "first",
        "R-precision",
        "votes",
        "balanced votes",
        "lead in votes",
        "rest AP",
        "rest AUC",
        "random-split mAP",
        "leakage",
    )
    rows = [
        (
            kind,
            _score(one.mean_average_precision),
            _lead(one.lead),
            _score(one.precision_at_1),
            _score(one.r_precision),
            _score(one.neighbour_accuracy),
            _score(one.neighbour_balanced_accuracy),
            _lead(one.neighbour_lead),
            _score(one.rest_average_precision),
            _score(one.rest_roc_auc),
            _score(one.random_split_average_precision),
            _signed(one.random_split_average_precision - one.mean_average_precision),
        )
        for kind, one in kinds.items()
    ]
    hint = (
        "First: the nearest item has the label. R-precision: share of right ones among as many as "
        "there are. Votes: the label that the nearest neighbours vote for, per item and with equal "
        "weight a label. Rest: each label against all others, mean over labels. Leakage: what mAP "
        "gains if items of the own group may be found. Brackets: 90 % interval over groups."
    )
    return _part("All figures", _table(columns, rows), hint)


def _confusion(answer: Answer) -> str:
    """Tabulate what the model's neighbours answer, as shares of each true label."""
    votes = np.array(answer.confusion)  # (C, C)
    asked = [number for number, row in enumerate(votes) if row.sum() > 0]
    if not asked:
        return ""
    names = answer.confusion_labels
    asked.sort(key=lambda number: -answer.counts[names[number]])
    shown = sorted(asked[:MOST_CONFUSED])
    shares = votes[shown] / votes[shown].sum(axis=1, keepdims=True)
    shares = np.column_stack([shares[:, shown], 1 - shares[:, shown].sum(axis=1)])
    chosen = [names[number] for number in shown]
    hint = (
        "Votes of the model's neighbours in other groups: % of the items of the true label (row, "
        "with its number of items) that were given the label of the column."
        + _left_out(len(asked), len(shown))
    )
    cells = [[_cell(share) for share in row] for row in shares]
    return _part(
        "Confusion", _matrix("true label", chosen, [*chosen, "any other"], answer, cells), hint
    )


def _label_pairs(answer: Answer) -> str:
    """Tabulate how well each two labels are told apart, when it is one of the two."""
    names = answer.paired_labels
    if len(names) < 3:  # of two, each against the rest says it
        return ""
    cells = [[_pair_cell(area) for area in row] for row in answer.label_pairs]
    hint = (
        "If it is one of the two, which? ROC AUC (%) of the difference of the model's likenesses "
        "to the means of both labels in other groups; 50 is chance, dark is hard to tell apart."
        + _left_out(len(answer.labels), len(names))
    )
    return _part("One label against another", _matrix("label", names, names, answer, cells), hint)


def _left_out(n_all: int, n_shown: int) -> str:
    if n_all == n_shown:
        return ""
    return f" The {n_shown} most frequent labels; {n_all - n_shown} more are left out."


def _matrix(
    corner: str,
    names: Sequence[str],
    columns: Sequence[str],
    answer: Answer,
    cells: Sequence[Sequence[str]],
) -> str:
    """Tabulate labels against labels, each row with the number of its items."""
    head = "".join(f'<th scope="col"><span>{_name(name)}</span></th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{_name(name)} <small>{answer.counts[name]:,}</small></th>'
        f"{''.join(row)}</tr>"
        for name, row in zip(names, cells, strict=True)
    )
    return (
        f'<div class="table"><table class="confusion"><thead><tr><th scope="col">{corner}</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _pair_cell(area: float | None) -> str:
    if area is None:
        return "<td></td>"
    share = min(1.0, 2 * (1 - area))  # of the way from sure to chance
    strong = ' class="strong"' if share > 0.55 else ""
    return f'<td{strong} style="--share:{share:.2f}">{round(100 * area)}</td>'


def _cell(share: float) -> str:
    percent = round(100 * share)
    if not percent:
        return "<td></td>"
    strong = ' class="strong"' if share > 0.55 else ""
    return f'<td{strong} style="--share:{share:.2f}">{percent}</td>'


def _labels(answer: Answer) -> str:
    """Draw how well each label stands out, best first."""
    if not answer.labels:
        return ""
    best = sorted(answer.labels, key=lambda one: (-one.average_precision, one.label))
    rows = [
        Row(
            name=one.label,
            marks=[
                Mark(at=one.n_items / answer.n_items, sign=CHANCE),
                Mark(at=one.average_precision, sign=_sign(OURS)),
            ],
            note=f"{one.average_precision:.2f}, n = {one.n_items}",
        )
        for one in best
    ]
    hint = (
        "Average precision of the model's likeness to the mean of the label in other groups. "
        "Chance is the label's share of the items; n counts its items."
    )
    signs = _legend([("model", _sign(OURS)), ("chance", CHANCE)])
    figures = _row_figures(
        "Each label against the rest", axis_from("average precision", 0, 1), rows
    )
    return _part("Each label against the rest", signs + _figures(figures), hint)


def _few_labels(answer: Answer) -> str:
    """Draw accuracy against the number of examples, a panel for each way to learn."""
    if not answer.few_labels:
        return ""
    shots = sorted({one.n_shots for one in answer.few_labels})
    n_labels = {one.n_shots: one.n_labels for one in answer.few_labels}
    kinds = list(dict.fromkeys(one.kind for one in answer.few_labels))
    across = Axis(
        name="examples of each label (labels that have enough)",
        low=-0.5,
        high=len(shots) - 0.5,
        ticks=[(place, f"{n} ({n_labels[n]})") for place, n in enumerate(shots)],
    )
    chance = [(place, 1 / n_labels[n]) for place, n in enumerate(shots)]
    figures = ""
    for method in dict.fromkeys(one.method for one in answer.few_labels):
        curves = [Curve(name="chance", sign=CHANCE_CURVE, points=chance)]
        for position, kind in enumerate(kinds):
            # Apart by a little, so that bars do not hide each other.
            shift = 0.12 * (position - (len(kinds) - 1) / 2)
            scores = [
                (shots.index(one.n_shots) + shift, one)
                for one in answer.few_labels
                if (one.kind, one.method) == (kind, method)
            ]
            points = [(place, one.mean) for place, one in scores]
            bars = [(place, one.low, one.high) for place, one in scores]
            curves.append(
                Curve(name=kind, sign=_sign(kind), points=points, marked=points, bars=bars)
            )
        figures += _figure(
            f"By {method}",
            curve_chart(
                f"Balanced accuracy against examples of each label, by {method}",
                across,
                axis_from("balanced accuracy", 0, 1),
                curves,
            ),
        )
    hint = (
        "Balanced accuracy on groups that no example came from: mean over draws, bars from the "
        "5th to the 95th percentile. Fewer labels have many examples, so chance rises too."
    )
    signs = _legend(
        [*((kind, _sign(kind)) for kind in kinds), ("chance", CHANCE_CURVE)], has_lines=True
    )
    return _part("How few labels are enough", signs + _figures(figures), hint)


def _pairs(pairs: Sequence[PairScore]) -> str:
    """Draw the errors of telling same from different, and tabulate them."""
    if not pairs:
        return ""
    kinds = list(dict.fromkeys(one.kind for one in pairs))
    sets = list(dict.fromkeys(one.pairs for one in pairs))
    ordered = [one for name in sets for one in pairs if one.pairs == name]
    figures = "".join(
        _figure(
            f"Pairs: {name}",
            _det_panel(name, [one for one in pairs if one.pairs == name]),
        )
        for name in sets
    )
    hint = (
        "Detection error trade-off over all pairs together, both axes in normal deviates; lower "
        "left is better. A mark stands where both errors are equal, on the dotted diagonal. The "
        f"table gives means over individuals instead. Rates below {LOWEST_RATE:.1%} lie outside."
    )
    signs = _legend([(kind, _sign(kind)) for kind in kinds], has_lines=True)
    return (
        _part("Same or different individual: DET curves", signs + _figures(figures), hint)
        + _pairs_table(ordered)
        + _individuals(pairs, sets)
    )


def _det_panel(name: str, pairs: Sequence[PairScore]) -> str:
    ticks = [(float(ndtri(rate)), f"{100 * rate:g}") for rate in RATE_TICKS]
    low, high = float(ndtri(LOWEST_RATE)), float(ndtri(HIGHEST_RATE))
    across = Axis(name="false accept (%)", low=low, high=high, ticks=ticks)
    up = Axis(name="false reject (%)", low=low, high=high, ticks=ticks)
    curves = [_det_curve(one) for one in pairs]
    says = f"False reject against false accept, pairs: {name}"
    return curve_chart(says, across, up, curves, has_diagonal=True)


def _det_curve(one: PairScore) -> Curve:
    accept, reject = np.array(one.false_accept), np.array(one.false_reject)
    equal = float(ndtri(np.interp(0, accept - reject, accept)))
    deviates = ndtri(np.clip([accept, reject], 1e-6, 1 - 1e-6))
    return Curve(
        name=one.kind,
        sign=_sign(one.kind),
        points=list(zip(*deviates.tolist(), strict=True)),
        marked=[(equal, equal)] if math.isfinite(equal) else [],
    )


def _pairs_table(pairs: Sequence[PairScore]) -> str:
    columns = (
        "pairs",
        "kind of vector",
        "AUC",
        "90 % interval or p",
        "EER (%)",
        "individuals",
        "sessions",
        "same pairs",
        "different pairs",
        "notes",
    )
    rows = [
        (
            one.pairs,
            one.kind,
            _score(one.roc_auc),
            _certainty(one),
            f"{100 * one.equal_error_rate:.1f}",
            f"{one.n_individuals:,}",
            f"{one.n_sessions:,}",
            f"{one.n_same_pairs:,}",
            f"{one.n_different_pairs:,}",
            one.note,
        )
        for one in pairs
    ]
    hint = (
        "AUC and equal error rate (EER) are means over the individuals that have same pairs, each "
        "with equal weight. From ten individuals on, a 90 % interval of AUC over individuals; "
        "below that, p: how often an AUC as high comes about if individuals are permuted over "
        "whole sessions."
    )
    return _part("Same or different individual: all figures", _table(columns, rows), hint)


def _certainty(one: PairScore) -> str:
    if one.low is not None and one.high is not None:
        return f"{one.low:.2f} to {one.high:.2f}"
    return NONE if one.p_value is None else f"p = {one.p_value:.3g}"


def _individuals(pairs: Sequence[PairScore], sets: Sequence[str]) -> str:
    """Draw the AUC of each individual by a few kinds, and fold a table of all kinds below it."""
    kinds = list(dict.fromkeys(one.kind for one in pairs))
    drawn = [kind for kind in FEW if kind in kinds]
    figures, tables = "", ""
    for name in sets:
        scores = {one.kind: one.by_individual for one in pairs if one.pairs == name}
        individuals = sorted({who for one in scores.values() for who in one})
        rows = [
            Row(
                name=who,
                marks=[
                    Mark(at=scores[kind][who], sign=_sign(kind))
                    for kind in reversed(drawn)
                    if who in scores.get(kind, {})
                ],
                note=" / ".join(_score(scores.get(kind, {}).get(who)) for kind in drawn),
            )
            for who in individuals
        ]
        lowest = min([0.5, *(mark.at for row in rows for mark in row.marks)])
        figures += _row_figures(
            f"Pairs: {name}", axis_from("ROC AUC", lowest, 1, reference=0.5), rows
        )
        tables += _folded(
            f"Pairs {name}: {_count(len(individuals), 'individual')}, all kinds",
            _table(
                ("individual", *kinds),
                [
                    (who, *(_score(scores.get(kind, {}).get(who)) for kind in kinds))
                    for who in individuals
                ],
            ),
        )
    signs = _legend([(kind, _sign(kind)) for kind in drawn])
    hint = (
        "ROC AUC of the pairs that one individual takes part in; 0.5 is chance. In figures: "
        f"{escape(' / '.join(drawn))}."
    )
    return _part("By individual", signs + _figures(figures) + tables, hint)


def _sound_types(answer: Answer) -> str:
    one = answer.sound_types
    if one is None:
        return ""
    rows = [
        (
            name,
            _score(scores.adjusted_mutual_information),
            _score(scores.adjusted_rand_index),
            _score(scores.v_measure),
            _score(scores.purity),
        )
        for name, scores in (
            ("all", one.every_item),
            ("grouped only", one.clustered_only),
        )
        if scores is not None
    ]
    hint = (
        f"{_count(one.n_items, 'event')} with one of {_count(one.n_labels, 'label')} in "
        f"{_count(one.n_clusters, 'sound type')}, as they were found, before people edited any; "
        f"{one.noise_share:.0%} of the events are not grouped and count as one type of their own "
        "among all. AMI and ARI are 0 by chance; V-measure and purity grow with the number of "
        "types."
    )
    table = _table(("events", "AMI", "ARI", "V-measure", "purity"), rows)
    return _part("Agreement of sound types with the label", table, hint)


def _controls(controls: Sequence[ControlScore]) -> str:
    """Draw every measure against the signal-to-noise ratio, and tabulate all conditions."""
    figures, tables = "", ""
    for measure, name, axis in CONTROLLED:
        scores = {
            (one.kind, one.condition): value
            for one in controls
            if (value := getattr(one, measure)) is not None
        }
        if not scores:
            continue
        figures += _figure(name, _noise_chart(name, axis, measure, controls))
        conditions = [
            name
            for name in dict.fromkeys(one.condition for one in controls)
            if any(condition == name for _, condition in scores)
        ]
        n_items = {one.condition: one.n_items for one in controls}
        tables += _table(
            (axis, *(f"{name} ({n_items[name]:,} items)" for name in conditions)),
            [
                (kind, *(_score(scores.get((kind, name))) for name in conditions))
                for kind in dict.fromkeys(kind for kind, _ in scores)
            ],
        )
    if not figures:
        return ""
    kinds = list(dict.fromkeys(one.kind for one in controls))
    signs = _legend([(kind, _sign(kind)) for kind in kinds], has_lines=True)
    hint = (
        "Some of the items, each before the quiet frames of another recording, queries and gallery "
        "alike; the ratio is that of mean powers over the item. Agreement: that of the label with "
        "as many clusters as there are labels (k-means). Background only: quiet frames of the "
        "item's recording in its place; what is still found there is the place or the microphone, "
        "not the animal. Backgrounds swapped: each recording has the background of another "
        "individual, as loud as its own was."
    )
    return _part("In noise, and without the sound itself", signs + _figures(figures) + tables, hint)


def _noise_chart(name: str, axis: str, measure: str, controls: Sequence[ControlScore]) -> str:
    """Draw a measure, clean and then in more and more noise."""
    ratios = sorted({one.snr_db for one in controls if one.snr_db is not None}, reverse=True)
    places: dict[float | None, int] = {None: 0, **{db: n for n, db in enumerate(ratios, 1)}}
    ticks = [
        (0.0, "clean"),
        *((float(n), f"{db:+.0f}" if db else "0") for n, db in enumerate(ratios, 1)),
    ]
    across = Axis(
        name="signal-to-noise ratio (dB)",
        low=-0.3,
        high=len(ratios) + 0.3,
        ticks=[(place, said.replace("-", "−")) for place, said in ticks],
    )
    curves = []
    for kind in dict.fromkeys(one.kind for one in controls):
        points = sorted(
            (float(places[one.snr_db]), getattr(one, measure))
            for one in controls
            if one.kind == kind
            and getattr(one, measure) is not None
            and (one.snr_db is not None or one.condition == CLEAN)
        )
        if points:
            curves.append(Curve(name=kind, sign=_sign(kind), points=points, marked=points))
    lowest = min(y for curve in curves for _, y in curve.points)
    floor = 0.5 if measure == "roc_auc" else 0.0
    return curve_chart(f"{name} in noise", across, axis_from(axis, min(floor, lowest), 1), curves)


def _regrets(regrets: Sequence[Regret]) -> str:
    """Tabulate what choosing without labels costs."""
    rows = [
        (
            f"for {one.readout}",
            one.measure,
            one.chosen,
            _score(one.chosen_score),
            one.best,
            _score(one.best_score),
            f"{100 * one.regret:.1f}",
            f"{one.n_alternatives:,}",
        )
        for one in regrets
    ]
    if not rows:
        return ""
    columns = (
        "readout",
        "measure",
        "chosen without labels",
        "its score",
        "best by these labels",
        "its score ",
        "regret (%)",
        "alternatives",
    )
    hint = (
        "Readouts are chosen on the archive without labels. Regret is the share of the best score "
        "that is missing; the best one was found with these labels and flatters itself."
    )
    return _part("What choosing without labels costs", _table(columns, rows), hint)


def _layers(report: LayerReport) -> str:
    """Draw how well each layer is read, a panel for each family; the verdict comes first."""
    names = [str(layer) for layer in report.layers]
    across = Axis(
        name="layer (0: embedded patches)",
        low=-0.3,
        high=len(names) - 0.7,
        ticks=list(enumerate(names)),
    )
    figures = ""
    for family in dict.fromkeys(one.family for one in report.scores):
        members = [one for one in report.scores if one.family == family]
        for start in range(0, len(members), len(TARGET_SIGNS)):
            figures += _layer_panel(family, across, members[start : start + len(TARGET_SIGNS)])
    table = _table(
        ["target", "family", "measure", "items", "groups", "chance", *names, "interval of best"],
        [
            [
                one.name,
                one.family,
                one.measure,
                f"{one.n_items:,}",
                f"{one.n_groups:,}",
                _score(one.chance),
                *(_score(value) for value in one.scores),
                _best_interval(one),
            ]
            for one in report.scores
        ],
    )
    shape = _table(
        ["layer", "mean cosine", "effective rank", "first component", "first ten", "rogue ratio"],
        [
            [
                name,
                _score(one.mean_cosine),
                f"{one.effective_rank:.0f}",
                _score(one.first_share),
                _score(one.leading_share),
                f"{one.rogue_ratio:.0f}",
            ]
            for name, one in zip(names, report.geometry, strict=False)
        ],
    )
    hint = (
        "How well a ridge reads from each layer what was measured in the sounds (R², events of the "
        "archive) and what people called them (balanced accuracy), on recordings it was not fitted "
        "on. Bars: 90 % interval over groups. What no layer reads better than chance is left out "
        "of the verdict."
    )
    parts = [f'<p class="verdict">{escape(report.verdict)}</p>', _figures(figures), table]
    if report.geometry:
        parts.append(_folded("How the features of each layer lie", shape))
    parts.append(_sentences(report.problems, "thing that could not be asked"))
    return (
        '<section aria-labelledby="layers-heading"><h2 id="layers-heading">Layers</h2>'
        + _part("Where in the model things are known", "".join(parts), hint)
        + "</section>"
    )


def _layer_panel(family: str, across: Axis, members: Sequence[LayerScore]) -> str:
    """Draw the scores of some targets against the layer."""
    signs = list(zip(members, TARGET_SIGNS, strict=False))
    curves = []
    for position, (one, sign) in enumerate(signs):
        # Apart by a little, so that bars do not hide each other.
        shift = 0.07 * (position - (len(members) - 1) / 2)
        points = [(layer + shift, score) for layer, score in enumerate(one.scores)]
        ends = zip(points, one.low, one.high, strict=True)
        bars = [(x, low, high) for (x, _), low, high in ends]
        curves.append(Curve(name=one.name, sign=sign, points=points, marked=points, bars=bars))
    lowest = min(0.0, *(min(one.low) for one in members))
    measure = " / ".join(dict.fromkeys(one.measure for one in members))
    up = axis_from(measure, max(lowest, -0.5), 1, reference=0)
    drawing = curve_chart(f"{family}: {measure} of each layer", across, up, curves)
    return _figure(
        family, _legend([(one.name, sign) for one, sign in signs], has_lines=True) + drawing
    )


def _best_interval(one: LayerScore) -> str:
    if not one.is_read:
        return "not read"
    best = int(np.argmax(one.scores))
    return f"{_score(one.low[best])} to {_score(one.high[best])}"


def _leakage(answers: Sequence[Answer]) -> str:
    """Draw what each kind of vector gains if items of the own group may be found."""
    figures = ""
    for answer in answers:
        if not answer.kinds:
            continue
        both = {
            kind: (one.mean_average_precision, one.random_split_average_precision)
            for kind, one in answer.kinds.items()
        }
        rows = [
            Row(
                name=kind,
                marks=[Mark(at=grouped, sign=GROUPED), Mark(at=mixed, sign=RANDOM_SPLIT)],
                note=_signed(mixed - grouped),
                span=(grouped, mixed),
            )
            for kind, (grouped, mixed) in both.items()
        ]
        says = f"mAP of {answer.question} by grouped and by random split"
        figures += _figure(answer.question, row_chart(says, axis_from("mAP", 0, 1), rows))
    if not figures:
        return ""
    signs = _legend([("other groups only", GROUPED), ("random split", RANDOM_SPLIT)])
    return (
        '<section aria-labelledby="leakage-heading"><h2 id="leakage-heading">Leakage</h2>'
        '<p class="hint">Mean average precision if only items of other groups may be found, and '
        "if all others may, those of the own recording and session included. The difference is "
        "what the own recording and session give away; the scores above are without it.</p>"
        f"{signs}{_figures(figures)}</section>"
    )


def _not_evaluated(columns: Sequence[str]) -> str:
    if not columns:
        return ""
    return (
        '<section aria-labelledby="columns-heading"><h2 id="columns-heading">Not evaluated</h2>'
        f"<p>{_count(len(columns), 'column')} read and not asked: "
        f"{escape(', '.join(columns))}.</p></section>"
    )


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    listed = "".join(f"<li>{escape(one)}</li>" for one in problems)
    return (
        '<section aria-labelledby="problems-heading"><h2 id="problems-heading">Problems</h2>'
        + _folded(
            f"{_count(len(problems), 'problem')} with rows, paths or times of the tables",
            f'<ul class="sentences">{listed}</ul>',
        )
        + "</section>"
    )


# --- Pieces of the page --------------------------------------------------------------------


def _part(heading: str, body: str, hint: str = "") -> str:
    """Put a heading over what there is; nothing over nothing. The heading is HTML already."""
    if not body:
        return ""
    said = f'<p class="hint">{hint}</p>' if hint else ""
    return f'<div class="part"><h3>{heading}</h3>{said}{body}</div>'


def _figures(figures: str) -> str:
    return f'<div class="figures">{figures}</div>'


def _figure(title: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def _sentences(sentences: Sequence[str], noun: str) -> str:
    """List sentences, a long list folded after the first few."""
    items = [f"<li>{escape(one)}</li>" for one in sentences]
    first, rest = items[:OPEN_SENTENCES], items[OPEN_SENTENCES:]
    listed = f'<ul class="sentences">{"".join(first)}</ul>' if first else ""
    if rest:
        inside = f'<ul class="sentences">{"".join(rest)}</ul>'
        listed += _folded(f"{len(rest):,} more {noun}", inside)
    return listed


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td{_wraps(value)}>{escape(value)}</td>" for value in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="table"><table class="numbers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _wraps(value: str) -> str:
    return ' class="text"' if len(value) > 2 * LONGEST_NAME else ""


def _legend(signs: Iterable[tuple[str, Sign]], *, has_lines: bool = False) -> str:
    items = "".join(
        '<li><svg viewBox="-17 -8 34 16" aria-hidden="true">'
        f"{line_through([(-16, 0), (16, 0)], sign) if has_lines else ''}{mark_at(0, 0, sign)}</svg>"
        f"{escape(name)}</li>"
        for name, sign in signs
    )
    return f'<ul class="signs">{items}</ul>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _lead(lead: MeanInterval | None) -> str:
    if lead is None:
        return NONE
    # A third digit, for an end of an interval may lie close to zero.
    interval = f"[{_signed(lead.low, 3)}, {_signed(lead.high, 3)}]"
    return f"{_signed(lead.mean, 3) if lead.excludes_zero else 'no difference'} {interval}"


def _name(name: str) -> str:
    """Shorten a name to what a figure has room for; it is HTML then, the whole name its title."""
    if len(name) <= LONGEST_NAME:
        return escape(name)
    return f'<abbr title="{escape(name)}">{escape(shortened(name))}</abbr>'


def _row_figures(title: str, axis: Axis, rows: Sequence[Row]) -> str:
    """Draw rows in as many figures as they need."""
    figures = ""
    for start in range(0, len(rows), ROWS_OF_FIGURE):
        some = rows[start : start + ROWS_OF_FIGURE]
        more = len(rows) > len(some)
        which = f" ({start + 1} to {start + len(some)} of {len(rows)})" if more else ""
        figures += _figure(title + which, row_chart(f"{title}: {axis.name}{which}", axis, some))
    return figures


def _sign(kind: str) -> Sign:
    return SIGNS.get(kind, ANOTHER)
