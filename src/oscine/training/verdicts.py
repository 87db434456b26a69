"""What the log of a run means, in plain words, and what to do where something is wrong.

In come the rows of a log; out go verdicts, one for each sign. Called by the steps and the figures;
docs/health.md says more of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from oscine.config import TrainingConfig
from oscine.training.log import Losses, Signs

LEAST_GAIN = 0.02
"""Of the loss of drawing each patch as its mean: runs that learned lie 10 % below it and more."""
MOST_RISE = 0.1
"""Of what was gained. The windows are the same each time: chance moves the loss by a hundredth."""
MOST_LOUD = 0.9
"""Of the loss of drawing each patch as its mean, in the loudest quarter. Models of the default size
learn the background of field recordings first (0.91 after 500 steps, 0.89 after 1,500), then calls
(0.68 after 8,000); small models on made-up recordings come below 0.88 within a minute."""
LEAST_ROWS = 10
"""Logged steps by which gradients and updates are judged."""
MOST_CLIPPED = 0.9
"""Of the steps: then it is the clip that sets how far they go, not the learning rate. In good runs
no step is clipped after the warm-up."""
LEAST_UPDATE, MOST_UPDATE = 1e-6, 1e-1
"""Of the length of the weights, in a step: AdamW goes about as far as its learning rate, 2e-3."""
LEAST_SPREAD = 0.01
"""0.3 to 0.9 on field recordings, and 0.03 where all windows are nearly alike."""
LEAST_RANK, MOST_FIRST = 1.2, 0.97
"""10 to 22, and 0.16 to 0.3, in models of the default size on field recordings; as low as 1.3, and
up to 0.95, for a while in models of 16 dimensions."""
MOST_ROGUE, MOST_OFFSET = 10.0, 200.0
"""2 to 5 and 2 to 17. Timkey & van Schijndel 2021 call a dimension rogue at hundreds."""
MOST_HIDDEN_CHANGE, LEAST_SHUFFLED_LOSS = 1e-5, 0.95
"""The one is 0 to the last bit; the other 1.04 to 2, and 1 at the least but for chance."""
MOST_GIVEAWAY, MOST_CHANCE = 0.2, 0.06
"""By how much the features may find recordings more often than their spectrum does: no good model
did by more than 0.05. Asked among ten recordings or more, since one of few is chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one sign says.

    Attributes
    ----------
    name : str
    value : str
        The figures.
    words : str
        What they mean and, where it is an alarm, the way out.
    is_alarm : bool
    """

    name: str
    value: str
    words: str
    is_alarm: bool


def verdicts(
    rows: Sequence[dict[str, float]],
    losses: Sequence[Losses],
    signs: Sequence[Signs],
    training: TrainingConfig,
) -> list[Verdict]:
    """Say what the log of a run means.

    Nothing is said of what the log does not hold, nor of the loss before the warm-up is over.

    Parameters
    ----------
    rows : sequence of dict
        Logged steps, as of :func:`oscine.training.log.read_losses`.
    losses : sequence of Losses
    signs : sequence of Signs
    training : TrainingConfig
        Of the run.

    Returns
    -------
    list of Verdict
    """
    warm = training.warmup_share * training.steps
    found: list[Verdict | None] = []
    if losses and losses[-1].step > warm:
        found += [_loss(losses), _loud(losses[-1]), _course(losses)]
    later = [row for row in rows if row["step"] > warm]
    found += [_gradients(later, training.gradient_clip), _updates(later)]
    if signs:
        found += [_collapse(losses, signs[-1]), _rogue(signs[-1])]
        found += [_leak(signs[-1]), _background(signs)]
    return [verdict for verdict in found if verdict is not None]


def alarms(found: Iterable[Verdict]) -> list[str]:
    """Return the alarms as sentences."""
    return [f"{one.words} ({one.name}: {one.value})" for one in found if one.is_alarm]


def _loss(losses: Sequence[Losses]) -> Verdict:
    first, last = losses[0], losses[-1]
    value = (
        f"loss {last.loss:.3f}, of each patch's mean {last.loss_mean:.3f}, "
        f"of interpolation {last.loss_interpolation:.3f}"
    )
    has_moved = len(losses) == 1 or last.loss <= (1 - LEAST_GAIN) * first.loss
    if not has_moved and last.loss > last.loss_mean:
        return _alarm(
            "loss",
            value,
            "The loss is where it began: nothing is learned. Train longer, or try "
            "another training.learning_rate",
        )
    if last.loss > (1 - LEAST_GAIN) * last.loss_mean:
        return _alarm(
            "loss",
            value,
            "The loss is not below that of drawing each patch as its mean: nothing "
            "of the sounds is learned yet. Train longer, or try a lower training.learning_rate",
        )
    if last.loss > last.loss_interpolation:
        return _alarm(
            "loss",
            value,
            "The loss is not below that of filling in from the patches around: "
            "nothing is learned that they do not show. Train longer",
        )
    return _fine("loss", value, "The model draws what is hidden better than both guesses.")


def _loud(last: Losses) -> Verdict | None:
    """Judge the loudest quarter: a model may learn the background and nothing else."""
    if not last.by_level or last.loss > (1 - LEAST_GAIN) * last.loss_mean:
        return None  # not logged; or nothing is learned, which is said already
    shares = [
        loss / mean if mean > 0 else 1.0
        for loss, mean in zip(last.by_level, last.mean_by_level, strict=True)
    ]
    value = "loss over that of the mean, quiet to loud: " + ", ".join(
        f"{one:.2f}" for one in shares
    )
    if shares[-1] > max(MOST_LOUD, shares[0]):
        return _alarm(
            "loud patches",
            value,
            "The model has learned the background, and little of what stands out of it. Train "
            "longer, or raise training.active_share",
        )
    if shares[-1] > shares[0]:
        words = "The background is learned better than what stands out of it: train longer."
        return _fine("loud patches", value, words)
    return _fine("loud patches", value, "What stands out of the background is learned, too.")


def _course(losses: Sequence[Losses]) -> Verdict | None:
    """Judge whether the loss stays where it had been."""
    first, last = losses[0], losses[-1]
    best = min(losses, key=lambda one: one.loss)
    if best.loss > (1 - LEAST_GAIN) * first.loss:
        return None  # it never fell; or the run began with weights that had learned
    value = f"loss {last.loss:.3f}, at its lowest {best.loss:.3f} at step {best.step:,}"
    if last.loss - best.loss > MOST_RISE * (first.loss - best.loss):
        return _alarm(
            "course",
            value,
            "The loss has risen again. Try a lower training.learning_rate",
        )
    return _fine("course", value, "The loss stays low once it has fallen.")


def _gradients(rows: Sequence[dict[str, float]], clip: float) -> Verdict | None:
    norms = [row["gradient_norm"] for row in rows if "gradient_norm" in row]
    if len(norms) < LEAST_ROWS:
        return None
    share = fmean(norm > clip for norm in norms)
    value = f"median {median(norms):.3g}, clipped in {share:.0%} of the steps"
    if share > MOST_CLIPPED:
        return _alarm(
            "gradients",
            value,
            "Nearly every gradient is cut to the length of training.gradient_clip. Try a lower "
            "training.learning_rate, or a higher clip",
        )
    return _fine("gradients", value, "Few steps are cut short.")


def _updates(rows: Sequence[dict[str, float]]) -> Verdict | None:
    shares = [row["update_share"] for row in rows if "update_share" in row]
    if len(shares) < LEAST_ROWS:
        return None
    typical = median(shares)
    value = f"a step moves the weights by {typical:.1e} of their length"
    if typical < LEAST_UPDATE:
        return _alarm(
            "updates", value, "The weights hardly move. Try a higher training.learning_rate"
        )
    if typical > MOST_UPDATE:
        return _alarm(
            "updates",
            value,
            "The weights are thrown about. Try a lower training.learning_rate",
        )
    return _fine("updates", value, "Steps are neither tiny nor wild.")


def _is_rogue(signs: Signs) -> bool:
    return signs.rogue_ratio > MOST_ROGUE or signs.rogue_offset > MOST_OFFSET


def _rogue(signs: Signs) -> Verdict:
    value = f"largest over median {signs.rogue_ratio:.1f}, and {signs.rogue_offset:.0f} uncentred"
    if _is_rogue(signs):
        return _alarm(
            "rogue dimension",
            value,
            "One dimension of the features drowns the others: distances between sounds are "
            "distances along it. Try a lower training.learning_rate, and scale the dimensions "
            "before features are compared",
        )
    return _fine("rogue dimension", value, "No dimension drowns the others.")


def _collapse(losses: Sequence[Losses], signs: Signs) -> Verdict:
    value = (
        f"effective rank {signs.effective_rank:.1f}, first component {signs.first_share:.0%}, "
        f"spread {signs.spread:.3f}, mean cosine {signs.mean_cosine:.3f}"
    )
    fell = losses and losses[-1].loss < losses[0].loss
    begin = "The loss fell but the features" if fell else "The features"
    advice = ". Try a lower training.learning_rate or another training.seed"
    if signs.spread < LEAST_SPREAD:
        words = f"{begin} are the same whatever sounds{advice}"
    elif signs.effective_rank < LEAST_RANK or signs.first_share > MOST_FIRST:
        words = f"{begin} collapsed onto one direction{advice}"
    else:
        return _fine("collapse", value, "The features tell sounds apart in many directions.")
    # A rogue dimension is one direction, too: it has a verdict of its own.
    if _is_rogue(signs):
        return _fine("collapse", value, "See the rogue dimension.")
    return _alarm("collapse", value, words)


def _leak(signs: Signs) -> Verdict:
    value = (
        f"drawings change by {signs.hidden_change:.2g} of their power with what is hidden; loss "
        f"of what cannot be known {signs.shuffled_loss:.2f} of that of its mean"
    )
    if signs.hidden_change > MOST_HIDDEN_CHANGE or signs.shuffled_loss < LEAST_SHUFFLED_LOSS:
        return _alarm(
            "leak",
            value,
            "The model sees what it is to guess, so that its loss means nothing. This is a fault "
            "of the program: report it, with run.toml",
        )
    return _fine("leak", value, "What is hidden stays hidden.")


def _background(signs: Sequence[Signs]) -> Verdict | None:
    first, last = signs[0], signs[-1]
    found, given = last.background_identity, last.background_in_sound
    if found is None or given is None or last.background_chance is None:
        return None
    value = (
        f"{found:.0%} of quiet stretches find their recording; by their spectrum {given:.0%}, "
        f"by chance {last.background_chance:.0%}"
    )
    has_grown = True
    if first.step == 0 and first.background_identity is not None:
        value += f", before training {first.background_identity:.0%}"
        has_grown = found > first.background_identity
    is_sure = last.background_chance <= MOST_CHANCE
    if is_sure and has_grown and found > given + MOST_GIVEAWAY:
        return _alarm(
            "background",
            value,
            "The features give away the recording more than its background does: the model has "
            "learned recorders and places rather than sounds. Train longer, or raise "
            "training.active_share",
        )
    return _fine("background", value, "The features give away no more than the background does.")


def _alarm(name: str, value: str, words: str) -> Verdict:
    words += f"; see docs/health.md#{name.replace(' ', '-')}."
    return Verdict(name=name, value=value, words=words, is_alarm=True)


def _fine(name: str, value: str, words: str) -> Verdict:
    return Verdict(name=name, value=value, words=words, is_alarm=False)
