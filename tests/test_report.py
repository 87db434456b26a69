"""The report of an evaluation: the page says all that is known, and only that."""

import json
import re
from dataclasses import asdict, replace
from html import escape
from html.parser import HTMLParser

import pytest
from scipy.special import ndtri

from oscine.atlas import figures
from oscine.evaluation import report
from oscine.evaluation.assess import (
    Answer,
    ControlScore,
    Evaluation,
    FewLabelsScore,
    KindScore,
    LabelScore,
    PairScore,
    Regret,
)
from oscine.evaluation.features import KIND_READOUT, KINDS, MFCC, OURS, RANDOM
from oscine.evaluation.layer_report import LayerReport, LayerScore
from oscine.evaluation.probes import Agreement, ClusterAgreement, MeanInterval
from oscine.evaluation.report import NUMBERS, REPORT, write_evaluation
from oscine.model.geometry import Geometry

HOSTILE = '<b onmouseover="x">caw & $price</b>'
VOID = {"meta", "link", "br", "img", "input", "hr"}


def kind_score(lead):
    return KindScore(
        mean_average_precision=0.5,
        precision_at_1=0.6,
        r_precision=0.4,
        neighbour_accuracy=None,
        neighbour_balanced_accuracy=0.55,
        rest_average_precision=0.45,
        rest_roc_auc=0.7,
        random_split_average_precision=0.75,
        lead=lead,
        neighbour_lead=lead,
    )


def pair_score(kind, pairs, **changes):
    score = PairScore(
        kind=kind,
        pairs=pairs,
        roc_auc=0.9,
        equal_error_rate=0.123,
        n_individuals=2,
        n_sessions=4,
        n_same_pairs=20,
        n_different_pairs=2000,
        low=None,
        high=None,
        p_value=0.031,
        note="2 individuals: too few for an interval",
        by_individual={HOSTILE: 0.8, "Necklace": 1.0},
        false_accept=[0.0, 0.05, 0.2, 1.0],
        false_reject=[1.0, 0.3, 0.1, 0.0],
    )
    return replace(score, **changes)


NOTHING = Answer(
    question="nothing",
    n_items=3,
    n_groups=1,
    counts={"a": 1, "b": 2},
    n_unanswered=3,
    kinds={},
    labels=[],
    paired_labels=[],
    label_pairs=[],
    confusion_labels=[],
    confusion=[],
    few_labels=[],
    pairs=[],
    sound_types=None,
    controls=[],
    regrets=[],
    problems=[],
)

