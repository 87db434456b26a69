"""What a likeness is worth, crow or jay or neither, and the same bird: held against labels.

Four parts (``--parts``), each on trained and embedded workspaces of the real recordings
(``--workspaces``, one a seed; without it, those of ``frozen_neighbours.py`` are made first):

- ``percentiles``: the archive's recordings are split in halves 20 times; percentiles that are
  fitted on one half are asked for pairs of unrelated events of the other. If they mean what they
  say they are even: the Kolmogorov-Smirnov distance to that, over all pairs and over quarters by
  length, level and band; and with fewer recordings to fit on.
- ``which``: crows against other birds and against jays, from 1, 5 and 10 examples of each (of
  different recordings), 10 draws. Asked are all other clips: balanced accuracy between the two,
  the share that is accepted of each, and of birds of species that have no example. Beside it the
  same with MFCC statistics in place of vectors. Whole clips are asked; the archive's events say
  what is usual.
- ``same``: zebra finches, pairs of calls of different days or birds: equal error rate of the
  normalised score, of the cosine of both readouts, and of the same score on control features;
  where the percentiles of same and of different pairs lie; and with the archive's finches hidden.
- ``microphones``: two finches before one background, and one finch on two days before two, 10 dB
  below the call: where the percentiles lie, and how often it is said that the backgrounds alone
  are alike. A background is what is quiet in a recording of the archive: its first half behind one
  call, its second half behind the other.
- ``individuals``: how many putative individuals are found where it is known how many there are,
  and how the groups agree with them (adjusted Rand index).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frozen_neighbours import rounded, tape_of
from readout import made, whole
from scipy.stats import kstest
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from oscine.config import OscineConfig, read_config
from oscine.embedding.backgrounds import (
    LEAST_QUIET_FRAMES,
    Change,
    QuietFrames,
    background_shape,
    changed_excerpt,
)
from oscine.embedding.choice import find_backgrounds
from oscine.embedding.individual import (
    ExchangeSample,
    IndividualReadout,
    centred,
    draw_sample,
    fit_individual,
    individual_config,
)
from oscine.embedding.intervals import FrameInterval, fit_sample, frame_intervals
from oscine.embedding.readout import Readout
from oscine.evaluation.features import (
    MFCC,
    MFCC_PLAIN,
    OURS,
    RANDOM,
    as_heard,
    encoded,
    hear,
    individual_readers,
    kind_readers,
)
from oscine.model.autoencoder import Encoder
from oscine.model.geometry import unit_rows
from oscine.search.classes import ACCEPTED, which
from oscine.search.individuals import (
    Calls,
    Likeness,
    background_likeness,
    equal_error_rate,
    error_curve,
    group,
    same,
)
from oscine.search.similarity import Cohort, Sounds, described, stretch_traits
from oscine.steps.identifying import ALIKE
from oscine.workspace import Workspace

PARTS = ("percentiles", "which", "same", "microphones", "individuals")
N_HALVES, N_PAIRS, N_DRAWS = 20, 2000, 10
N_ASKED_PAIRS = 1200
"""Of finches, drawn at random: 3,400 there are."""
N_MICROPHONE_PAIRS, BEFORE_SNR_DB = 150, 10.0
EXAMPLES = (1, 5, 10)
BIRDS = (
    "species_inat",
    "field_xc",
    "xc_clips",
    "individual_zebra_finch",
    "individual_great_tit",
    "individual_bengalese_finch",
    "behaviour_house_sparrow",
)
BIRD_SOUNDS = ("chirping_birds", "rooster", "hen")
KNOWN_INDIVIDUALS = ("individual_zebra_finch", "individual_gibbon", "individual_siberian_jay")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--workspaces", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, default=Path("build/frozen_neighbours"))
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    arguments.data = Path(arguments.data)
    found: dict[str, list[Any]] = {part: [] for part in arguments.parts}
    for folder in arguments.workspaces or made(arguments):
        bench = Bench(Workspace(folder), arguments.data)
        for part in arguments.parts:
            print(f"{folder.name}: {part}", file=sys.stderr, flush=True)
            found[part].append(getattr(bench, part)())
    result = {part: over_seeds(each) for part, each in found.items()}
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


def over_seeds(each: Sequence[Any]) -> Any:
    """Return means of numbers over workspaces, and lists of what is no number."""
    first = each[0]
    if isinstance(first, dict):
        return {key: over_seeds([one[key] for one in each]) for key in first}
    if isinstance(first, float | int) and not isinstance(first, bool):
        return rounded(np.mean(each))
    return list(each) if len(each) > 1 else first


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clips:
    """Whole recordings with what people said of them."""

    intervals: list[FrameInterval]
    labels: list[dict[str, str]]

    def column(self, name: str) -> np.ndarray:
        """Return one label of each."""
        return np.array([one[name] for one in self.labels])

    @property
    def origins(self) -> np.ndarray:
        """What recording each clip was cut from."""
        return np.array([one["recording_id"] or one["path"] for one in self.labels])


class Bench:
    """One trained workspace."""

    def __init__(self, workspace: Workspace, data: Path) -> None:
        self.config = read_config(workspace.config_file, OscineConfig)
        vectors, events = workspace.vectors()
        with workspace.catalogue() as catalogue:
            self.recordings = catalogue.recordings()
            heard = catalogue.heard_events([one.event_id for one in events])
            windows = catalogue.windows()
            checkpoint = workspace.folder / catalogue.stage("pretrain").facts["checkpoint"]
            self.types = [one.cluster for one in heard]
        self.by_number = {row.recording_id: row for row in self.recordings}
        self.tape = tape_of(workspace, self.config)
        self.encoder = Encoder.load(checkpoint)
        self.readout = Readout.load(workspace.embeddings())
        self.events = frame_intervals(events, self.by_number)
        self.event_rows = events
        self.sample = fit_sample(
            self.events, frame_intervals(windows, self.by_number), self.readout.config
        )
        labels = {
            row["path"]: row for row in csv.DictReader((data / "labels.csv").open(encoding="utf-8"))
        }
        rows = [row for row in self.recordings if row.n_frames and row.path in labels]
        rows = [row for row in rows if not row.path.startswith("formats/")]
        self.clips = Clips(
            intervals=[whole(row) for row in rows], labels=[labels[row.path] for row in rows]
        )
        # Clips that were cut from one recording are one recording.
        origins = dict(zip((row.content_key for row in rows), self.clips.origins, strict=True))
        found = described(np.asarray(vectors), heard)
        self.of_events = replace(
            found, recordings=np.array([origins.get(key, key) for key in found.recordings])
        )

    @cached_property
    def individual(self) -> tuple[ExchangeSample, IndividualReadout]:
        """The readout for individuals, and what it was fitted on."""
        config = individual_config(self.readout.config)
        sample = draw_sample(
            self.tape,
            self.encoder,
            config,
            self.config.activity,
            self.events,
            self.types,
            self.recordings,
        )
        return sample, fit_individual(sample, self.encoder, config, "")

    def of_clips(self, vectors: np.ndarray) -> Sounds:
        """Return whole clips as sounds, with these vectors."""
        picture = self.config.picture
        inside: dict[int, list[tuple[float, float, float]]] = {}
        for one in self.event_rows:
            inside.setdefault(one.recording_id, []).append((one.low_hz, one.high_hz, one.level_db))
        rows = [one.recording for one in self.clips.intervals]
        band_hz = picture.low_hz, picture.high_hz
        return Sounds(
            vectors=vectors,
            traits=np.concatenate(
                [
                    stretch_traits(row.duration_s, inside.get(row.recording_id, []), band_hz)
                    for row in rows
                ]
            ),
            recordings=self.clips.origins,
            days=np.array([""] * len(rows)),
        )

    def percentiles(self) -> dict[str, Any]:
        """Fit on one half of the recordings, ask pairs of the other."""
        every = self.of_events
        names = np.unique(every.recordings)
        distances: dict[str, list[float]] = {}
        for n_fitted in (len(names) // 2, 100, 30):
            for split in range(N_HALVES):
                rng = np.random.default_rng(split)
                order = rng.permutation(names)
                fitted, asked = order[:n_fitted], order[len(names) // 2 :]
                cohort = Cohort(every.rows(np.flatnonzero(np.isin(every.recordings, fitted))))
                one, other = unrelated_pairs(every, asked, rng)
                shares = np.array(
                    [
                        found.share
                        for a, b in zip(one, other, strict=True)
                        if (found := cohort.percentiles(every.rows([a]), every.rows([b]))[0])
                    ]
                )
                key = f"{n_fitted} recordings"
                distances.setdefault(key, []).append(distance_to_even(shares))
                if n_fitted != len(names) // 2 or len(shares) < len(one):
                    continue
                for trait, name in ((0, "length"), (3, "level"), (2, "upper end of the band")):
                    lesser = np.minimum(every.traits[one, trait], every.traits[other, trait])
                    quarter = np.digitize(lesser, np.quantile(lesser, [0.25, 0.5, 0.75]))
                    worst = max(distance_to_even(shares[quarter == k]) for k in range(4))
                    distances.setdefault(f"worst quarter by {name}", []).append(worst)
        return {
            "recordings": len(names),
            "events": len(every),
            "pairs_asked": N_PAIRS,
            "kolmogorov_smirnov": {key: rounded(np.mean(x)) for key, x in distances.items()},
        }

    def which(self) -> dict[str, Any]:
        """Ask crow against jays and against other birds."""
        readers = kind_readers(
            hear(self.tape, self.sample, self.encoder, self.readout.config),
            self.encoder,
            self.readout,
        )
        clips = hear(self.tape, self.clips.intervals, self.encoder, self.readout.config)
        events = hear(self.tape, self.events, self.encoder, self.readout.config)
        part, label = self.clips.column("part"), self.clips.column("label")
        is_crow = self.clips.column("is_crow") == "1"
        is_corvid = self.clips.column("is_corvid") == "1"
        is_jay = np.char.find(np.char.lower(self.clips.column("common_name")), "jay") >= 0
        is_bird = (np.isin(part, BIRDS) | np.isin(label, BIRD_SOUNDS)) & ~is_corvid
        species = np.array([one["species"] or one["label"] for one in self.clips.labels])
        found: dict[str, Any] = {
            "clips": {
                "crow": int(is_crow.sum()),
                "jay": int(is_jay.sum()),
                "other birds": int(is_bird.sum()),
            }
        }
        for name in (OURS, MFCC, MFCC_PLAIN):
            of_clips, of_events = readers[name](clips), readers[name](events)
            if name == MFCC_PLAIN:
                mean, scale = of_events.mean(axis=0), of_events.std(axis=0) + 1e-9
                of_clips, of_events = (
                    unit_rows((one - mean) / scale) for one in (of_clips, of_events)
                )
            asked = self.of_clips(of_clips)
            cohort = Cohort(replace(self.of_events, vectors=of_events))
            found[name] = {
                f"{other}, {n} examples": self._draws(
                    asked, cohort, is_crow, is_other, is_bird, species, n
                )
                for other, is_other in (("jay", is_jay), ("other birds", is_bird))
                for n in EXAMPLES
            }
        return found

    def _draws(
        self,
        asked: Sounds,
        cohort: Cohort,
        is_crow: np.ndarray,
        is_other: np.ndarray,
        is_bird: np.ndarray,
        species: np.ndarray,
        n: int,
    ) -> dict[str, float]:
        scores: dict[str, list[float]] = {}
        for draw in range(N_DRAWS):
            rng = np.random.default_rng(draw)
            is_class = is_other
            if (is_other & is_bird).any():  # half of the species have no example
                names = rng.permutation(np.unique(species[is_other]))
                is_class = is_other & np.isin(species, names[: len(names) // 2])
            rows = np.concatenate(
                [drawn(one, asked.recordings, n, rng) for one in (is_crow, is_class)]
            )
            examples = asked.rows(rows)
            names = ["crow" if is_crow[row] else "other" for row in rows]
            is_new = ~np.isin(asked.recordings, examples.recordings)
            groups = {
                "crow": is_crow & is_new,
                "other": is_class & is_new,
                "unseen species": is_bird & ~is_class & is_new,
            }
            found = {
                kind: [
                    which(asked.rows([row]), examples, names, cohort)
                    for row in np.flatnonzero(mask)
                ]
                for kind, mask in groups.items()
            }
            right = [
                np.mean([one.classes[0].name == kind for one in found[kind]])
                for kind in ("crow", "other")
                if found[kind]
            ]
            if len(right) == 2:
                scores.setdefault("balanced_accuracy", []).append(float(np.mean(right)))
            for kind, each in found.items():
                if each:
                    accepted = np.mean([one.answer is not None for one in each])
                    scores.setdefault(f"accepted: {kind}", []).append(float(accepted))
            shares = [one.percentile.share for one in found["crow"] if one.percentile]
            others = [one.percentile.share for one in found["unseen species"] if one.percentile]
            if shares and others:
                known = np.repeat([1, 0], [len(shares), len(others)])
                area = roc_auc_score(known, [*shares, *others])
                scores.setdefault("auc: crow or unseen", []).append(float(area))
        return {
            "accepted_from": ACCEPTED,
            "draws": N_DRAWS,
            **{name: rounded(np.mean(each)) for name, each in scores.items()},
        }

    def same(self) -> dict[str, Any]:
        """Ask pairs of zebra finches, and pairs before exchanged backgrounds."""
        sample, individual = self.individual
        heard = hear(self.tape, self.events, self.encoder, individual.config)
        part = self.clips.column("part")
        rows = np.flatnonzero(part == "individual_zebra_finch")
        finches = [self.clips.intervals[row] for row in rows]
        birds, days = self.clips.column("individual")[rows], self.clips.column("session")[rows]
        calls_heard = hear(self.tape, finches, self.encoder, individual.config)
        kinds = self.of_clips(
            self.readout.vectors(
                encoded(
                    self.encoder,
                    hear(self.tape, self.clips.intervals, self.encoder, self.readout.config),
                    self.readout.config,
                )
            )
        ).rows(rows)
        one, other = np.triu_indices(len(rows), 1)
        is_asked = ~((birds[one] == birds[other]) & (days[one] == days[other]))
        one, other = one[is_asked], other[is_asked]
        chosen = np.random.default_rng(0).permutation(len(one))[:N_ASKED_PAIRS]
        one, other = one[chosen], other[chosen]
        is_same = birds[one] == birds[other]
        result: dict[str, Any] = {
            "calls": len(rows),
            "birds": len(np.unique(birds)),
            "same_pairs": int(is_same.sum()),
            "different_pairs": int((~is_same).sum()),
            "cosine, readout for kinds": errors(cosines(kinds.vectors, one, other), is_same),
        }
        is_finch = np.array([x.recording.path.split("/")[0] for x in self.events])
        is_finch = is_finch == "individual_zebra_finch"
        for name, reader in individual_readers(sample, self.encoder, individual).items():
            if name not in (OURS, RANDOM, MFCC):
                continue
            of_events, of_calls = reader(heard), reader(calls_heard)
            archive = Calls(kinds=self.of_events, individuals=of_events)
            asked = Calls(kinds=kinds, individuals=of_calls)
            found = [
                same(asked.rows([a]), asked.rows([b]), archive)
                for a, b in zip(one, other, strict=True)
            ]
            within = centred(of_calls, ["distance call"] * len(of_calls))
            result[name] = {
                "score": errors(np.array([x.score for x in found]), is_same),
                "cosine": errors(cosines(of_calls, one, other), is_same),
                "cosine, centred on these calls": errors(cosines(within, one, other), is_same),
            }
            if name == OURS:
                result[name]["percentiles"] = placed(found, is_same)
                result[name]["said to lack the kind"] = lacking(found)
                hidden = archive.rows(np.flatnonzero(~is_finch))
                found = [
                    same(asked.rows([a]), asked.rows([b]), hidden)
                    for a, b in zip(one, other, strict=True)
                ]
                result[name]["without finches in the archive"] = {
                    "score": errors(np.array([x.score for x in found]), is_same),
                    "percentiles": placed(found, is_same),
                    "said to lack the kind": lacking(found),
                }
        return result

    def microphones(self) -> dict[str, Any]:
        """Ask pairs of finches before one background and before two."""
        _, individual = self.individual
        config = self.readout.config
        found = find_backgrounds(self.tape, self.recordings, self.config.picture, config.seed)
        found = [one for one in found if len(one.log_mel) >= 2 * LEAST_QUIET_FRAMES]
        half = [len(one.log_mel) // 2 for one in found]
        parts = [
            (replace(one, log_mel=one.log_mel[:at]), replace(one, log_mel=one.log_mel[at:]))
            for one, at in zip(found, half, strict=True)
        ]
        shapes = [[background_shape(part) for part in both] for both in parts]
        rows = np.flatnonzero(self.clips.column("part") == "individual_zebra_finch")
        birds, days = self.clips.column("individual")[rows], self.clips.column("session")[rows]
        heard = hear(self.tape, self.events, self.encoder, individual.config)
        archive = Calls(
            kinds=self.of_events,
            individuals=individual.vectors(encoded(self.encoder, heard, individual.config)),
        )
        kinds = self.of_clips(np.zeros((len(self.clips.intervals), config.dimensions))).rows(rows)

        def call(number: int, noise: QuietFrames) -> Calls:
            excerpts = [
                changed_excerpt(
                    self.tape,
                    self.clips.intervals[rows[number]].recording,
                    self.clips.intervals[rows[number]].frames,
                    self.encoder,
                    settings,
                    self.config.activity,
                    Change(noise=noise, snr_db=BEFORE_SNR_DB),
                )
                for settings in (config, individual.config)
            ]
            of_kind = self.readout.vectors(encoded(self.encoder, as_heard(excerpts[:1]), config))
            of_bird = encoded(self.encoder, as_heard(excerpts[1:]), individual.config)
            return Calls(
                kinds=replace(kinds.rows([number]), vectors=of_kind),
                individuals=individual.vectors(of_bird),
            )

        rng = np.random.default_rng(0)
        result: dict[str, Any] = {"backgrounds": len(found), "pairs": N_MICROPHONE_PAIRS}
        cases = ("two birds, one background", "one bird, two backgrounds", "two birds, two")
        for case in cases:
            shares, warned = [], []
            while len(shares) < N_MICROPHONE_PAIRS:
                a, b = rng.choice(len(rows), 2, replace=False)
                x, y = rng.choice(len(found), 2, replace=False)
                if (birds[a] == birds[b]) != case.startswith("one bird") or (
                    birds[a] == birds[b] and days[a] == days[b]
                ):
                    continue
                y = x if case.endswith("one background") else y
                one, other = call(a, parts[x][0]), call(b, parts[y][1])
                told = same(one, other, archive)
                shares.append(told.percentile.share if told.percentile else np.nan)
                others = np.stack([both[0] for k, both in enumerate(shapes) if k not in (x, y)])
                alike = background_likeness(shapes[x][0], shapes[y][1], others)
                warned.append(alike is not None and alike.share >= ALIKE)
            result[case] = {
                "median percentile": rounded(np.nanmedian(shares)),
                "above .95": rounded(np.mean(np.array(shares) > 0.95)),
                "backgrounds said to be alike": rounded(np.mean(warned)),
            }
        return result

    def individuals(self) -> dict[str, Any]:
        """Group calls of known individuals."""
        _, individual = self.individual
        label = {
            x.recording.path: y
            for x, y in zip(self.clips.intervals, self.clips.labels, strict=True)
        }
        result: dict[str, Any] = {}
        for part in KNOWN_INDIVIDUALS:
            rows = [
                row
                for row, one in enumerate(self.events)
                if label.get(one.recording.path, {"part": ""})["part"] == part
            ]
            names = np.array([label[self.events[row].recording.path]["individual"] for row in rows])
            heard = hear(
                self.tape, [self.events[row] for row in rows], self.encoder, individual.config
            )
            vectors = individual.vectors(encoded(self.encoder, heard, individual.config))
            calls = Calls(kinds=self.of_events.rows(rows), individuals=vectors)
            found = group(calls)
            result[part] = {
                "individuals": len(np.unique(names)),
                "calls": len(rows),
                "found": found.n_groups,
                "from": found.n_low,
                "to": found.n_high,
                "stability": rounded(found.stability),
                "adjusted_rand_index": rounded(adjusted_rand_score(names, found.labels)),
            }
            alone = [
                group(calls.rows(np.flatnonzero(names == name))).n_groups
                for name in np.unique(names)
                if (names == name).sum() >= 12
            ]
            result[part]["found in one individual alone"] = str(alone)
        return result


def unrelated_pairs(
    every: Sounds, recordings: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of pairs of events of different recordings, which weigh alike."""
    rows = {name: np.flatnonzero(every.recordings == name) for name in recordings}
    pairs = [rng.choice(recordings, 2, replace=False) for _ in range(N_PAIRS)]
    drawn = np.array([[rng.choice(rows[one]) for one in pair] for pair in pairs])
    return drawn[:, 0], drawn[:, 1]


