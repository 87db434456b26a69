"""Tapes and models small enough to learn within a second, for the tests of several floors."""

from dataclasses import replace

import numpy as np

from oscine import steps
from oscine.config import ModelConfig, PictureConfig, TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, initialise
from oscine.picture.activity import n_level_groups
from oscine.picture.tape import Tape
from oscine.workspace.arrays import ArrayWriter
from oscine.workspace.catalogue import EventRow, RecordingRow

PICTURE = PictureConfig(n_mels=32, window_frames=64)
MODEL = ModelConfig(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
TRAINING = TrainingConfig(batch_size=8, steps=12, checkpoint_every=4, learning_rate=3e-3)

WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
"""
"""Program text with which an interpreter that has PyTorch is one that has not."""

SETTINGS = [
    "model.width=16",
    "model.depth=2",
    "model.heads=2",
    "model.decoder_width=16",
    "model.decoder_depth=1",
    "model.decoder_heads=2",
    "training.batch_size=8",
    "training.checkpoint_every=5",
    "readout.layers=[1, 2]",
    "readout.dimensions=16",
    "readout.row_sharpness=1.5",
    "readout.shrinkage=3",
    "cluster.min_cluster_size=2",
    "cluster.min_samples=1",
    # So few are mapped by their principal components: UMAP takes long to begin.
    "cluster.max_fit=15",
]
"""For the steps and the command line, which keep the default picture."""


def codes(n_frames, seed, n_bands=PICTURE.n_mels):
    """Return a tape's codes [shape=(T, F)] with something to learn: stripes that swing in time."""
    rng = np.random.default_rng(seed)
    time, band = np.arange(n_frames)[:, None], np.arange(n_bands)[None, :]
    stripes, swing = np.sin(1.3 * band), np.sin(time / 5 + rng.uniform(0, 6))
    noise = rng.normal(0, 4, (n_frames, n_bands))
    return np.rint(120 + 60 * stripes + 20 * swing + noise).astype(np.uint8)


def recording(number, n_frames, tape_row=0, **changes):
    """Return the row of a recording; its content goes by the number given."""
    row = RecordingRow(
        recording_id=number + 1,
        root="/archive",
        path=f"{number}.wav",
        channel=-1,
        n_bytes=1,
        modified_s=0.0,
        content_hash=f"content-{number:03d}",
        state="whole",
        reason="",
        encoding="WAV PCM_16",
        sample_rate_hz=PICTURE.sample_rate_hz,
        n_channels=1,
        n_samples=n_frames * PICTURE.hop_samples,
        n_promised=n_frames * PICTURE.hop_samples,
        n_valid_bands=PICTURE.n_mels,
        tape_row=tape_row,
        n_frames=n_frames,
    )
    return replace(row, **changes)


def event(number, recording_id, start_frame, stop_frame):
    """Return the row of an event."""
    hop = PICTURE.hop_samples
    return EventRow(
        event_id=number + 1,
        recording_id=recording_id,
        start_frame=start_frame,
        stop_frame=stop_frame,
        start_sample=start_frame * hop,
        stop_sample=stop_frame * hop,
        low_hz=1000.0,
        high_hz=2000.0,
        level_db=20.0,
    )


def tape(folder, pictures, levels_db=None):
    """Write pictures of codes [each shape=(T, F)] one after another, and open them as a tape."""
    n_rows = sum(len(picture) for picture in pictures)
    row = (pictures[0].shape[1],)
    shape = PICTURE if row == (PICTURE.n_mels,) else replace(PICTURE, n_mels=row[0])
    writer = ArrayWriter(folder / "codes", np.dtype(np.uint8), row, 0)
    groups = n_level_groups(shape)
    levels = ArrayWriter(folder / "levels", np.dtype(np.uint8), (groups,), 0)
    for number, picture in enumerate(pictures):
        writer.append(picture)
        level_db = np.full(len(picture), 20.0) if levels_db is None else levels_db[number]
        levels.append(np.repeat(np.rint(level_db * 4)[:, None], groups, axis=1))
    return Tape(folder, shape, n_rows)


def model(seed=0, config=MODEL, picture=PICTURE):
    """Return a model with weights from a seed, and about the statistics of `codes`."""
    made = initialise(MaskedAutoencoder(config, picture), seed)
    made.encoder.log_mel_mean.fill_(-6.0)
    made.encoder.log_mel_std.fill_(6.0)
    return made


def encoder(seed=0, config=MODEL, picture=PICTURE):
    """Return the frozen encoder of such a model."""
    return model(seed, config, picture).encoder.eval().requires_grad_(False)


def learned(folder, archive):
    """Learn an archive, clocks and sites read, in a workspace at a folder, up to sound types."""
    settings = [*SETTINGS, "clock.timezone=Europe/London", "clock.site_from={site}/*"]
    steps.index([archive], folder, workers=1, settings=settings)
    steps.pretrain(folder, steps=10)
    steps.embed(folder)
    steps.cluster(folder)
    return folder