FULL = Answer(
    question=HOSTILE,
    n_items=1234,
    n_groups=12,
    counts={HOSTILE: 1000, "jay": 200, "unique": 34},
    n_unanswered=34,
    kinds={
        OURS: kind_score(None),
        RANDOM: kind_score(MeanInterval(mean=0.2, low=0.1, high=0.3, n_groups=9)),
        MFCC: kind_score(MeanInterval(mean=0.01, low=-0.02, high=0.04, n_groups=9)),
    },
    labels=[
        LabelScore(label=HOSTILE, n_items=1000, average_precision=0.91, roc_auc=0.5),
        LabelScore(label="jay", n_items=200, average_precision=0.31, roc_auc=0.5),
    ],
    paired_labels=[HOSTILE, "jay", "unique"],
    label_pairs=[[None, 0.871, 0.5], [0.871, None, 0.62], [0.5, 0.62, None]],
    confusion_labels=[HOSTILE, "jay", "unique"],
    confusion=[[3.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
    few_labels=[
        FewLabelsScore(
            kind=kind, method="ridge", n_shots=n_shots, n_labels=2, mean=0.6, low=0.5, high=0.7
        )
        for kind in (OURS, MFCC)
        for n_shots in (1, 5)
    ],
    pairs=[pair_score(kind, pairs) for kind in KINDS for pairs in ("all", "across sessions")],
    sound_types=ClusterAgreement(
        every_item=Agreement(
            adjusted_mutual_information=0.11, adjusted_rand_index=0.12, v_measure=0.13, purity=0.14
        ),
        clustered_only=None,
        n_items=50,
        n_clusters=4,
        n_labels=2,
        noise_share=0.25,
    ),
    controls=[
        ControlScore(
            kind=kind,
            condition=condition,
            snr_db=snr_db,
            n_items=321,
            mean_average_precision=None if kind == KIND_READOUT else 0.471,
            cluster_agreement=None if kind == KIND_READOUT else -0.012,
            roc_auc=0.832,
            equal_error_rate=0.2,
        )
        for kind in (OURS, MFCC, KIND_READOUT)
        for condition, snr_db in (
            ("clean", None),
            ("noise at +10 dB", 10.0),
            ("noise at -10 dB", -10.0),
            ("background only", None),
        )
    ],
    regrets=[
        Regret(
            readout="kinds",
            measure="mAP",
            chosen="layers 1, 2",
            best="layers 0",
            chosen_score=0.41,
            best_score=0.43,
            regret=0.0465,
            n_alternatives=112,
        )
    ],
    problems=["no label can give ten examples <each>"],
)

LAYERS = LayerReport(
    layers=[0, 1, 2],
    scores=[
        LayerScore(
            name=name,
            family=family,
            measure=measure,
            chance=chance,
            n_items=90,
            n_groups=30,
            scores=[0.25, 0.5, 0.375],
            low=[0.125, 0.375, 0.25],
            high=[0.375, 0.625, 0.5],
            permuted=[0.0, 0.0, chance],
            is_read=name != "attack",
        )
        for name, family, measure, chance in [
            ("centroid", "spectral", "R²", 0.0),
            ("attack", "temporal", "R²", 0.0),
            (HOSTILE, "label", "balanced accuracy", 0.5),
        ]
    ],
    geometry=[
        Geometry(
            mean_cosine=0.5,
            effective_rank=20.0,
            first_share=0.25,
            leading_share=0.75,
            rogue_ratio=9.0,
        )
    ]
    * 3,
    verdict=f"The claim does not hold: {HOSTILE}",
    problems=["f0: fewer than 10 groups"],
)
EVALUATION = Evaluation(
    n_items=1240,
    n_recordings=99,
    answers=[FULL, NOTHING],
    findings=[f"{HOSTILE} coincides with the recorder"],
    layers=LAYERS,
    not_evaluated=["licence", HOSTILE],
    problems=["labels.csv: row 3 <cannot> be read"],
)


class Page(HTMLParser):
    """The elements of a page and its text; an element left open or closed twice is an error."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def with_class(self, name):
        return [one for _, one in self.elements if name in (one.get("class") or "").split()]


@pytest.fixture
def drawn(tmp_path):
    def draw(*answers, **changes):
        evaluation = replace(EVALUATION, **changes)
        if answers:
            evaluation = replace(evaluation, answers=list(answers))
        return Page(write_evaluation(tmp_path, evaluation).read_text(encoding="utf-8"))

    return draw


def numbered_answer(n_labels):
    """An answer of many labels, the later ones more frequent, each always told right."""
    names = [f"label {number:03d}" for number in range(n_labels)]
    return replace(
        NOTHING,
        n_items=10_000,
        counts={name: 1 + number for number, name in enumerate(names)},
        labels=[
            LabelScore(label=name, n_items=1, average_precision=0.5, roc_auc=0.5) for name in names
        ],
        confusion_labels=names,
        confusion=[[float(row == column) for column in range(n_labels)] for row in range(n_labels)],
    )


def test_page_says_every_question_finding_problem_and_column(drawn):
    text = drawn().text
    for said in (
        *EVALUATION.findings,
        *EVALUATION.problems,
        *EVALUATION.not_evaluated,
        *FULL.problems,
        f"Question: {HOSTILE}",
        "Question: nothing",
        "1,234 items in 12 groups, 3 labels; of 34 items nothing could be asked",
        "2 individuals: too few for an interval",
    ):
        assert said in text, said


def test_findings_come_before_the_first_score(drawn):
    text = drawn().text
    assert text.index(EVALUATION.findings[0]) < text.index("mean average precision")


def test_text_of_labels_never_becomes_an_element(drawn):
    page = drawn()
    assert page.all("b") == []
    assert all("onmouseover" not in attributes for _, attributes in page.elements)
    assert all(escape(name) not in page.text for name in (HOSTILE, *FULL.problems))


def test_page_fetches_nothing(drawn, tmp_path):
    page = drawn()
    html = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<script|file:", html)
    outside = ("src", "href", "xlink:href", "data", "action")
    targets = {one[name] for _, one in page.elements for name in outside if name in one}
    assert targets <= {"data:,", "#question-1", "#question-2"}


def test_links_lead_to_sections_and_no_name_is_given_twice(drawn):
    page = drawn()
    names = [one["id"] for _, one in page.elements if "id" in one]
    assert len(names) == len(set(names))
    assert {one["href"][1:] for one in page.all("a")} <= set(names)


def test_every_drawing_says_what_it_shows(drawn):
    drawings = [one for one in drawn().all("svg") if one.get("role") == "img"]
    assert len(drawings) == 15
    assert all(one["aria-label"] for one in drawings)


def test_only_an_interval_around_zero_is_hollow_and_no_difference(drawn):
    page = drawn(replace(NOTHING, kinds=FULL.kinds))
    assert len(page.with_class("hollow")) == 1
    assert "no difference [−0.020, +0.040]" in page.text
    assert "+0.200 [+0.100, +0.300]" in page.text


def test_leakage_is_what_a_random_split_gains(drawn):
    text = drawn(replace(NOTHING, kinds=FULL.kinds)).text
    assert text.count("+0.25") == 3 * 3  # for each kind: in the table, in the figure, in its title


def test_confusion_gives_shares_of_the_true_label(drawn):
    page = drawn(FULL)
    shares = [one["style"] for one in page.all("td") if "style" in one]
    # Of four items, three right; of two, one right and one told as a label that is never asked.
    assert shares[:4] == ["--share:0.75", "--share:0.25", "--share:0.50", "--share:0.50"]


def test_each_two_labels_are_held_against_each_other(drawn):
    page = drawn(FULL)
    shares = [one["style"] for one in page.all("td") if "style" in one]
    # Chance is as dark as can be; no label is held against itself.
    held = ["--share:0.26", "--share:1.00", "--share:0.76"]
    assert sorted(shares[4:]) == sorted(held * 2)
    assert "One label against another" in page.text
    assert "One label against another" not in drawn(NOTHING).text


def test_confusion_keeps_the_most_frequent_labels_and_counts_the_others(drawn):
    page = drawn(replace(numbered_answer(33), labels=[]))
    assert "label 002" not in page.text
    assert page.text.count("label 003") == page.text.count("label 032") == 2
    assert "The 30 most frequent labels; 3 more are left out." in page.text


def test_many_labels_are_drawn_in_several_figures(drawn):
    page = drawn(replace(numbered_answer(65), confusion=[], confusion_labels=[]))
    titles = re.findall(r"\((\d+ to \d+ of 65)\)", page.text)
    assert titles == ["1 to 30 of 65", "31 to 60 of 65", "61 to 65 of 65"]
    assert len([one for one in page.with_class("mark") if "tint-vermilion" in one["class"]]) == 78


def test_long_lists_are_folded(drawn):
    few, many = (drawn(findings=[f"finding {n}" for n in range(count)]) for count in (8, 12))
    assert len(many.all("details")) == len(few.all("details")) + 1
    assert "4 more findings" in many.text
    assert "finding 11" in many.text


def test_marks_of_det_curves_stand_at_the_equal_error_rate(drawn):
    perfect = pair_score(RANDOM, "all", false_accept=[0.0, 0.0, 1.0], false_reject=[1.0, 0.0, 0.0])
    page = drawn(replace(NOTHING, pairs=[pair_score(OURS, "all", by_individual={}), perfect]))
    # Both errors are equal on the line from (.05, .3) to (.2, .1), 5/7 of the way; a curve
    # without errors has no mark.
    low, high = ndtri(report.LOWEST_RATE), ndtri(report.HIGHEST_RATE)
    share = (ndtri(0.05 + 0.15 * 5 / 7) - low) / (high - low)
    left, right, top, bottom = figures.PANEL_LEFT, figures.WIDTH - 12, 8, figures.PANEL_HEIGHT
    places = [
        tuple(map(float, re.findall(r"[\d.]+", one["transform"])))
        for one in page.with_class("mark")
        if "translate(0.0 0.0)" not in one["transform"]
    ]
    expected = (left + share * (right - left), bottom - share * (bottom - top))
    assert places[0] == pytest.approx(expected, abs=0.06)


def test_interval_or_permutation_p_whichever_there_is(drawn):
    with_p = pair_score(OURS, "all")
    with_interval = replace(with_p, p_value=None, low=0.81, high=0.95)
    with_neither = replace(with_p, p_value=None)
    assert "p = 0.031" in drawn(replace(NOTHING, pairs=[with_p])).text
    assert "0.81 to 0.95" in drawn(replace(NOTHING, pairs=[with_interval])).text
    assert not re.search(r"p = |0\.81 to", drawn(replace(NOTHING, pairs=[with_neither])).text)


@pytest.mark.parametrize("missing", ["kinds", "labels", "confusion", "few_labels", "pairs"])
def test_a_part_without_content_has_no_heading(drawn, missing):
    whole = drawn(FULL)
    page = drawn(replace(FULL, **{missing: getattr(NOTHING, missing)}))
    assert len(page.all("h3")) < len(whole.all("h3"))


def test_nothing_known_gives_no_empty_parts(drawn):
    page = drawn(NOTHING, findings=[], not_evaluated=[], problems=[], layers=None)
    assert page.all("h3") == page.all("svg") == page.all("table") == page.all("details") == []
    assert len(page.all("h2")) == 3  # what was asked, findings, the question
    assert "No label was found to coincide" in page.text


def test_same_evaluation_gives_the_same_bytes_and_whole_files(tmp_path):
    path = write_evaluation(tmp_path / "reports", EVALUATION)
    first = path.read_bytes()
    assert write_evaluation(tmp_path / "reports", EVALUATION).read_bytes() == first
    assert path == tmp_path / "reports" / REPORT
    assert sorted(one.name for one in path.parent.iterdir()) == [REPORT, NUMBERS]
    assert json.loads((path.parent / NUMBERS).read_text()) == asdict(EVALUATION)


def test_a_name_that_is_no_valid_text_can_be_written(drawn):
    assert "row ? of" in drawn(problems=["row \udcff of a table"]).text


def test_layers_are_drawn_by_family_under_the_verdict(drawn):
    text = drawn(FULL).text
    places = [text.index(words) for words in ("known", LAYERS.verdict, "spectral", "0.38 to 0.62")]
    assert places == sorted(places)
    assert "not read" in text
    assert "f0: fewer than 10 groups" in text
    assert LAYERS.verdict not in drawn(FULL, layers=None).text


def test_controls_are_drawn_against_noise_and_tabulated(tmp_path):
    page = write_evaluation(tmp_path, EVALUATION).read_text(encoding="utf-8")
    section = page[page.index("In noise, and without the sound itself") :]
    drawn = section[: section.index("What choosing without labels costs")]
    assert drawn.count("<figure>") == 3
    for said in ("clean", "+10", "−10", "background only (321 items)", "0.471"[:4], "ROC AUC"):
        assert said in drawn
    # The readout for kinds stands among individuals only.
    assert drawn.count(f'<th scope="row">{KIND_READOUT}</th>') == 1
    regret = section[section.index("What choosing without labels costs") :]
    for said in ("layers 1, 2", "layers 0", ">4.7<", ">112<"):
        assert said in regret


def test_what_is_no_number_is_null_in_the_json(tmp_path):
    broken = replace(LAYERS, geometry=[replace(LAYERS.geometry[0], mean_cosine=float("nan"))])
    write_evaluation(tmp_path, replace(EVALUATION, layers=broken))
    text = (tmp_path / NUMBERS).read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["layers"]["geometry"][0]["mean_cosine"] is None