def distance_to_even(shares: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance to an even distribution; 1 where there is none."""
    return float(kstest(shares, "uniform").statistic) if len(shares) else 1.0


def drawn(mask: np.ndarray, origins: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return one row of each of n recordings."""
    chosen = rng.permutation(np.unique(origins[mask]))[:n]
    return np.array([rng.choice(np.flatnonzero(mask & (origins == one))) for one in chosen])


def cosines(vectors: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair."""
    x = unit_rows(vectors)
    return (x[one] * x[other]).sum(axis=1)


def errors(scores: np.ndarray, is_same: np.ndarray) -> dict[str, float]:
    """Return how well scores tell same from different pairs."""
    return {
        "equal_error_rate": rounded(
            equal_error_rate(*error_curve(scores[is_same], scores[~is_same]))
        ),
        "roc_auc": rounded(roc_auc_score(is_same, scores)),
    }


def lacking(found: Sequence[Likeness]) -> float:
    """Return how often it is said that the archive hardly has such calls."""
    return rounded(np.mean([not one.is_matched for one in found]))


def placed(found: Sequence[Likeness], is_same: np.ndarray) -> dict[str, float]:
    """Return where percentiles of same and of different pairs lie."""
    shares = np.array([one.percentile.share if one.percentile else np.nan for one in found])
    return {
        "median of same": rounded(np.nanmedian(shares[is_same])),
        "lower tenth of same": rounded(np.nanquantile(shares[is_same], 0.1)),
        "different above .95": rounded(np.mean(shares[~is_same] > 0.95)),
        "different above .9": rounded(np.mean(shares[~is_same] > 0.9)),
    }


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    main()
